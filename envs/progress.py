"""Progress for people: a live line on a terminal, plain lines everywhere else, always on standard error."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

console = Console(stderr=True, highlight=False)

_QUIET_SECONDS = 5.0
"""How often a plain line may repeat itself while one step goes on."""


class Step:
    """One thing under way; `update` says how far it is."""

    def __init__(self, title: str, status: Status | None) -> None:
        self._title = title
        self._status = status
        self._started = time.monotonic()
        self._printed = self._started
        self.detail = ""

    def update(self, detail: str) -> None:
        """Shows how far the step is: in place on a terminal, every few seconds elsewhere."""
        self.detail = detail
        now = time.monotonic()
        if self._status is not None:
            self._status.update(f"{self._title}: {detail}")
        elif now - self._printed >= _QUIET_SECONDS:
            self._printed = now
            console.print(f"  {self._title}: {detail} ({self.seconds:.0f} s)", markup=False)

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._started


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Shows a step while its block runs, and how long it took when it ended well."""
    if console.is_terminal:
        with console.status(title) as status:
            current = Step(title, status)
            yield current
    else:
        console.print(title, markup=False)
        current = Step(title, None)
        yield current
    detail = f": {current.detail}" if current.detail else ""
    console.print(f"[green]✓[/green] {title}{detail} [dim]{current.seconds:.1f} s[/dim]", soft_wrap=True)
