"""Who runs first on a machine that everybody shares: what is measured, before what is in no hurry."""

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PR_SET_TIMERSLACK: Final = 29
_REAL_TIME: Final = 1
"""The lowest real-time priority is before everything that has none; the kernel's own threads stay before it."""
_NONE: Final = re.compile(r"(?!)")
_LATER: Final = 10
AS_ASKED: Final = "normal priority, as asked"


def run_on_time() -> str:
    """Makes this process's threads, and those they start, wake up and run on time; says in words what it got.

    Asks for exact timers of the calling thread (PR_SET_TIMERSLACK, prctl(2): by default a sleep may end 50 us late)
    and for real-time scheduling, which needs a privilege (sched(7)). Use it only for work that ends by itself.
    """
    if sys.platform != "linux":
        return "normal priority"
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    return _got(all(_make_real_time(thread) for thread in _threads(os.getpid(), _NONE)))


def step_back() -> None:
    """Lets everybody else run first: for work that nobody waits for."""
    os.setpriority(os.PRIO_PROCESS, 0, _LATER)
    # Where the kernel schedules by session, a nice value counts within the session only, and the session has one too.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_LATER))


@contextlib.contextmanager
def raised(pid: int, all_but: str) -> Iterator[str]:
    """Real-time scheduling for the threads of another process, for the time of the block.

    Left out are those whose name matches the pattern `all_but`: threads whose work nobody waits for.

    Yields in words what it got. The process may end meanwhile.
    """
    threads = _threads(pid, re.compile(all_but))
    got = [thread for thread in threads if _make_real_time(thread)]
    try:
        yield _got(bool(got))
    finally:
        # All that there are now: a thread that was started meanwhile inherited the priority.
        for thread in _threads(pid, _NONE) if got else ():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _make_real_time(thread: int) -> bool:
    try:
        os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(_REAL_TIME))
    except (PermissionError, ProcessLookupError):
        return False
    return True


def _threads(pid: int, all_but: re.Pattern[str]) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for folder in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if not all_but.match((folder / "comm").read_text()):
                    found.append(int(folder.name))
    return found


def _got(raised: bool) -> str:
    return "real-time priority" if raised else "normal priority (this user may not raise it)"
