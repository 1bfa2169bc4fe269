"""The time of the emulated AWS: a clock that can be put forward, and what happens a moment later.

Hours that a life cycle hook may wait, or that lie between two snapshots, never pass in a sandbox. Who wants to see
what comes then puts the clock forward (`routes.table`). Whatever waits for a moment of this clock runs in one thread.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

log = logging.getLogger("envs.sandbox.aws")

Action = Callable[[], object]


class Clock:
    """Seconds that never go back, and the date; `after` and `every` have something done at a later moment."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, Action]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ended = False

    def now(self) -> float:
        """Seconds since some moment in the past."""
        return time.monotonic() + self._ahead

    def date(self) -> datetime:
        """What a calendar would say, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._ahead)

    def advance(self, seconds: float) -> None:
        """Puts the clock forward; what is due by then happens now."""
        with self._changed:
            self._ahead += seconds
            self._changed.notify()

    def after(self, seconds: float, action: Action) -> None:
        """Has the action done that many seconds from now."""
        with self._changed:
            heapq.heappush(self._waiting, (self.now() + seconds, next(self._order), action))
            self._changed.notify()

    def every(self, seconds: float, action: Action) -> None:
        """Has the action done again and again."""

        def again() -> None:
            try:
                action()
            finally:
                self.after(seconds, again)

        self.after(seconds, again)

    def start(self) -> None:
        """Begins to do what is due."""
        self._thread = threading.Thread(target=self._run, name="aws-clock", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends what `start` began."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception:
                log.exception("what was due a moment later failed in the emulated AWS")

    def _next(self) -> Action | None:
        """The next action once it is due; None when the clock was closed."""
        with self._changed:
            while not self._ended:
                if not self._waiting:
                    self._changed.wait()
                elif (left := self._waiting[0][0] - self.now()) > 0:
                    self._changed.wait(left)
                else:
                    return heapq.heappop(self._waiting)[2]
            return None


CLOCK = Clock()
"""The one of this process."""
