"""What happened in a drill, and when: written by several threads, read by people and by the report."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from rich.markup import escape
from rich.table import Table


class Kind(StrEnum):
    """What an entry is."""

    STATUS = "status"
    """A node has another status: the report's lanes are drawn from these."""
    STATE = "state"
    """A group does something else with an instance."""
    ACT = "act"
    """Something the drill did."""
    NOTE = "note"
    BROKEN = "broken"
    """What must never be."""


_COLORS = {Kind.ACT: "cyan", Kind.BROKEN: "bold red"}


@dataclass(frozen=True)
class Event:
    """One entry. `at`: seconds since the drill began."""

    at: float
    subject: str
    text: str
    kind: Kind = Kind.NOTE


class Timeline:
    """The entries of one drill, in the order in which they were noted. Threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._events: list[Event] = []

    @property
    def now(self) -> float:
        """Seconds since the drill began."""
        return self._clock() - self._began

    def note(self, subject: str, text: str, kind: Kind = Kind.NOTE) -> Event:
        """Writes an entry."""
        with self._lock:
            # Under the lock, so that the entries are in the order of their times.
            event = Event(round(self.now, 2), subject, text, kind)
            self._events.append(event)
        return event

    @property
    def events(self) -> list[Event]:
        """The entries so far."""
        with self._lock:
            return list(self._events)


def as_json(events: Sequence[Event]) -> list[dict[str, Any]]:
    """The entries as plain data."""
    return [asdict(event) | {"kind": str(event.kind)} for event in events]


def table(events: Sequence[Event]) -> Table:
    """The entries for a terminal."""
    found = Table("s", "of", "what", title="timeline", title_justify="left")
    found.columns[0].justify = "right"
    for event in events:
        color = _COLORS.get(event.kind)
        text = escape(event.text)
        found.add_row(f"{event.at:.1f}", escape(event.subject), f"[{color}]{text}[/]" if color else text)
    return found
