"""Who runs first on a machine that everybody shares: what is measured, before what is in no hurry."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PR_SET_TIMERSLACK: Final = 29
_REAL_TIME: Final = 1
"""The lowest real-time priority is before everything that has none; the kernel's own threads stay before it."""
_SOON: Final = -5
_LATER: Final = 10


def run_on_time() -> str:
    """Makes this thread, and those it starts from now on, wake up and run on time; says in words what it got.

    Asks for exact timers (PR_SET_TIMERSLACK, prctl(2): by default a sleep may end 50 us late) and for real-time
    scheduling, which needs a privilege (sched(7)). Use it only for work that ends by itself.
    """
    if sys.platform != "linux":
        return "normal priority"
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    if _make_real_time(0):
        return "real-time priority"
    try:
        _be_nice(_SOON)
    except PermissionError:
        return "normal priority (this user may not raise it)"
    return f"nice {_SOON}"


def step_back() -> None:
    """Lets everybody else run first: for work that nobody waits for."""
    _be_nice(_LATER)


@contextlib.contextmanager
def raised(pid: int, thread_names: str) -> Iterator[str]:
    """Real-time scheduling for those threads of another process whose name begins so, for the time of the block.

    Yields in words what it got. The process may end meanwhile.
    """
    threads = _threads(pid, thread_names)
    got = [thread for thread in threads if _make_real_time(thread)]
    try:
        yield "real-time priority" if got else "normal priority (this user may not raise it)"
    finally:
        for thread in got:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _make_real_time(thread: int) -> bool:
    try:
        os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(_REAL_TIME))
    except (PermissionError, ProcessLookupError):
        return False
    return True


def _threads(pid: int, names: str) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for folder in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if (folder / "comm").read_text().startswith(names):
                    found.append(int(folder.name))
    return found


def _be_nice(value: int) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, value)
    # Where the kernel schedules by session, a nice value counts within the session only, and the session has one too.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(value))
