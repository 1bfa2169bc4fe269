"""The coordinator of a load: producing processes that start together, are watched, and are accounted for exactly."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services import descriptors
from services.clock import Clock
from services.connection import ConnectionSpec
from services.errors import ServiceError
from services.simulator import journal
from services.simulator.drive import ROWS_PER_SECOND
from services.simulator.producer import ProducerTask
from services.simulator.profile import Profile
from services.simulator.result import LoadProgress, LoadResult, produced_rate, producer_result
from services.simulator.schedule import Schedule, readings_at_once
from services.simulator.source import GeneratedSource, Source
from services.simulator.traffic import Traffic
from services.workers import Worker, WorkerError

_START_DELAY_US: Final = 200_000
"""Between the word to start and the start itself: time for it to reach every process."""
_WARMUP_FACTOR: Final = 6
_WARMUP_RATE: Final = 30_000
"""A warm-up is faster than its load, up to this many messages/s: a broker's machine code comes from use, and that of
its encryption from much use. At the load's own 5,000 messages/s it took more than 20 s to come."""
_WARMUP_ROUNDS: Final = 3
_KEPT_UP_US: Final = 300_000
"""A warm-up is repeated when its last message was decided later than this after it was due: whoever cannot follow
compiles still, or has less of the machine than at other times."""
_REST_SECONDS: Final = 3.0
"""After a warm-up: what it gave the broker's compilers to do is done by then."""
_PREPARE_SECONDS: Final = 60.0
_GRACE_SECONDS: Final = 15.0

OnProgress = Callable[[LoadProgress], None]


class LoadError(ServiceError):
    """A load that could not begin: names what was missing."""


