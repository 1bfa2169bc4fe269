"""One round of a row: a load, its consumer and what they cost, on brokers that run."""

import contextlib
import dataclasses
import secrets
import statistics
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from benchmarks.brokers import Cluster
from envs.errors import FleetstreamError
from services import accounting, contract
from services.awake import Kept, awake
from services.clock import Clock
from services.connection import ConnectionSpec
from services.consumer.measure import Consume, ConsumeResult, ConsumeSpec
from services.priority import AS_ASKED
from services.simulator.load import Load, LoadSpec
from services.simulator.result import LoadProgress, LoadResult
from services.simulator.source import GeneratedSource
from services.simulator.traffic import Order, Traffic

Figures = dict[str, float]
"""Figures of one round by name. Latencies in milliseconds from due to received, shares between 0 and 1."""
Tell = Callable[[str], None]

MESSAGE_BYTES: Final = 200
_LEGS: Final = ("due_to_sent", "sent_to_received")
_ROWS: Final = 20
"""Different messages of a device, after which it begins again: more would only take longer to prepare."""
_SAMPLE_S: Final = 1.0
_SETTLED: Final = 0.2
"""So much of a load has passed when its processes' memory is taken as what they start from."""


@dataclass(frozen=True)
class Shape:
    """A load of the benchmark. `rate` in messages/s; `tick_us`: messages of one tick leave together."""

    rate: float
    seconds: float
    partitions: int
    order: Order = "random"
    devices: int = 10_000
    tick_us: int = 500
    processes: int = 1
    real_time: bool = True
    warmup_seconds: float = 2.0
    """Of the clients: brokers are warm already (`benchmarks.warm`)."""
    size: int = MESSAGE_BYTES
    awake: bool = True
    client: tuple[tuple[str, str], ...] = ()
    """Settings of the Kafka client (librdkafka's) over the platform's own."""


