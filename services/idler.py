"""``idler.py PARENT PROCESSOR``: does nothing, without a pause, while its parent lives; see `services.awake`.

It runs without the project's packages, so that it starts at once.
"""

import contextlib
import os
import sys


def idle(parent: int, processor: int) -> None:
    """Keeps one processor busy whenever nothing else wants it (SCHED_IDLE, sched(7)); says a line when it does."""
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    # Where the kernel schedules by session, a policy counts within the session only: this one's session steps back.
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as group:  # noqa: PTH123 (starts at once)
        group.write("19")
    print(flush=True)
    while os.getppid() == parent:
        for _ in range(1_000_000):
            pass


if __name__ == "__main__":
    idle(int(sys.argv[1]), int(sys.argv[2]))
