"""One load on several hosts: the part of each, what each reports, and their reports merged into one account."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from services import accounting
from services.accounting import Accounting
from services.chrony import ClockCheck
from services.consumer.histogram import Distribution
from services.consumer.measure import ConsumeSpec
from services.errors import ServiceError
from services.intervals import Intervals
from services.simulator.load import LoadSpec
from services.simulator.source import GeneratedSource, ReplaySource

PREFIX: Final = "simulations/"
"""Where runs of several hosts are in the simulators' bucket: ``simulations/<run>/<instance>/...``."""
TASK, PROGRESS, READY, REPORT = "task.json", "progress.json", "ready", "report.json"
"""The objects of a host; by `READY` it says that it is warm, and that its consumer misses nothing from then on."""
START, STOP = "start", "stop"
"""Objects of the run: when all hosts begin (microseconds since the epoch), and that they are to end early."""
AGREE_S: Final = 600.0
"""How long a host that is ready waits for the others to be."""
MOST: Final = 50
"""Instances that one command of Run Command names (Systems Manager API Reference, SendCommand)."""

Ranges = dict[str, list[tuple[int, int]]]
"""Sequence numbers by producer, as inclusive ranges."""


class HostTask(BaseModel):
    """What one host does. `measure` is for the one that reads what all send; `peers` are the others' places."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    load: LoadSpec
    measure: ConsumeSpec | None = None
    peers: tuple[str, ...] = ()


class HostProgress(BaseModel):
    """Where a host is, about every two seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: str
    attempted: int = 0
    acked: int = 0
    rejected: int = 0
    unknown: int = 0
    rate: float = 0.0


class Measured(BaseModel):
    """What the measuring host read, of all hosts' messages. `legs` are encoded `Distribution`s."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    received: Ranges
    duplicates: int
    unreadable: int
    drained: bool
    legs: dict[str, dict[str, Any]]
    negative: dict[str, int]


class HostReport(BaseModel):
    """What one host did. Times are microseconds since the epoch by its own clock; `ended` is by producer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    clock: ClockCheck
    clock_drift_us: int
    """How far the wall clock moved during the run from the clock that stamped the messages."""
    planned: int
    attempted: dict[str, int]
    acked: Ranges
    rejected: Ranges
    unknown: Ranges
    complete: bool
    interrupted: bool
    target_rate: float
    produced_rate: float
    late_max_us: int
    started_us: int
    ended_us: int
    ended: dict[str, str]
    priority: str
    troubles: list[str] = Field(default_factory=list)
    measured: Measured | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """All hosts together. `silent` are hosts without a report, of which nothing is in any count.

    `error_bar_us`: how far a latency between two hosts may be off by their clocks; None when a clock is not known.
    `start_spread_us`: between the first start and the last one.
    """

    account: Accounting
    hosts: int
    silent: tuple[str, ...]
    complete: bool
    interrupted: bool
    target_rate: float
    produced_rate: float
    late_max_us: int
    start_spread_us: int
    clocks: Mapping[str, ClockCheck]
    largest_offset_us: float | None
    error_bar_us: float | None
    end_to_end: Distribution
    legs: Mapping[str, Distribution]
    negative: int
    problems: tuple[str, ...]


def plan(spec: LoadSpec, places: Sequence[str], measure: ConsumeSpec | None) -> dict[str, HostTask]:
    """The part of each host (by its place): its share of the rate and of the devices, and producers of its own.

    The first one also measures. Raises `ServiceError` when the load cannot be shared by so many.
    """
    count = len(places)
    if not 1 <= count <= MOST:
        raise ServiceError(f"{count} hosts: a load is shared by 1 to {MOST}")
    sources = _sources(spec.source, count)
    return {
        place: HostTask(
            load=spec.model_copy(
                update={
                    "run_id": f"{spec.run_id}h{number:02d}",
                    "source": source,
                    "rate": None if spec.rate is None else spec.rate / count,
                    "profile": None if spec.profile is None else spec.profile.shared(count),
                }
            ),
            measure=measure if number == 0 else None,
            peers=tuple(other for other in places if other != place) if number == 0 else (),
        )
        for number, (place, source) in enumerate(zip(places, sources, strict=True))
    }


