"""Load and measurement of one run: what was sent, what arrived, and what reached the archive, message by message."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from envs.errors import FleetstreamError
from envs.progress import step
from envs.summary import REQUIRED_MAX_MS
from services import accounting, contract
from services.archive_count import ArchiveCount, ArchiveCounter, DeadLetterCounter
from services.awake import Kept, awake
from services.clock import Clock
from services.connection import ConnectionSpec
from services.consumer.measure import Consume, ConsumeError, ConsumeResult, ConsumeSpec
from services.kafka import end_offsets
from services.simulator.load import Load, LoadSpec
from services.simulator.result import LoadProgress, LoadResult

_ARCHIVE_PATIENCE_S: Final = 60.0
"""How long the archive may stand still before the wait for it ends: many times the longest buffer of a sandbox."""


@dataclass
class Measured:
    """What one run's load gave; a stage that was not reached is None."""

    load: LoadResult | None = None
    consumed: ConsumeResult | None = None
    archive: ArchiveCount | None = None
    dead_letters: int | None = None
    appended: int | None = None
    """Messages that the topic's offsets grew by."""
    machine: dict[str, str] = field(default_factory=dict)
    """What the load ran on, in words: a latency is the machine's as much as the platform's."""

    def account(self) -> accounting.Accounting | None:
        """The accounting identity's terms; None when nothing was sent."""
        if self.load is None:
            return None
        return accounting.by_ids(
            attempted={name: one.attempted for name, one in self.load.by_producer.items()},
            acked=self.load.ids("acked"),
            rejected=self.load.ids("rejected"),
            unknown=self.load.ids("unknown"),
            consumed=self.consumed.received if self.consumed else None,
            archived=self.archive.ids if self.archive else None,
            dead_letters_without_id=self.dead_letters or 0,
            duplicates=self.consumed.duplicates if self.consumed else 0,
            archive_duplicates=self.archive.duplicates if self.archive else 0,
        )

    def sustained_rate(self, seconds: float) -> float | None:
        """Messages/s that arrived, over the time from the first due time to the last arrival.

        The last message may take as long as any other, so that much is not counted; it is never less than planned.
        """
        if self.load is None or self.consumed is None or not self.consumed.consumed:
            return None
        took = (self.consumed.last_received_us - self.load.due_first_us) / 1e6 - REQUIRED_MAX_MS / 1000
        return self.consumed.consumed / max(took, seconds)


def send_and_measure(spec: LoadSpec, folder: Path, measured: Measured, during: AbstractContextManager[str]) -> None:
    """Starts the consumer, sends the load, and reads the topic to its end. Fills `measured` as far as it gets.

    `during` is entered for the time of the load itself.

    Ctrl-C ends the load early and leaves a correct account of what was done.
    """
    clock = Clock.anchored()
    connection = spec.connection
    ends = end_offsets(connection.settings(), spec.topic)
    before = sum(ends.values())
    load = Load(spec.model_copy(update={"partitions": len(ends)}), folder / "load", clock)
    reading = ConsumeSpec(
        connection=connection,
        topic=spec.topic,
        warmup_topic=spec.warmup_topic,
        group=f"{contract.RUN_GROUP}{spec.run_id}",
        run_id=spec.run_id,
    )
    with Consume(reading, folder / "load", clock) as consume:
        with step("consumer") as current:
            consume.start()
            consume.ready()
            current.detail = "has all partitions"
        with step(f"load, {load.rate:g} messages/s for {spec.seconds:g} s") as current:
            before_load = psutil.cpu_times()
            with awake() as kept:
                measured.load = load.run(_shown(current.update, consume), during)
            result = measured.load
            measured.machine = _machine(before_load, kept, next(iter(result.by_producer.values())).priority)
            current.detail = f"{result.acked:,} of {result.attempted:,} acknowledged"
        with step("consumer: to the end of the topic") as current:
            measured.consumed = consume.finish()
            current.detail = f"{measured.consumed.consumed:,} messages"
    measured.appended = sum(end_offsets(connection.settings(), spec.topic).values()) - before


def wait_for_archive(s3: Any, outputs: dict[str, Any], run_id: str, dead_before: int, measured: Measured) -> None:
    """Waits until every acknowledged message is in S3 or among the dead letters, or nothing moves any more."""
    counter = ArchiveCounter(s3, outputs["archive_bucket"], outputs["archive_prefix"], run_id)
    dead = dead_letters(s3, outputs)
    expected = measured.load.acked if measured.load else 0
    deadline = time.monotonic() + _ARCHIVE_PATIENCE_S
    seen = -1
    with step("archive") as current:
        while True:
            measured.archive = counter.update()
            measured.dead_letters = dead.update().records - dead_before
            arrived = measured.archive.unique + measured.dead_letters
            current.update(f"{arrived:,} of {expected:,}")
            if arrived >= expected:
                break
            if arrived > seen:
                seen, deadline = arrived, time.monotonic() + _ARCHIVE_PATIENCE_S
            if time.monotonic() > deadline:
                raise FleetstreamError(
                    f"the archive stands still at {arrived:,} of {expected:,} messages: look at the delivery stream "
                    f"{outputs['delivery_stream']}, whose log `fleetstream status` names"
                )
            time.sleep(0.5)
        current.detail = f"{measured.archive.unique:,} messages in {measured.archive.objects} objects"


def dead_letters(s3: Any, outputs: dict[str, Any]) -> DeadLetterCounter:
    """Counts what could not be archived, of all runs."""
    return DeadLetterCounter(s3, outputs["archive_bucket"], outputs["archive_error_prefix"])


def connection(bootstrap: str, region: str) -> ConnectionSpec:
    """How the load's processes reach the brokers: signed in with IAM."""
    return ConnectionSpec(bootstrap=bootstrap, region=region)


def topics(outputs: dict[str, Any]) -> tuple[str, str]:
    """The names of the telemetry and the canary topic."""
    return outputs["topics"][contract.TELEMETRY_TOPIC], outputs["topics"][contract.CANARY_TOPIC]


def _machine(before: Any, kept: Kept, priority: str) -> dict[str, str]:
    now = psutil.cpu_times()
    spent = {name: getattr(now, name) - getattr(before, name) for name in now._fields if not name.startswith("guest")}
    total = sum(spent.values()) or 1.0
    stolen = spent.get("steal", 0.0)
    used = total - spent["idle"] - spent.get("iowait", 0.0) - stolen - kept.seconds
    return {
        "processors": f"{psutil.cpu_count()}, {kept.words}",
        "producers and consumers": priority,
        "processor time used": f"{used / total:.0%}",
        # What a virtual machine's host gave to others although it was wanted here (proc(5), "steal").
        "processor time taken by others on the host": f"{stolen / total:.1%}",
    }


def _shown(update: Callable[[str], None], consume: Consume) -> Callable[[LoadProgress], None]:
    def show(progress: LoadProgress) -> None:
        text = f"{progress.phase} {progress.elapsed_s:.0f} s, {progress.acked:,} acked"
        try:
            latency = consume.progress().latency_ms
        except ConsumeError as error:
            # The load is accounted for to its end all the same; what the consumer's death means is told then.
            text += f" [{error}]"
        else:
            text += "" if latency is None else f", p50 {latency[0]:.2f} ms, max {latency[2]:.1f} ms"
        update(text + (f" [{progress.trouble}]" if progress.trouble else ""))

    return show
