"""``idler.py PARENT PROCESSOR``: does nothing, without a pause, while its parent lives; see `services.awake`.

It runs without the project's packages, so that it starts at once.
"""

import os
import sys


def idle(parent: int, processor: int) -> None:
    """Keeps one processor busy whenever nothing else wants it (SCHED_IDLE, sched(7)); says a line when it does."""
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    print(flush=True)
    while os.getppid() == parent:
        for _ in range(1_000_000):
            pass


if __name__ == "__main__":
    idle(int(sys.argv[1]), int(sys.argv[2]))
