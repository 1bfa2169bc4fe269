"""``python -m benchmarks``: measures rows, keeps their rounds, and prints them with their goals."""

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import kept, publish, report
from benchmarks.kept import Kept
from benchmarks.rows import QUICK_ROUNDS, ROWS, STEPS, Place, Row
from benchmarks.warm import WarmBrokers, warm_brokers
from envs import toolchain
from envs.errors import FleetstreamError
from envs.progress import step
from envs.toolchain import Toolchain
from services.errors import ServiceError

_ROOM_GB = 8
console = Console()


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(
    rows: Annotated[list[str] | None, typer.Argument(help="Rows to measure; without any, all.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One short round of each.")] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds instead of a row's own number.")] = None,
    steps: Annotated[bool, typer.Option("--steps", help="What each step of the tuning brings, instead.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Measure anew what was measured before.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Measure nothing, print what was measured.")] = False,
    documents: Annotated[
        bool, typer.Option("--documents", help="Write what was measured into README.md and docs/performance.md.")
    ] = False,
    beside: Annotated[
        Path | None, typer.Option(help="With --documents: build/bench of another clone, whose run is shown as well.")
    ] = None,
) -> None:
    """What the platform carries on this machine, next to its peers: medians of several rounds against goals.

    A row that was measured goes on with the rounds that it lacks.
    """
    known = {row.name: row for row in (*ROWS, *STEPS)}
    if unknown := [name for name in rows or () if name not in known]:
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(known)}")
    chosen = [known[name] for name in rows] if rows else list(STEPS if steps else ROWS)
    signal.signal(signal.SIGTERM, _interrupted)
    folder = kept.FOLDER / _folder(quick)
    found: list[tuple[Row, Kept]] = []
    try:
        tools = toolchain.find()
        with (
            tempfile.TemporaryDirectory(prefix="fleetstream-bench-") as scratch,
            warm_brokers(tools, Path(scratch)) as brokers,
        ):
            for row in chosen:
                rows_kept = kept.of(row.name, _settings(row, quick), folder, again)
                found.append((row, rows_kept))
                if not show:
                    wanted = rounds or (QUICK_ROUNDS if quick else row.rounds)
                    _measure(row, rows_kept, wanted, tools, brokers, Path(scratch), quick)
        if documents:
            # All that is kept, not only what was asked for now: a table keeps its other rows.
            publish.write(_kept(known.values(), quick, folder), _again(known.values(), quick, beside))
    except KeyboardInterrupt:
        console.print("interrupted: the rounds that are over are kept, the same command goes on from here")
        _print(found)
        raise typer.Exit(130) from None
    except (FleetstreamError, ServiceError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    _print(found)


def _kept(rows: Iterable[Row], quick: bool, folder: Path) -> list[tuple[Row, Kept]]:
    every = [(row, kept.of(row.name, _settings(row, quick), folder)) for row in rows]
    return [(row, one) for row, one in every if one.rounds]


def _again(rows: Iterable[Row], quick: bool, beside: Path | None) -> list[tuple[Row, Kept]]:
    """What was measured in another clone. Raises `FleetstreamError` when nothing of this code was."""
    if beside is None:
        return []
    found = _kept(rows, quick, beside / _folder(quick))
    if not found:
        raise FleetstreamError(f"{beside}: nothing there was measured with this code and these settings")
    return found


def _folder(quick: bool) -> str:
    return "quick" if quick else "full"


def _settings(row: Row, quick: bool) -> dict[str, object]:
    return {
        "row": row.name,
        "quick": quick,
        "brokers": row.brokers,
        "secure": row.secure,
        "jvm": row.jvm,
        "warm": row.warm,
        **row.settings,
    }


def _measure(
    row: Row, rows_kept: Kept, wanted: int, tools: Toolchain, brokers: WarmBrokers, scratch: Path, quick: bool
) -> None:
    """The rounds that are missing, on brokers that are as warm as they get: none is warmer than another."""
    if len(rows_kept.rounds) < wanted:
        shown = ", ".join(f"{name} {value}" for name, value in row.settings.items())
        console.print(f"[bold]{row.name}[/bold]: {row.title}\n  {shown}", highlight=False, soft_wrap=True)
    while len(rows_kept.rounds) < wanted:
        number = len(rows_kept.rounds) + 1
        with step(f"{row.name}, round {number} of {wanted}") as current:
            if (free := shutil.disk_usage(scratch).free / 1e9) < _ROOM_GB:
                raise FleetstreamError(
                    f"{scratch} has {free:.1f} GB free, a round writes up to {_ROOM_GB} GB: set TMPDIR"
                )
            cluster = brokers.get(row.brokers, row.secure, row.jvm, row.warm, current.update)
            # What a round leaves is gone with it: journals and logs of many rounds would fill the disk.
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                found = row.measure(Place(cluster, tools, Path(folder), quick, current.update))
            found.notes.append(brokers.words)
            rows_kept.add(found, report.machine())
            current.detail = ", ".join(
                f"{report.name_of(name)} {report.value(name, found.figures[name])}"
                for name in row.shown
                if name in found.figures
            )
        for note in found.notes:
            console.print(f"  {note}", highlight=False, markup=False, soft_wrap=True)


def _print(found: list[tuple[Row, Kept]]) -> None:
    measured = [(row, one) for row, one in found if one.rounds]
    if not measured:
        return
    for name, words in measured[-1][1].machine.items():
        console.print(f"{name}: {words}", highlight=False, soft_wrap=True)
    console.print(report.table(measured))
    console.print(f"as JSON: {measured[0][1].path.parent}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(typer.run(main))
