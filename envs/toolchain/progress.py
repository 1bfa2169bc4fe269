"""What an installation shows while it runs: moving bars on a terminal, plain lines elsewhere."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

PLAIN_INTERVAL = 15.0
"""Seconds between two plain lines about the same step."""


class Step(Protocol):
    """One thing that is being installed."""

    def update(self, detail: str, done: int | None = None, total: int | None = None) -> None:
        """Says what happens now and, where it is known, how much of it is done."""


class Report(Protocol):
    """Where an installation says what it does. Used from several threads."""

    def line(self, text: str) -> None:
        """One line that stays."""

    def step(self, title: str) -> contextlib.AbstractContextManager[Step]:
        """A thing that takes a while; it is over when the context ends."""
        ...


class TerminalReport:
    """A spinner, a bar and the elapsed time for every step."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", style="dim"),
            console=console,
            transient=True,
        )

    def __enter__(self) -> "TerminalReport":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def line(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        task = self._progress.add_task(title, total=None, detail="")
        try:
            yield _Bar(self._progress, task)
        finally:
            self._progress.remove_task(task)


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def update(self, detail: str, done: int | None = None, total: int | None = None) -> None:
        if done is not None:
            self._progress.update(self._task, detail=detail, completed=done, total=total)
        else:
            self._progress.update(self._task, detail=detail)


class PlainReport:
    """One line when a step begins, and one now and then while it lasts: for logs and pipes."""

    def __init__(self, console: Console, interval: float = PLAIN_INTERVAL) -> None:
        self._console, self._interval = console, interval
        self._lock = threading.Lock()

    def __enter__(self) -> "PlainReport":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def line(self, text: str) -> None:
        with self._lock:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
            self._console.file.flush()

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        self.line(f"{title} ...")
        yield _Lines(self, title, self._interval)


class _Lines:
    def __init__(self, report: PlainReport, title: str, interval: float) -> None:
        self._report, self._title, self._interval = report, title, interval
        self._begun = self._last = time.monotonic()

    def update(self, detail: str, done: int | None = None, total: int | None = None) -> None:
        now = time.monotonic()
        if now - self._last >= self._interval:
            self._last = now
            share = f" ({100 * done // total} %)" if done is not None and total else ""
            self._report.line(f"{self._title}: {detail}{share}, {now - self._begun:.0f} s")


def report_on(console: Console) -> TerminalReport | PlainReport:
    """The report that suits this console; use it as a context."""
    return TerminalReport(console) if console.is_terminal else PlainReport(console)


def megabytes(size: int) -> str:
    """Bytes for people: "43 MB"."""
    return f"{size / 1e6:.1f} MB" if size < 10e6 else f"{size / 1e6:.0f} MB"
