"""Measuring a stream: consuming processes in one group, and their results merged into one."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field

from services import descriptors
from services.clock import Clock
from services.connection import ConnectionSpec
from services.consumer.consumer import LEGS, ConsumerTask
from services.consumer.histogram import Distribution
from services.errors import ServiceError
from services.intervals import Intervals
from services.workers import Worker, WorkerError

_STOP_SECONDS: Final = 30.0


class ConsumeError(ServiceError):
    """The stream could not be measured: names what was missing."""


class ConsumeSpec(BaseModel):
    """What to read: the messages of run `run_id` on `topic`, by `processes` members of `group`.

    Everything from the moment of being ready on is read. Messages of `warmup_topic` are read and counted apart; they
    warm up the same path. `idle_seconds`: how long the end of the stream may fail to arrive before it is given up.
    `real_time`: ask for real-time priority.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    connection: ConnectionSpec
    topic: str
    warmup_topic: str | None = None
    group: str
    run_id: str
    processes: int = Field(default=1, ge=1, le=99)
    idle_seconds: float = Field(default=10.0, gt=0)
    connect_timeout_s: float = Field(default=20.0, gt=0)
    real_time: bool = True


@dataclass(frozen=True, slots=True)
class ConsumeProgress:
    """Where the consumers are: sums over their last reports. `latency_ms`: median, p99 and maximum of a recent second
    at the slowest consumer, or None."""

    consumed: int
    duplicates: int
    foreign: int
    warmup: int
    latency_ms: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class SecondStats:
    """One second of due times (seconds since the epoch): end-to-end latency in milliseconds."""

    second: int
    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumeResult:
    """What arrived. `consumed` counts distinct messages of the run; `received` names them by producer.

    `foreign` are messages of other runs, `unreadable` those that break the contract (`unreadable_first` says where
    and how). `drained`: everything up to the end was read. `reordered` messages came after a later one of their
    device. `negative` counts latencies below zero by leg (recorded as 0), `clock_drift_us` is how far the wall clock
    moved from the run's clock: both say how far to trust the legs that touch the broker's clock.
    """

    consumed: int
    duplicates: int
    reordered: int
    foreign: int
    unreadable: int
    unreadable_first: str | None
    warmup: int
    drained: bool
    received: dict[str, Intervals]
    end_to_end: Distribution
    legs: dict[str, Distribution]
    per_second: list[SecondStats]
    first_received_us: int
    last_received_us: int
    consumed_rate: float
    clock_drift_us: int
    negative: dict[str, int]
    priority: str
    troubles: list[str]

    def gaps(self, attempted: Mapping[str, int]) -> dict[str, Intervals]:
        """The sequence numbers that did not arrive, of producers that each attempted so many."""
        return {
            name: Intervals.upto(count) - self.received.get(name, Intervals()) for name, count in attempted.items()
        }


@dataclass
class _Member:
    worker: Worker
    result: Path
    assigned: set[int] = field(default_factory=set)
    heard: dict[str, dict[str, Any]] = field(default_factory=dict)


