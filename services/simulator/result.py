"""What a load tells: where it is while it runs, and its exact account in the end."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from services.intervals import Intervals
from services.simulator.journal import Outcome


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """Where a load is, about once a second. Counts are sums over the producers' last reports.

    `rate` is messages/s in each producer's last second, `late_us` how late a tick began at worst since the report
    before, `trouble` what the Kafka client complained about since then.
    """

    phase: str
    elapsed_s: float
    attempted: int
    acked: int
    rejected: int
    unknown: int
    rate: float
    late_us: int
    trouble: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerResult:
    """One producing process. `ended` is "done", "stopped", or what happened to it; times in microseconds."""

    planned: int
    attempted: int
    acked: int
    rejected: int
    unknown: int
    ended: str
    priority: str
    errors: dict[str, int]
    ticks: int
    late_ticks: int
    late_max_us: int
    last_sent_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What was sent and what became of it: ``attempted = acked + rejected + unknown``, by sequence number.

    Times are microseconds since the epoch on the run's clock; `started_us` is 0 when the load never began.
    `warmup_acked` of `warmup_attempted` messages went to the warm-up topic and are in no other count. A late tick
    began at least a tick's length after it was due. `complete`: all that was planned was sent, and no process died.
    """

    run_id: str
    planned: int
    attempted: int
    acked: int
    rejected: int
    unknown: int
    complete: bool
    interrupted: bool
    by_producer: dict[str, ProducerResult]
    outcomes: dict[str, Outcome]
    target_rate: float
    produced_rate: float
    ticks: int
    late_ticks: int
    late_max_us: int
    started_us: int
    ended_us: int
    due_first_us: int
    due_last_us: int
    warmup_attempted: int
    warmup_acked: int
    troubles: list[str]
    notes: list[str]

    def ids(self, what: str) -> dict[str, Intervals]:
        """The sequence numbers by producer that are `what`: "acked", "rejected" or "unknown"."""
        return {name: getattr(outcome, what) for name, outcome in self.outcomes.items()}


def producer_result(
    outcome: Outcome, planned: int, ended: str, priority: str, told: dict[str, Any], last_due_us: int
) -> ProducerResult:
    """Joins the journal, which is right whatever happened, with what the process told before it ended."""
    return ProducerResult(
        planned=planned,
        attempted=outcome.attempted,
        acked=len(outcome.acked),
        rejected=len(outcome.rejected),
        unknown=len(outcome.unknown),
        ended=ended,
        priority=priority,
        errors=told.get("errors", {}),
        ticks=told.get("ticks", 0),
        late_ticks=told.get("late_ticks", 0),
        late_max_us=told.get("late_max_us", 0),
        last_sent_us=told.get("last_sent_us", last_due_us),
    )


def produced_rate(results: Iterable[ProducerResult], attempted: int, started_us: int, target_rate: float) -> float:
    """Messages/s from the first message's due time to the end of the slot of the one that was sent last.

    A load that was never late gets its target exactly; one that ended late is below it.
    """
    if not attempted:
        return 0.0
    last_us = max(result.last_sent_us for result in results)
    return attempted / max(attempted / target_rate, (last_us - started_us) / 1e6)
