"""The benchmark's table: medians with their spread, the goals, and whether they were reached."""

import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import confluent_kafka
import psutil
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from benchmarks.kept import Figure, Kept
from benchmarks.rows import Goal, Row
from envs.toolchain import versions

_NAMES: Final = {
    "within_1ms": "within 1 ms",
    "p50": "p50, ms",
    "p99": "p99, ms",
    "p99_6": "p99.6, ms",
    "p99_9": "p99.9, ms",
    "max": "max, ms",
    "lost": "lost",
    "not_acked": "not acknowledged",
    "rate": "messages/s",
    "highest_rate": "highest messages/s",
    "rdkafka_rate": "rdkafka_performance",
    "to_rdkafka": "of rdkafka_performance",
    "kafka_tools_rate": "Kafka's own tools",
    "to_kafka_tools": "of Kafka's own tools",
    "producer_mb": "producer, MB",
    "consumer_mb": "consumer, MB",
    "grown_mb": "grown, MB",
    "broker_cores": "processors, broker",
    "producer_cores": "processors, producer",
    "consumer_cores": "processors, consumer",
    "steal": "taken by the host",
    "kafka_ack_p99": "ProducerPerformance, p99, ms",
    "kafka_one_p99": "EndToEndLatency, p99, ms",
}
_COSTS: Final = ("broker_cores", "producer_cores", "consumer_cores", "steal")
_SHARES: Final = ("within_1ms", "steal")
_RATIOS: Final = ("to_rdkafka", "to_kafka_tools")
_WHOLE: Final = ("rate", "highest_rate", "rdkafka_rate", "kafka_tools_rate", "lost", "not_acked", "grown_mb")


def machine() -> dict[str, str]:
    """What it was measured on, in words."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    return {
        "processors": f"{len(os.sched_getaffinity(0))} x {cpu}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Kafka": versions.KAFKA,
        "librdkafka": confluent_kafka.libversion()[0],
        "Python": platform.python_version(),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def name_of(figure: str) -> str:
    """A figure's name for people."""
    return _NAMES.get(figure, figure)


def value(figure: str, number: float) -> str:
    """One number as people read it."""
    if figure in _SHARES:
        return f"{number:.2%}"
    if figure in _RATIOS:
        return f"{number:.2f}x"
    if figure in _WHOLE:
        return f"{number:,.0f}"
    return f"{number:,.2f}"


def spread(figure: str, found: Figure) -> str:
    """The median, and the lowest and highest where they differ."""
    median, low, high = (value(figure, number) for number in (found.median, found.low, found.high))
    return median if low == high else f"{median} ({low} to {high})"


def words_of(goal: Goal) -> str:
    """A goal as people read it."""
    if goal.limit == 0:
        return "0"
    return f"{'>=' if goal.at_least else '<'} {value(goal.figure, goal.limit)}"


def verdicts(row: Row, figures: Mapping[str, Figure]) -> Iterable[tuple[str, str, str, str]]:
    """A line a figure: name, median with spread, goal, and "reached", "missed" or nothing where there is no goal."""
    goals = {goal.figure: goal for goal in row.goals}
    medians = {name: found.median for name, found in figures.items()}
    for name in dict.fromkeys((*row.shown, *goals)):
        if name not in figures:
            if name in goals:
                yield name_of(name), "not measured", words_of(goals[name]), ""
            continue
        goal = goals.get(name)
        verdict = "" if goal is None else "reached" if goal.met(medians) else "missed"
        yield name_of(name), spread(name, figures[name]), "" if goal is None else words_of(goal), verdict
    for name in ("kafka_ack_p99", "kafka_one_p99", *_COSTS):
        if name in figures:
            yield name_of(name), spread(name, figures[name]), "", ""


def lines(measured: Sequence[tuple[Row, Kept]]) -> Iterator[tuple[Row, Kept, list[tuple[str, str, str, str]]]]:
    """Each row with what is said of it: its verdicts, and what it is of another row that was measured as well."""
    medians = {row.name: {name: found.median for name, found in kept.figures.items()} for row, kept in measured}
    for row, kept in measured:
        said = list(verdicts(row, kept.figures))
        if row.beside is not None:
            other, figure = row.beside
            if figure in medians.get(other, {}) and figure in medians[row.name]:
                ratio = medians[row.name][figure] / medians[other][figure]
                said.append((f"{name_of(figure)}, of that of `{other}`", f"{ratio:.2f}x", "", ""))
        yield row, kept, said


def table(measured: Sequence[tuple[Row, Kept]]) -> Group:
    """All rows that have rounds: each under its title, so that the figures have the width of the terminal."""
    shown: list[RenderableType] = []
    for row, kept, said in lines(measured):
        each = Table("", "median (lowest to highest)", "goal", "", box=box.SIMPLE_HEAD, pad_edge=False)
        for name, text, goal, verdict in said:
            color = {"reached": "green", "missed": "yellow"}.get(verdict, "")
            each.add_row(name, text, goal, f"[{color}]{verdict}[/{color}]" if color else "")
        rounds = "1 round" if len(kept.rounds) == 1 else f"{len(kept.rounds)} rounds"
        shown += [f"[bold]{row.name}[/bold]: {row.title} ({rounds})", each]
    return Group(*shown)
