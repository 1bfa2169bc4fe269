"""How many files and connections a process may have open: looked at before a load begins, raised where that may be.

Children inherit the limit, so who starts them sees to it once (getrlimit(2)).
"""

import sys
from typing import Final

from services.errors import ServiceError

NEEDED: Final = 256
"""What one process of a load has open at most: its libraries, log, journal and pipes (some 30), and with them two
connections to each of up to a hundred brokers."""
EACH_PROCESS: Final = 4
"""What the one that starts them has open for each: three pipes and a log."""


def ensure(processes: int) -> str | None:
    """Sees to it that this process can start so many, and each of them can work. Says in words what was changed.

    Raises `ServiceError` with the remedy when the limit is too low and this user may not raise it.
    """
    if sys.platform == "win32":
        # It has no such limit, and Python no module for it there.
        return None
    import resource

    needed = NEEDED + EACH_PROCESS * processes
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ServiceError(
            f"{needed} files may have to be open at once, and this user may have {hard}: raise the hard limit "
            "(`ulimit -Hn` as root, `nofile` in /etc/security/limits.conf, LimitNOFILE= of a systemd service)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return f"limit of open files raised from {soft} to {needed}"
