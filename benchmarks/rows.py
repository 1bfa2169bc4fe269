"""The rows of the benchmark: what is measured, what is asked of it, and with whom it is compared."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import measure, peers
from benchmarks.brokers import Cluster
from benchmarks.measure import Figures, Round, Shape, Tell
from envs.toolchain import Toolchain

ROUNDS: Final = 5
QUICK_ROUNDS: Final = 1
_PEAK_MESSAGES: Final = 8_000_000
_QUICK_PEAK_MESSAGES: Final = 3_000_000


@dataclass(frozen=True)
class Goal:
    """What a figure has to be: at least, or at most (exclusive), `limit`."""

    figure: str
    limit: float
    at_least: bool = True

    def met(self, figures: Mapping[str, float]) -> bool:
        """Whether these figures are good enough."""
        value = figures[self.figure]
        return value >= self.limit if self.at_least else value < self.limit or value == self.limit == 0


@dataclass(frozen=True)
class Place:
    """What a round has to work with."""

    cluster: Cluster
    toolchain: Toolchain
    folder: Path
    quick: bool
    tell: Tell


@dataclass(frozen=True)
class Row:
    """One row: `measure` does a round of it, `goals` are what its medians are held against."""

    name: str
    title: str
    goals: tuple[Goal, ...]
    measure: Callable[[Place], Round]
    settings: Mapping[str, float | str]
    brokers: int = 1
    secure: bool = False
    jvm: tuple[str, ...] = ()
    warm: bool = True
    rounds: int = ROUNDS
    shown: tuple[str, ...] = ("within_1ms", "p99", "p99_9", "max", "lost")
    beside: tuple[str, str] | None = None
    """Another row, and the figure that is told as a multiple of that row's."""


def _share(limit: float) -> Goal:
    return Goal("within_1ms", limit)


def _below(figure: str, limit: float) -> Goal:
    return Goal(figure, limit, at_least=False)


NOTHING_LOST: Final = (_below("lost", 0), _below("not_acked", 0))


def _paced(
    name: str,
    title: str,
    shape: Shape,
    goals: tuple[Goal, ...],
    quick_seconds: float = 10,
    peer: Callable[[Toolchain, Cluster, Shape, Path, Tell], Figures] | None = None,
    brokers: int = 1,
    secure: bool = False,
    rounds: int = ROUNDS,
) -> Row:
    def one(place: Place) -> Round:
        asked = shape
        if place.quick:
            asked = dataclasses.replace(shape, seconds=min(shape.seconds, quick_seconds))
        found = measure.paced(place.cluster, asked, place.folder, place.tell)
        if peer is not None:
            found.figures |= peer(place.toolchain, place.cluster, asked, place.folder, place.tell)
        return found

    return Row(name, title, (*goals, *NOTHING_LOST), one, _settings(shape), brokers, secure, rounds=rounds)


def _settings(shape: Shape) -> dict[str, float | str]:
    return dict(vars(shape))


def _peak_settings() -> dict[str, float | str]:
    """A peak has no rate and no length: it is over when all messages are through."""
    kept = {name: value for name, value in vars(PEAK).items() if name not in ("rate", "seconds", "warmup_seconds")}
    return {"messages": _PEAK_MESSAGES, "messages_quick": _QUICK_PEAK_MESSAGES, **kept}


def _highest(place: Place) -> Round:
    """The highest rate that still meets the platform's requirement, by doubling and halving the step."""
    low, step = 0.0, 200_000.0
    best: Figures = {}
    tries: list[tuple[float, float, float, float]] = []
    while step >= (50_000 if place.quick else 25_000):
        rate = low + step
        shape = dataclasses.replace(HIGHEST, rate=rate, seconds=6 if place.quick else 15)
        place.tell(f"{rate:,.0f} messages/s")
        figures = measure.paced(place.cluster, shape, place.folder, place.tell).figures
        tries.append((rate, figures["within_1ms"], figures["p99"], figures["max"]))
        if figures["p99"] < 10 and figures["max"] < 100 and not figures["lost"] and figures["rate"] > 0.99 * rate:
            low, best = rate, figures
        else:
            step /= 2
    words = [
        f"{rate:,.0f}/s: {share:.2%} within 1 ms, p99 {p99:.2f}, max {most:.1f} ms"
        for rate, share, p99, most in tries
    ]
    return Round({**best, "highest_rate": low}, tries, words)