def _sources(source: GeneratedSource | ReplaySource, count: int) -> list[GeneratedSource | ReplaySource]:
    """Every device is on one host only: which messages came out of order is told by its numbers."""
    if isinstance(source, ReplaySource):
        if len(source.paths) < count:
            raise ServiceError(
                f"{len(source.paths)} recordings for {count} hosts: each needs one of its own at least"
            )
        return [source.model_copy(update={"paths": source.paths[number::count]}) for number in range(count)]
    if source.devices < count:
        raise ServiceError(f"{source.devices} devices for {count} hosts: each needs one at least")
    bounds = [source.devices * number // count for number in range(count + 1)]
    return [
        source.model_copy(update={"devices": after - before, "first": source.first + before})
        for before, after in pairwise(bounds)
    ]


def ranges(ids: Mapping[str, Intervals]) -> Ranges:
    """For JSON."""
    return {name: one.ranges() for name, one in ids.items()}


def merge(reports: Mapping[str, HostReport], expected: Iterable[str]) -> Merged:
    """One account out of the hosts' reports (by place). Histograms merge exactly, sequence numbers by producer."""
    told = list(reports.values())
    silent = tuple(sorted(set(expected) - reports.keys()))
    measures = [one.measured for one in told if one.measured is not None]
    # Nothing is lost in a message's way to a consumer that did not read to the end, or to none.
    read = bool(measures) and all(one.drained for one in measures)
    legs: dict[str, Distribution] = {}
    for one in measures:
        for leg, encoded in one.legs.items():
            legs.setdefault(leg, Distribution()).add(Distribution.decode(encoded))
    attempted = {name: count for one in told for name, count in one.attempted.items()}
    received = _union([one.received for one in measures])
    account = accounting.by_ids(
        attempted=attempted,
        acked=_union([one.acked for one in told]),
        rejected=_union([one.rejected for one in told]),
        unknown=_union([one.unknown for one in told]),
        # What a host without a report sent is known to nobody, though it was read.
        consumed={name: ids for name, ids in received.items() if name in attempted} if read else None,
        duplicates=sum(one.duplicates for one in measures),
    )
    starts = [one.started_us for one in told if one.started_us]
    clocks = {place: one.clock for place, one in sorted(reports.items())}
    offsets = [abs(one.offset_us) for one in clocks.values() if one.offset_us is not None]
    return Merged(
        account=account,
        hosts=len(told),
        silent=silent,
        complete=not silent and bool(told) and all(one.complete for one in told),
        interrupted=any(one.interrupted for one in told),
        target_rate=sum(one.target_rate for one in told),
        produced_rate=sum(one.produced_rate for one in told),
        late_max_us=max((one.late_max_us for one in told), default=0),
        start_spread_us=max(starts, default=0) - min(starts, default=0),
        clocks=clocks,
        largest_offset_us=max(offsets) if offsets and len(offsets) == len(clocks) else None,
        error_bar_us=_error_bar(told),
        end_to_end=legs.pop("end_to_end", Distribution()),
        legs=legs,
        negative=sum(count for one in measures for count in one.negative.values()),
        problems=tuple(_problems(reports, silent, measures)),
    )


def _error_bar(reports: Sequence[HostReport]) -> float | None:
    """The two clocks that are off most, one may be ahead and the other behind; with one host there is no other."""
    errors = [None if one.clock.error_us is None else one.clock.error_us + abs(one.clock_drift_us) for one in reports]
    known = sorted((error for error in errors if error is not None), reverse=True)
    if len(known) < len(errors) or not errors:
        return None
    return sum(known[:2]) if len(known) > 1 else 0.0


def _problems(
    reports: Mapping[str, HostReport], silent: Sequence[str], measures: Sequence[Measured]
) -> Iterable[str]:
    for place in silent:
        yield f"host {place} left no report: what it sent is not counted"
    for place, one in sorted(reports.items()):
        yield from (
            f"host {place}: {name}: {how}" for name, how in one.ended.items() if how not in ("done", "stopped")
        )
        yield from (f"host {place}: {trouble}" for trouble in one.troubles)
    for one in measures:
        if not one.drained:
            yield "the measuring host did not read to the end of the topic: what it lacks is not called lost"
        if one.unreadable:
            yield f"{one.unreadable} messages broke the contract"


def _union(stages: Iterable[Ranges]) -> dict[str, Intervals]:
    found: dict[str, Intervals] = {}
    for stage in stages:
        for name, one in stage.items():
            found[name] = found.get(name, Intervals()) | Intervals(one)
    return found