class LoadSpec(BaseModel):
    """What to send where. `rate` is messages/s in all, or `profile` says how many when, over `seconds`; without both
    every device reports as recorded, times `speed`. `traffic` says which devices send, and what is wrong on purpose.

    Before it `warmup_seconds` go to `warmup_topic`, at up to six times the pace and up to three times, until the
    broker keeps up; they are in no count of the load. `tick_us`: the messages of one tick leave together.
    `partitions`: how many the topic has; with a rate, a device's messages are grouped so that a tick touches few of
    them. `delivery_timeout_s` bounds how long a broker may be away before a message is given up. `real_time`: ask for
    real-time priority while the load runs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    connection: ConnectionSpec
    topic: str
    warmup_topic: str
    run_id: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    source: Source
    seconds: float = Field(gt=0)
    rate: float | None = Field(default=None, gt=0)
    profile: Profile | None = None
    traffic: Traffic = Traffic()
    speed: float = Field(default=1.0, gt=0)
    processes: int = Field(default=2, ge=1, le=99)
    warmup_seconds: float = Field(default=3.0, ge=0)
    tick_us: int = Field(default=1000, ge=100, le=100_000)
    partitions: int = Field(default=1, ge=1)
    connect_timeout_s: float = Field(default=20.0, gt=0)
    delivery_timeout_s: float = Field(default=30.0, gt=0)
    real_time: bool = True

    @model_validator(mode="after")
    def _one_pace(self) -> Self:
        if self.profile is not None and (self.rate is not None or self.profile.length != self.seconds):
            raise ValueError("a profile is the rate over all seconds: give no rate, and its length as seconds")
        return self


@dataclass
class _Producer:
    """A producing process and what was heard of it."""

    worker: Worker
    schedule: Schedule
    journal: Path
    ended: str | None = None
    heard: dict[str, dict[str, Any]] = field(default_factory=dict)
    late_us: int = 0
    rate: float = 0.0

    def hear(self, event: dict[str, Any]) -> None:
        """Keeps the latest event of each kind, and what the progress reports say together."""
        kind = event["event"]
        if kind == "progress":
            before = self.heard.get("progress", {"attempted": 0, "after_us": 0})
            self.late_us = max(self.late_us, event["late_us"])
            if (seconds := (event["after_us"] - before["after_us"]) / 1e6) > 0.5:
                self.rate = (event["attempted"] - before["attempted"]) / seconds
        self.heard[kind] = event


class Load:
    """One load. `run` blocks until it is over; `stop` (from another thread or a signal handler) ends it early."""

    def __init__(self, spec: LoadSpec, directory: Path, clock: Clock | None = None) -> None:
        """Reads the recordings: a bad one is told before anything starts. Journals and logs go to `directory`.

        `clock` is the run's clock when others share it. Raises `ReplayError`.
        """
        self.spec = spec
        self.clock = clock or Clock.anchored()
        self.notes: list[str] = []
        if isinstance(spec.source, GeneratedSource):
            self.devices = spec.source.devices
        else:
            recording = spec.source.recording()
            self.devices, self.notes = len(recording.drives), recording.notes
        self.profile = spec.profile or Profile.constant(
            spec.rate or self.devices * spec.speed * ROWS_PER_SECOND, spec.seconds
        )
        self.rate = self.profile.mean if spec.profile else self.profile.highest
        self._directory = directory
        self._parts = min(spec.processes, self.devices)
        rate = self.profile.highest
        self._warmup_rate = max(rate, min(_WARMUP_FACTOR * rate, _WARMUP_RATE))
        # A recorded pace is kept as it is: one reading at a time.
        paced = spec.rate is not None or spec.profile is not None
        self._readings = readings_at_once(rate, spec.tick_us, self.devices, spec.partitions) if paced else 1
        self._producers: dict[str, _Producer] = {}
        self._stop = threading.Event()
        self._phase = "connect"
        self._warmup_attempted = self._warmup_acked = 0
        self._started_us = 0
        self._troubles: list[str] = []
        self._trouble: str | None = None

    def stop(self) -> None:
        """Ends the load at the next tick; `run` then returns what was done until then."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether the load was told to end early."""
        return self._stop.is_set()

    @property
    def processes(self) -> dict[str, int]:
        """The producing processes: name and process id."""
        return {name: producer.worker.process.pid for name, producer in self._producers.items()}

    def run(
        self,
        on_progress: OnProgress = lambda _: None,
        during: AbstractContextManager[Any] | None = None,
        agree: Callable[[], int] = lambda: 0,
    ) -> LoadResult:
        """Warms up, sends the load, waits for its acknowledgements and returns the account.

        `during` is entered for the load alone, after the warm-up. Before that `agree` waits for whoever else sends,
        and returns when all begin, in microseconds since the epoch; whoever is later than that begins at once.

        Ctrl-C is like `stop`. Raises `LoadError` when the load could not begin; a process or a broker that dies later
        is part of the result.
        """
        self._started_us = self.clock.now_us()
        try:
            try:
                self._start_processes()
                self._listen("ready", _PREPARE_SECONDS + 2 * self.spec.connect_timeout_s, on_progress)
                if round(self._warmup_rate * self.spec.warmup_seconds):
                    self._warm_up(on_progress)
                    self._stop.wait(_REST_SECONDS)
                agreed_us = 0 if self.stopping else agree()
                with during or nullcontext():
                    self._begin("load", "result", self.spec.seconds, on_progress, agreed_us)
            except KeyboardInterrupt:
                self.stop()
                self._listen("result", _GRACE_SECONDS, on_progress)
            ended_us = self.clock.now_us()
            return self._result(ended_us)
        finally:
            for producer in self._producers.values():
                producer.worker.close(grace=2.0 if self._phase == "load" else 0.5)

    def _start_processes(self) -> None:
        spec = self.spec
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            if (raised := descriptors.ensure(self._parts)) is not None:
                self.notes.append(raised)
        except OSError as error:
            raise LoadError(f"{self._directory} cannot be made: {error.strerror}") from error
        except ServiceError as error:
            raise LoadError(str(error)) from error
        warm_up = Profile.constant(self._warmup_rate, spec.warmup_seconds)
        for part in range(self._parts):
            name = f"{spec.run_id}-{part:02d}"
            path = self._directory / f"{name}.journal"
            schedule = Schedule(self.profile, self.devices, spec.tick_us, part, self._parts, self._readings)
            journal.create(path, schedule.planned)
            task = ProducerTask(
                producer=name,
                connection=spec.connection,
                topic=spec.topic,
                warmup_topic=spec.warmup_topic,
                source=spec.source,
                journal=path,
                clock_offset_ns=self.clock.offset_ns,
                profile=self.profile,
                warmup_profile=warm_up,
                traffic=spec.traffic,
                real_time=spec.real_time,
                devices=self.devices,
                part=part,
                parts=self._parts,
                tick_us=spec.tick_us,
                readings=self._readings,
                connect_timeout_s=spec.connect_timeout_s,
                delivery_timeout_s=spec.delivery_timeout_s,
            )
            log = self._directory / f"{name}.log"
            worker = Worker(name, "services.simulator.producer", task.model_dump(mode="json"), log)
            self._producers[name] = _Producer(worker, schedule, path)

    def _warm_up(self, on_progress: OnProgress) -> None:
        """Warms the whole path up: again while the broker does not keep up, at most `_WARMUP_ROUNDS` times."""
        for _ in range(_WARMUP_ROUNDS):
            self._begin("warm-up", "warm", self.spec.warmup_seconds, on_progress)
            told = [producer.heard.pop("warm", {}) for producer in self._producers.values()]
            self._warmup_attempted += sum(one.get("attempted", 0) for one in told)
            self._warmup_acked += sum(one.get("acked", 0) for one in told)
            if self._stop.is_set() or max(one.get("behind_us", 0) for one in told) < _KEPT_UP_US:
                break

    def _begin(self, phase: str, until: str, seconds: float, on_progress: OnProgress, agreed_us: int = 0) -> None:
        """Tells everybody when `phase` starts, not before `agreed_us`, and listens until all have said `until`."""
        if self._stop.is_set():
            return
        self._phase = phase
        for producer in self._producers.values():
            producer.heard.pop("progress", None)
            producer.rate, producer.late_us = 0.0, 0
        now_us = self.clock.now_us()
        self._started_us = max(now_us + _START_DELAY_US, agreed_us)
        for producer in self._producers.values():
            producer.worker.send({"do": phase, "start_us": self._started_us})
        ahead = (self._started_us - now_us) / 1e6
        self._listen(until, ahead + seconds + self.spec.delivery_timeout_s + _GRACE_SECONDS, on_progress)

    def _listen(self, kind: str, seconds: float, on_progress: OnProgress) -> None:
        """Hears all processes until each has said `kind`, has ended, or `seconds` are over; reports each second."""
        deadline, report_at, told_to_stop = time.monotonic() + seconds, 0.0, False
        while waiting := [p for p in self._producers.values() if p.ended is None and kind not in p.heard]:
            now = time.monotonic()
            if self._stop.is_set() and not told_to_stop:
                if self._phase != "load":
                    return
                told_to_stop, deadline = True, min(deadline, now + _GRACE_SECONDS)
                for producer in waiting:
                    producer.worker.send({"do": "stop"})
            for producer in waiting:
                self._hear(producer, kind, late=now > deadline)
            if now >= report_at:
                report_at = now + 1
                on_progress(self._progress())
            time.sleep(0.02)
        if self._phase == "load":
            on_progress(self._progress())

    def _hear(self, producer: _Producer, kind: str, late: bool) -> None:
        worker = producer.worker
        try:
            if late:
                raise WorkerError(f"{worker.name} did not say {kind!r} in time. Its log: {worker.log}")
            while "result" not in producer.heard and (event := worker.next_event(0)) is not None:
                producer.hear(event)
                if event["event"] == "trouble":
                    self._note_trouble(f"{worker.name}: {event['text']}")
        except WorkerError as error:
            if self._phase != "load":
                raise LoadError(f"the load could not begin: {error}") from error
            # The others go on: what this one sent is in its journal.
            producer.ended = error.what
            self._note_trouble(producer.ended)

    def _note_trouble(self, text: str) -> None:
        self._trouble = text
        if text not in self._troubles:
            self._troubles.append(text)

    def _progress(self) -> LoadProgress:
        """Where the load is; takes what was noted since the last report."""
        counts = dict.fromkeys(("attempted", "acked", "rejected", "unknown"), 0)
        late_us = 0
        for producer in self._producers.values():
            latest = producer.heard.get("progress", {})
            for name in counts:
                counts[name] += latest.get(name, 0)
            late_us, producer.late_us = max(late_us, producer.late_us), 0
        trouble, self._trouble = self._trouble, None
        return LoadProgress(
            phase=self._phase,
            elapsed_s=max(0.0, (self.clock.now_us() - self._started_us) / 1e6),
            rate=sum(producer.rate for producer in self._producers.values()),
            late_us=late_us,
            trouble=trouble,
            **counts,
        )

    def _result(self, ended_us: int) -> LoadResult:
        began = self._phase == "load"
        interrupted = self._stop.is_set()
        outcomes = {name: journal.read(producer.journal) for name, producer in self._producers.items()}
        results = {
            name: producer_result(
                outcomes[name],
                producer.schedule.planned,
                producer.ended or ("stopped" if interrupted else "done"),
                producer.heard.get("result", {}).get("priority", ""),
                producer.heard.get("result", {}),
                self._started_us + producer.schedule.due_one_us(max(outcomes[name].attempted - 1, 0)),
            )
            for name, producer in self._producers.items()
        }
        attempted = sum(one.attempted for one in results.values())
        planned = sum(one.planned for one in results.values())
        started_us = self._started_us if began else 0
        sending = [producer for name, producer in self._producers.items() if results[name].attempted]
        due_last = [p.schedule.due_one_us(results[p.worker.name].attempted - 1) for p in sending]
        due_first = [p.schedule.due_one_us(0) for p in sending]
        return LoadResult(
            run_id=self.spec.run_id,
            planned=planned,
            attempted=attempted,
            acked=sum(one.acked for one in results.values()),
            rejected=sum(one.rejected for one in results.values()),
            unknown=sum(one.unknown for one in results.values()),
            complete=began and attempted == planned and all(one.ended == "done" for one in results.values()),
            interrupted=interrupted,
            by_producer=results,
            outcomes=outcomes,
            target_rate=self.rate,
            produced_rate=produced_rate(results.values(), attempted, started_us, self.rate),
            ticks=sum(one.ticks for one in results.values()),
            late_ticks=sum(one.late_ticks for one in results.values()),
            late_max_us=max((one.late_max_us for one in results.values()), default=0),
            started_us=started_us,
            ended_us=ended_us,
            due_first_us=started_us + min(due_first, default=0),
            due_last_us=started_us + max(due_last, default=0),
            warmup_attempted=self._warmup_attempted,
            warmup_acked=self._warmup_acked,
            troubles=self._troubles,
            notes=self.notes,
        )