@dataclass
class Round:
    """What one round gave: its figures, by second (from the start) the latencies' median, p99 and maximum, or for a
    search by rate the share within 1 ms, p99 and maximum."""

    figures: Figures
    seconds: list[tuple[float, float, float, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def paced(cluster: Cluster, shape: Shape, folder: Path, tell: Tell) -> Round:
    """Sends at the shape's rate, whatever the brokers do, and measures every message.

    Raises `FleetstreamError` when it could not begin.
    """
    load, consumed, usage = _run(cluster, shape, folder, tell)
    end_to_end = consumed.end_to_end
    p50, p99, p99_6, p99_9 = end_to_end.percentiles_ms(50, 99, 99.6, 99.9)
    figures = {
        "rate": load.produced_rate,
        "within_1ms": end_to_end.share_within(1),
        "p50": p50,
        "p99": p99,
        "p99_6": p99_6,
        "p99_9": p99_9,
        "max": end_to_end.max_us / 1000,
        **_accounted(load, consumed),
        "late_ticks": load.late_ticks / max(load.ticks, 1),
        **usage.figures(load.ended_us - load.started_us),
    }
    for leg in _LEGS:
        if leg in consumed.legs:
            figures |= dict(zip((f"{leg}_p50", f"{leg}_p99"), consumed.legs[leg].percentiles_ms(50, 99), strict=True))
    first = consumed.per_second[0].second if consumed.per_second else 0
    seconds = [(float(one.second - first), one.p50_ms, one.p99_ms, one.max_ms) for one in consumed.per_second]
    return Round(figures, seconds, _notes(load, consumed, usage))


def carried(cluster: Cluster, shape: Shape, folder: Path, tell: Tell) -> None:
    """A load that is read and of which nothing is asked."""
    _run(cluster, shape, folder, tell)


def peak(cluster: Cluster, shape: Shape, messages: int, folder: Path, tell: Tell) -> Round:
    """Sends so many messages as fast as they are taken, reads them at the same time, and accounts for each.

    The rate is over the time from the start to the last arrival.
    """
    # All are due in the first tenth of a second: what follows is how fast they go through.
    burst = dataclasses.replace(shape, rate=messages * 10.0, seconds=0.1, warmup_seconds=0.02, tick_us=10_000)
    load, consumed, usage = _run(cluster, burst, folder, tell)
    took = max((consumed.last_received_us - load.started_us) / 1e6, 1e-6)
    figures = {
        "rate": consumed.consumed / took,
        **_accounted(load, consumed),
        **usage.figures(round(took * 1e6)),
    }
    return Round(figures, notes=_notes(load, consumed, usage))


def memory(cluster: Cluster, shape: Shape, folder: Path, tell: Tell) -> Round:
    """A paced load, of which the processes' memory is what is asked: the largest, and how it grows."""
    load, consumed, usage = _run(cluster, shape, folder, tell)
    return Round(
        {
            "rate": load.produced_rate,
            **_accounted(load, consumed),
            "producer_mb": usage.largest_mb("producer"),
            "consumer_mb": usage.largest_mb("consumer"),
            "grown_mb": max(usage.grown_mb("producer"), usage.grown_mb("consumer")),
            "within_1ms": consumed.end_to_end.share_within(1),
            "max": consumed.end_to_end.max_us / 1000,
        },
        notes=_notes(load, consumed, usage),
    )


class Usage:
    """Processor time and memory of the processes of a load, sampled while it runs."""

    def __init__(self, groups: dict[str, list[int]], every_s: float = _SAMPLE_S) -> None:
        self._every_s = every_s
        self._groups = {name: [psutil.Process(pid) for pid in pids] for name, pids in groups.items()}
        self._before = {name: self._seconds(name) for name in groups}
        self._machine = psutil.cpu_times()
        self._memory: dict[str, list[float]] = {name: [] for name in groups}
        self._own: dict[str, list[float]] = {name: [] for name in groups}
        """Without what is mapped from files: a producer's journal, a byte a message, is on the disk and no burden."""
        self._spent: dict[str, float] = {}
        self.words: list[str] = []
        """What the processes ran on, in words."""
        self._stolen = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="usage", daemon=True)
        self._thread.start()

    def _seconds(self, name: str) -> float:
        total = 0.0
        for process in self._groups[name]:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def _sample(self) -> None:
        while not self._over.wait(self._every_s):
            self._look()

    def _look(self) -> None:
        for name, processes in self._groups.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                found = [process.memory_info() for process in processes]
                self._memory[name].append(max(one.rss for one in found) / 1e6)
                self._own[name].append(max(one.rss - one.shared for one in found) / 1e6)

    def end(self) -> None:
        """What was spent up to now is what the load cost."""
        self._over.set()
        self._thread.join()
        self._look()
        self._spent = {name: self._seconds(name) - before for name, before in self._before.items()}
        now = psutil.cpu_times()
        total = sum(getattr(now, name) - getattr(self._machine, name) for name in now._fields)
        self._stolen = (getattr(now, "steal", 0.0) - getattr(self._machine, "steal", 0.0)) / max(total, 1e-9)

    def figures(self, took_us: int) -> Figures:
        """Processors that each group kept busy, on average, and the share that the host took for others."""
        took = max(took_us / 1e6, 1e-6)
        return {**{f"{name}_cores": spent / took for name, spent in self._spent.items()}, "steal": self._stolen}

    def largest_mb(self, name: str) -> float:
        """The most memory that one process of the group had resident, in MB."""
        return max(self._memory[name], default=0.0)

    def grown_mb(self, name: str) -> float:
        """How much the memory of a process's own grew after the start was over, in MB: the last fifth's median less
        the first's."""
        settled = self._own[name][round(len(self._own[name]) * _SETTLED) :]
        fifth = max(1, len(settled) // 5)
        return statistics.median(settled[-fifth:]) - statistics.median(settled[:fifth]) if settled else 0.0


def _run(cluster: Cluster, shape: Shape, folder: Path, tell: Tell) -> tuple[LoadResult, ConsumeResult, Usage]:
    """One load and its consumer on topics of their own. Ctrl-C ends it as it would end a load."""
    run_id = f"b{secrets.token_hex(3)}"
    topic, canary = f"{contract.TELEMETRY_TOPIC}-{run_id}", f"{contract.CANARY_TOPIC}-{run_id}"
    for name in (topic, canary):
        cluster.create_topic(name, shape.partitions)
    clock = Clock.anchored()
    load = Load(_spec(cluster, shape, run_id, topic, canary), folder / run_id, clock)
    reading = ConsumeSpec(
        connection=cluster.connection,
        topic=topic,
        warmup_topic=canary,
        group=f"{contract.RUN_GROUP}{run_id}",
        run_id=run_id,
        real_time=shape.real_time,
    )
    usages: list[Usage] = []

    @contextlib.contextmanager
    def during() -> Iterator[None]:
        with cluster.on_time() if shape.real_time else contextlib.nullcontext(AS_ASKED) as got:
            usage = Usage(
                {
                    "broker": list(cluster.pids),
                    "producer": list(load.processes.values()),
                    "consumer": list(consume.processes.values()),
                }
            )
            usage.words.append(f"broker at {got}")
            usages.append(usage)
            try:
                yield
            finally:
                usage.end()

    try:
        with Consume(reading, folder / run_id, clock) as consume:
            consume.start()
            consume.ready()
            with awake() if shape.awake else contextlib.nullcontext(Kept("left as they are")) as processors:
                result = load.run(lambda progress: tell(_words(progress, consume)), during())
            if result.interrupted:
                raise KeyboardInterrupt
            usages[0].words.append(f"processors {processors.words}")
            return result, consume.finish(), usages[0]
    finally:
        with contextlib.suppress(Exception):
            cluster.delete_topics(topic, canary)


def _spec(cluster: Cluster, shape: Shape, run_id: str, topic: str, canary: str) -> LoadSpec:
    return LoadSpec(
        connection=_client(cluster, shape),
        topic=topic,
        warmup_topic=canary,
        run_id=run_id,
        source=GeneratedSource(devices=shape.devices, size=shape.size, rows=_ROWS),
        seconds=shape.seconds,
        rate=shape.rate,
        traffic=Traffic(order=shape.order),
        processes=shape.processes,
        warmup_seconds=shape.warmup_seconds,
        tick_us=shape.tick_us,
        partitions=shape.partitions,
        real_time=shape.real_time,
        # A slow machine takes as long for a peak; it bounds the wait, nothing else.
        delivery_timeout_s=180,
    )


def _client(cluster: Cluster, shape: Shape) -> ConnectionSpec:
    extra = {**cluster.connection.extra, **dict(shape.client)}
    return cluster.connection.model_copy(update={"extra": extra})


def _words(progress: LoadProgress, consume: Consume) -> str:
    latency = consume.progress().latency_ms
    tail = "" if latency is None else f", p50 {latency[0]:.2f} ms, p99 {latency[1]:.2f} ms"
    return f"{progress.phase} {progress.elapsed_s:.0f} s, {progress.acked:,} acknowledged{tail}"


def _accounted(load: LoadResult, consumed: ConsumeResult) -> Figures:
    """Messages, and those lost by the accounting identity. Raises `FleetstreamError` when it cannot hold."""
    account = accounting.by_ids(
        attempted={name: one.attempted for name, one in load.by_producer.items()},
        acked=load.ids("acked"),
        rejected=load.ids("rejected"),
        unknown=load.ids("unknown"),
        consumed=consumed.received,
        duplicates=consumed.duplicates,
    )
    if account.contradictions:
        raise FleetstreamError(f"the account does not hold: {'; '.join(account.contradictions)}")
    return {
        "messages": float(account.attempted),
        "lost": float(account.lost_total),
        "not_acked": float(account.attempted - account.acked),
        "duplicates": float(account.duplicates),
        "reordered": float(consumed.reordered),
    }


def _notes(load: LoadResult, consumed: ConsumeResult, usage: Usage) -> list[str]:
    producers = sorted({one.priority for one in load.by_producer.values()})
    ran = [f"producers at {', '.join(producers)}", f"consumer at {consumed.priority}", *usage.words]
    return [*load.notes, *load.troubles, *consumed.troubles, ", ".join(ran)]
