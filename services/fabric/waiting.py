"""Waiting for something to become so, and saying meanwhile how far it is."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from services.fabric.errors import FabricServiceError

Value = TypeVar("Value")


class Progress(Protocol):
    """What shows a step that is under way."""

    detail: str

    def update(self, detail: str) -> None:
        """Shows how far it is."""


Steps = Callable[[str], AbstractContextManager[Progress]]
"""Opens a step under its title."""


@dataclass(frozen=True)
class Limits:
    """How long each part may take, in seconds. Windows starts in minutes, and Service Fabric installs in more."""

    seeds_s: float = 900
    agents_s: float = 900
    prepare_s: float = 1200
    test_s: float = 1200
    create_s: float = 3600
    health_s: float = 1800
    workers_s: float = 2700
    upgrade_s: float = 7200
    pause_s: float = 5
    """Between two looks."""


_FIRST_PAUSE_S: Final = 0.5


class NotYet(Exception):  # noqa: N818 - no error: the answer of a look that has to be taken again
    """It is not so yet; the message says what is still missing."""


def until(look: Callable[[], Value], what: str, limit_s: float, pause_s: float, progress: Progress) -> Value:
    """Looks again while `look` raises `NotYet`: soon at first, then every `pause_s` seconds.

    Raises `FabricServiceError` when the time is over.
    """
    deadline = time.monotonic() + limit_s
    pause = min(_FIRST_PAUSE_S, pause_s)
    while True:
        try:
            return look()
        except NotYet as missing:
            progress.update(str(missing))
            if time.monotonic() + pause > deadline:
                raise FabricServiceError(f"{what}: not within {limit_s:.0f} s: {missing}") from None
        time.sleep(pause)
        pause = min(pause * 1.5, pause_s)