class Consume:
    """The consumers of one run: `start`, `ready`, then the load, then `finish`. Leaving the context ends them."""

    def __init__(self, spec: ConsumeSpec, directory: Path, clock: Clock) -> None:
        """`clock` is the run's clock (the load's); logs and results go to `directory`."""
        self.spec = spec
        self._clock = clock
        self._directory = directory
        self._members: list[_Member] = []
        self._troubles: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            member.worker.close()

    @property
    def processes(self) -> dict[str, int]:
        """The consuming processes: name and process id."""
        return {member.worker.name: member.worker.process.pid for member in self._members}

    def start(self) -> None:
        """Starts the processes; they join the group by themselves."""
        spec = self.spec
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            descriptors.ensure(spec.processes)
        except OSError as error:
            raise ConsumeError(f"{self._directory} cannot be made: {error.strerror}") from error
        except ServiceError as error:
            raise ConsumeError(str(error)) from error
        for number in range(spec.processes):
            name = f"consumer-{number:02d}"
            result = self._directory / f"{name}.json"
            task = ConsumerTask(
                name=name,
                connection=spec.connection,
                topic=spec.topic,
                warmup_topic=spec.warmup_topic,
                group=spec.group,
                run_id=spec.run_id,
                clock_offset_ns=self._clock.offset_ns,
                result=result,
                idle_seconds=spec.idle_seconds,
                connect_timeout_s=spec.connect_timeout_s,
                real_time=spec.real_time,
            )
            log = self._directory / f"{name}.log"
            worker = Worker(name, "services.consumer", task.model_dump(mode="json"), log)
            self._members.append(_Member(worker, result))

    def ready(self, seconds: float = 90.0) -> None:
        """Waits until the members have all partitions among them: from then on no message can slip by.

        Raises `ConsumeError` with the reason when that does not come about.
        """
        deadline = time.monotonic() + seconds
        while not self._complete():
            self._hear()
            if time.monotonic() > deadline:
                missing = sorted(self._partitions() - self._assigned())
                raise ConsumeError(
                    f"the consumers of group {self.spec.group} have no partitions {missing} of {self.spec.topic} "
                    f"after {seconds:g} s. Is another consumer in the same group? Their logs: {self._directory}"
                )
            time.sleep(0.02)

    def _partitions(self) -> set[int]:
        return set().union(*(member.heard.get("topic", {}).get("partitions", ()) for member in self._members))

    def _assigned(self) -> set[int]:
        return set().union(*(member.assigned for member in self._members))

    def _complete(self) -> bool:
        joined = all("topic" in member.heard and member.assigned for member in self._members)
        return joined and self._assigned() == self._partitions()

    def _hear(self) -> None:
        """Takes in what the members have said; raises `ConsumeError` when one has ended before its time."""
        for member in self._members:
            try:
                while "result" not in member.heard and (event := member.worker.next_event(0)) is not None:
                    member.heard[event["event"]] = event
                    if event["event"] == "assigned":
                        member.assigned = set(event["partitions"])
                    elif event["event"] == "trouble" and event["text"] not in self._troubles:
                        self._troubles.append(event["text"])
            except WorkerError as error:
                raise ConsumeError(f"the stream cannot be measured: {error}") from error

    def progress(self) -> ConsumeProgress:
        """Where the consumers are; reports come once a second. Raises `ConsumeError` when one has died."""
        self._hear()
        latest = [member.heard.get("progress", {}) for member in self._members]
        glances = [tuple(one["latency_ms"]) for one in latest if len(one.get("latency_ms", ())) == 3]
        return ConsumeProgress(
            **{
                name: sum(one.get(name, 0) for one in latest)
                for name in ("consumed", "duplicates", "foreign", "warmup")
            },
            latency_ms=max(glances, key=lambda glance: glance[1], default=None),
        )

    def finish(self) -> ConsumeResult:
        """Reads on to the end of the stream as it is now, and returns what arrived.

        Call it when the load is over. Raises `ConsumeError` when a consumer has died: then nothing can be said.
        """
        # After a member has left or the brokers were away a partition may have no reader for a while: nobody would
        # miss what is in it.
        deadline = time.monotonic() + self.spec.idle_seconds
        self._hear()
        while not (whole := self._complete()) and time.monotonic() < deadline:
            time.sleep(0.05)
            self._hear()
        return self._ended("finish", whole)

    def leave(self) -> ConsumeResult:
        """Leaves the group at once, and returns what arrived until then: others of the group go on behind it.

        Raises `ConsumeError` when a consumer has died.
        """
        return self._ended("stop", whole=False)

    def _ended(self, word: str, whole: bool) -> ConsumeResult:
        for member in self._members:
            member.worker.send({"do": word})
        deadline: float | None = None
        while not all("result" in member.heard for member in self._members):
            before = self.progress().consumed
            time.sleep(0.05)
            self._hear()
            if self.progress().consumed != before or deadline is None:
                deadline = time.monotonic() + self.spec.idle_seconds + _STOP_SECONDS
            if time.monotonic() > deadline:
                raise ConsumeError(f"the consumers did not finish. Their logs: {self._directory}")
        return self._merged([json.loads(member.result.read_bytes()) for member in self._members], whole)

    def _merged(self, results: list[dict[str, Any]], whole: bool) -> ConsumeResult:
        legs = {leg: Distribution() for leg in LEGS}
        seconds: dict[int, Distribution] = {}
        received: dict[str, Intervals] = {}
        negative: dict[str, int] = {}
        for result in results:
            for leg, by_second in result["legs"].items():
                for second, encoded in by_second.items():
                    made = Distribution.decode(encoded)
                    legs[leg].add(made)
                    if leg == "end_to_end":
                        seconds.setdefault(int(second), Distribution()).add(made)
            for name, ranges in result["received"].items():
                received[name] = received.get(name, Intervals()) | Intervals(ranges)
            for leg, count in result["negative"].items():
                negative[leg] = negative.get(leg, 0) + count
        consumed = sum(map(len, received.values()))
        first_us = min((one["first_us"] for one in results if one["first_us"]), default=0)
        last_us = max(one["last_us"] for one in results)
        return ConsumeResult(
            consumed=consumed,
            # A message that two members read once each is new to both, and a duplicate of the stream.
            duplicates=sum(one["consumed"] + one["duplicates"] for one in results) - consumed,
            reordered=sum(one["reordered"] for one in results),
            foreign=sum(one["foreign"] for one in results),
            unreadable=sum(one["unreadable"] for one in results),
            unreadable_first=next((one["unreadable_first"] for one in results if one["unreadable_first"]), None),
            warmup=sum(one["warmup"] for one in results),
            drained=whole and all(one["ended"] == "drained" for one in results),
            received=received,
            end_to_end=legs["end_to_end"],
            legs={leg: made for leg, made in legs.items() if made.count and leg != "end_to_end"},
            per_second=[_stats(second, made) for second, made in sorted(seconds.items())],
            first_received_us=first_us,
            last_received_us=last_us,
            consumed_rate=consumed / max((last_us - first_us) / 1e6, 1e-6) if consumed else 0.0,
            clock_drift_us=max((one["clock_drift_us"] for one in results), key=abs),
            negative=negative,
            priority=self._members[0].heard.get("started", {}).get("priority", ""),
            troubles=self._troubles,
        )


def _stats(second: int, made: Distribution) -> SecondStats:
    p50, p99 = made.percentiles_ms(50, 99)
    return SecondStats(second, made.count, p50, p99, made.max_us / 1000)
