"""Writes what was measured into the documents: tables between marks, and pictures."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl

from benchmarks import report
from benchmarks.kept import ROOT, Kept
from benchmarks.report import name_of, spread, value
from benchmarks.rows import Row
from envs.errors import FleetstreamError

mpl.use("svg")
from matplotlib import pyplot
from matplotlib.figure import Figure

DOCUMENT: Final = ROOT / "docs" / "performance.md"
README: Final = ROOT / "README.md"
_PICTURES: Final = ROOT / "docs" / "performance"
_INK: Final = ("#0072B2", "#E69F00", "#D55E00")
"""Blue, orange and vermilion of Okabe and Ito's palette: told apart by everybody."""

Measured = Sequence[tuple[Row, Kept]]


def write(measured: Measured, again: Measured = ()) -> None:
    """Tables into README.md and docs/performance.md, pictures beside the latter; steps apart from the goals. `again`
    is what a second run gave, which then has a column of its own.

    Raises `FleetstreamError` when a document has no place for them.
    """
    steps = [(row, kept) for row, kept in measured if row.name.startswith("step-")]
    rows = [(row, kept) for row, kept in measured if not row.name.startswith("step-")]
    _PICTURES.mkdir(exist_ok=True)
    if rows:
        pictures = [*_over_time(rows), *_over_rate(rows)]
        second = _second(again)
        _replace(README, "measured", _short(rows, second))
        _replace(DOCUMENT, "measured", "\n\n".join([_long(rows, second), *pictures]))
    if steps:
        _replace(DOCUMENT, "steps", "\n\n".join([_steps(steps), *_by_step(steps)]))


def _replace(path: Path, mark: str, text: str) -> None:
    found = path.read_text()
    made, count = re.subn(
        rf"(<!-- {mark}: begin[^>]*-->\n).*?(<!-- {mark}: end -->)",
        lambda m: f"{m[1]}{text}\n{m[2]}",
        found,
        flags=re.DOTALL,
    )
    if count != 1:
        raise FleetstreamError(
            f"{path} has no place for what was measured: <!-- {mark}: begin --> to <!-- {mark}: end -->"
        )
    path.write_text(made)


def _machine(measured: Measured) -> str:
    kept = measured[0][1]
    days = sorted(one["at"][:10] for _, each in measured for one in each.rounds)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    return f"Measured {when} on: " + "; ".join(f"{name} {words}" for name, words in kept.machine.items()) + "."


def _second(again: Measured) -> dict[tuple[str, str], str]:
    """What a second run says of each row's figures."""
    said = {
        (row.name, name): f"{text} {verdict}"
        for row, _, each in report.lines(again)
        for name, text, _, verdict in each
    }
    return {place: text.strip() for place, text in said.items()}


def _head(first: list[str], second: dict[tuple[str, str], str]) -> list[str]:
    columns = [*first, "median (lowest to highest)", "goal", "", *(["in a second run"] if second else [])]
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def _short(measured: Measured, second: dict[tuple[str, str], str]) -> str:
    lines = _head(["what"], second)
    for row, _, said in report.lines(measured):
        wanted = [line for line in said if line[2]] or said[: len(row.shown)]
        wanted += [line for line in said[-1:] if row.beside is not None and line not in wanted]
        cells = ["<br>".join(f"{name} {text}" for name, text, _, _ in wanted)]
        cells += ["<br>".join(one[place] for one in wanted) for place in (2, 3)]
        if second:
            cells.append("<br>".join(second.get((row.name, one[0]), "not measured") for one in wanted))
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return "\n".join([_machine(measured), "", *lines])


def _long(measured: Measured, second: dict[tuple[str, str], str]) -> str:
    lines = _head(["row", "figure"], second)
    for row, kept, said in report.lines(measured):
        for number, (name, text, goal, verdict) in enumerate(said):
            first = f"`{row.name}`: {row.title} ({len(kept.rounds)} rounds)" if not number else ""
            cells = [first, name, text, goal, verdict]
            if second:
                cells.append(second.get((row.name, name), "not measured"))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([_machine(measured), "", *lines])


def _steps(measured: Measured) -> str:
    shown = measured[0][0].shown
    lines = [f"| | {' | '.join(map(name_of, shown))} |", "|---" * (len(shown) + 1) + "|"]
    for row, kept in measured:
        cells = [spread(name, kept.figures[name]) for name in shown]
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _save(figure: Figure, name: str, title: str) -> list[str]:
    """Writes a picture; returns how the document shows it."""
    # No date and fixed ids: the same figures give the same file.
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(_PICTURES / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
    return [f"![{title}](performance/{name}.svg)"]


def _over_time(measured: Measured) -> list[str]:
    """Latency by second of the headline's rounds, one behind the other."""
    kept = next((kept for row, kept in measured if row.name == "headline"), None)
    if kept is None:
        return []
    figure, axes = pyplot.subplots(figsize=(9, 3.5))
    seconds = [second[1:] for one in kept.rounds for second in one["seconds"]]
    for name, column, ink in zip(("median", "p99", "slowest"), zip(*seconds, strict=True), _INK, strict=True):
        axes.plot(range(len(column)), column, label=name, color=ink, linewidth=1)
    axes.set(xlabel="second (rounds one after the other)", ylabel="ms from due to received", yscale="log")
    axes.set_title("74,000 messages/s: latency by second")
    axes.axhline(1, color="grey", linewidth=0.6, linestyle=":")
    axes.legend(loc="upper right", ncols=3, frameon=False)
    return _save(figure, "latency-by-second", "Latency by second at 74,000 messages/s")


def _over_rate(measured: Measured) -> list[str]:
    """Where the rate falls off: what the search for the highest rate saw."""
    kept = next((kept for row, kept in measured if row.name == "highest"), None)
    if kept is None:
        return []
    figure, axes = pyplot.subplots(figsize=(9, 3.5))
    tries = sorted(one for each in kept.rounds for one in each["seconds"])
    rates, within, p99, most = zip(*tries, strict=True)
    axes.plot(rates, p99, "o", label="p99", color=_INK[0])
    axes.plot(rates, most, "^", label="slowest", color=_INK[2])
    axes.set(xlabel="messages/s", ylabel="ms from due to received", yscale="log")
    share = axes.twinx()
    share.plot(rates, [100 * one for one in within], "x", label="within 1 ms", color=_INK[1])
    share.set(ylabel="% within 1 ms", ylim=(0, 102))
    axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:,.0f}")
    axes.set_title("Latency by rate")
    figure.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, frameon=False)
    return _save(figure, "latency-by-rate", "Latency by rate")


def _by_step(measured: Measured) -> list[str]:
    """The share within a millisecond, with one thing taken back at a time."""
    figure, axes = pyplot.subplots(figsize=(9, 0.4 * len(measured) + 1))
    titles = [row.title for row, _ in reversed(measured)]
    shares = [kept.figures["within_1ms"].median for _, kept in reversed(measured)]
    bars = axes.barh(titles, [100 * share for share in shares], color=_INK[0])
    axes.bar_label(bars, [value("within_1ms", share) for share in shares], padding=3)
    axes.set(xlabel="% within 1 ms", xlim=(0, 112))
    axes.set_title("74,000 messages/s, one thing taken back at a time")
    return _save(figure, "steps", "What each step brings")