def _peak(place: Place) -> Round:
    messages = _QUICK_PEAK_MESSAGES if place.quick else _PEAK_MESSAGES
    found = measure.peak(place.cluster, PEAK, messages, place.folder, place.tell)
    if not place.cluster.secure:
        native, reason = peers.rdkafka_performance(place.cluster, messages, place.folder, place.tell)
        kafka = peers.perf_tools(place.toolchain, place.cluster, messages // 2, place.folder, place.tell)
        figures = found.figures
        figures["kafka_tools_rate"] = kafka
        figures["to_kafka_tools"] = figures["rate"] / kafka
        if native:
            figures["rdkafka_rate"] = native
            figures["to_rdkafka"] = figures["rate"] / native
        else:
            found.notes.append(reason)
    return found


def _memory(place: Place) -> Round:
    shape = dataclasses.replace(MEMORY, seconds=30) if place.quick else MEMORY
    return measure.memory(place.cluster, shape, place.folder, place.tell)


HEADLINE: Final = Shape(rate=74_000, seconds=60, partitions=1)
HIGHEST: Final = Shape(rate=200_000, seconds=15, partitions=1)
PEAK: Final = Shape(rate=0, seconds=0, partitions=2, real_time=False, awake=False)
"""At the priority that the peers have, on processors left as they are."""
MEMORY: Final = dataclasses.replace(HEADLINE, seconds=600, devices=1_000_000)

_STEP: Final = dataclasses.replace(HEADLINE, seconds=15)
G1: Final = ("-XX:-UseZGC", "-XX:+UseG1GC")


def _step(name: str, title: str, jvm: tuple[str, ...] = (), warm: bool = True, **change: Any) -> Row:
    row = _paced(f"step-{name}", title, dataclasses.replace(_STEP, **change), (), rounds=3)
    return dataclasses.replace(row, goals=(), jvm=jvm, warm=warm, shown=("within_1ms", "p99", "p99_9", "max"))


STEPS: Final = (
    _step("none", "the headline for 15 s"),
    _step("ordinary", "without real-time priority", real_time=False),
    _step("asleep", "processors left to sleep", awake=False),
    _step("ticks-1000", "ticks of 1 ms", tick_us=1000),
    _step("ticks-250", "ticks of 0.25 ms", tick_us=250),
    _step("two", "2 partitions", partitions=2),
    _step("six", "6 partitions", partitions=6),
    _step("in-flight", "5 requests in flight, librdkafka's default", client=(("max.in.flight", "5"),)),
    _step("linger", "linger of 5 ms, librdkafka's default", client=(("linger.ms", "5"),)),
    _step("g1", "Java's usual collector (G1)", jvm=G1),
    _step("cold", "new brokers, not warmed up", warm=False),
)
"""What each step of the tuning brings: the headline with one thing taken back."""

ROWS: Final = (
    _paced(
        "headline",
        "74,000 messages/s end to end",
        HEADLINE,
        (_share(0.999), _below("p99_9", 2), _below("max", 10)),
        peer=peers.latency_tools,
    ),
    _paced("six", "the same with 6 partitions", dataclasses.replace(HEADLINE, partitions=6), (_share(0.996),)),
    _paced(
        "double",
        "150,000 messages/s",
        dataclasses.replace(HEADLINE, rate=150_000),
        (_share(0.996), _below("max", 20)),
    ),
    _paced(
        "in-step",
        "200,000 messages/s, a fleet that reports in step, 6 partitions",
        dataclasses.replace(HEADLINE, rate=200_000, partitions=6, order="in-step"),
        (_share(0.996),),
    ),
    Row(
        "highest",
        "highest rate with p99 < 10 ms and max < 100 ms",
        (Goal("highest_rate", 300_000),),
        _highest,
        _settings(HIGHEST),
        rounds=3,
        shown=("highest_rate", "within_1ms", "p99", "max"),
    ),
    _paced(
        "ordinary",
        "74,000 messages/s without real-time priority",
        dataclasses.replace(HEADLINE, real_time=False),
        (_share(0.95), _below("p99", 10), _below("max", 100)),
    ),
    Row(
        "peak",
        "as fast as it goes, producer, broker and consumer at once, every message accounted for",
        (Goal("rate", 1_000_000), Goal("to_rdkafka", 0.75), Goal("to_kafka_tools", 2), *NOTHING_LOST),
        _peak,
        _peak_settings(),
        shown=("rate", "rdkafka_rate", "to_rdkafka", "kafka_tools_rate", "to_kafka_tools", "lost"),
    ),
    Row(
        "memory",
        "memory over ten minutes at 74,000 messages/s, 1 million devices",
        (_below("producer_mb", 300), _below("consumer_mb", 300), _below("grown_mb", 20), *NOTHING_LOST),
        _memory,
        _settings(MEMORY),
        rounds=1,
        shown=("producer_mb", "consumer_mb", "grown_mb", "lost"),
    ),
    dataclasses.replace(
        _paced("tls", "74,000 messages/s over TLS, signed in", HEADLINE, (), secure=True, rounds=3),
        beside=("headline", "p99"),
    ),
    Row(
        "tls-peak",
        "as fast as it goes over TLS, signed in",
        NOTHING_LOST,
        _peak,
        _peak_settings(),
        secure=True,
        rounds=3,
        shown=("rate", "lost"),
        beside=("peak", "rate"),
    ),
    _paced(
        "three",
        "three brokers, three replicas of which two must have it",
        dataclasses.replace(HEADLINE, rate=20_000, seconds=30),
        (),
        brokers=3,
        rounds=3,
    ),
)
"""All rows in the order in which they are run."""
