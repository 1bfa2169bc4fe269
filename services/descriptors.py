"""How many files and connections a process may have open: looked at before a load begins, raised where that may be.

The limit holds for each process by itself, and children inherit it (getrlimit(2)): whoever starts the processes of a
load sees to it once, for the process that needs most.
"""

import os
import sys
from dataclasses import dataclass
from typing import Final

from services.errors import ServiceError

BROKERS: Final = 60
"""As many brokers are counted on: the addresses that a client is given name only some of a large cluster's."""
EACH_BROKER: Final = 3
"""What the Kafka client has open for each broker: the connection, and a pipe that wakes its thread up."""
OF_ITS_OWN: Final = 12
"""What a producer or a consumer has open besides: two pipes to its parent, log, journal, and the Kafka client's own
pipes; a consumer also has a second connection, to its group's coordinator."""
EACH_CHILD: Final = 2
"""What the parent has open for each process that it has started: a pipe to it and one from it."""
SPARE: Final = 16
"""For what is open for a moment only: certificates, credentials, recordings, a process that is being started."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit as it is now, in words, and whether it was raised for it."""

    words: str
    raised: bool = False


def of_client(brokers: int = BROKERS) -> int:
    """How many files a producer or a consumer of a load has open at most."""
    return OF_ITS_OWN + EACH_BROKER * brokers + SPARE


def of_load(processes: int, brokers: int = BROKERS) -> int:
    """How many files one process of a load has open at most, when this one starts so many producers or consumers.

    That is one of them, or this one with what it has open already: a load of many processes needs no more in each
    of them, only in the one that has all their pipes.
    """
    return max(of_client(brokers), _open() + EACH_CHILD * processes + SPARE)


def ensure(needed: int) -> Limit:
    """Sees to it that this process, and each that it starts from now on, may have `needed` files open.

    Raises `ServiceError` with the setting and the remedy when the limit is too low and this user may not raise it.
    """
    if sys.platform == "win32":
        return Limit("no limit of open files: Windows has none that a process could raise")
    # Python has no such module on Windows.
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Limit("limit of open files: none")
    if soft >= needed:
        return Limit(f"limit of open files: {soft}")
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ServiceError(
            f"{needed} files and connections may have to be open in one process, and the hard limit of open files "
            f"(RLIMIT_NOFILE) is {hard}: {_remedy(needed)}"
        )
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (OSError, ValueError) as error:
        # A container or a sandbox may forbid it, whatever the hard limit says.
        raise ServiceError(
            f"the limit of open files (RLIMIT_NOFILE) is {soft} and cannot be raised to {needed} ({error}): "
            f"{_remedy(needed)}"
        ) from error
    return Limit(f"limit of open files raised from {soft} to {needed}", raised=True)


def _remedy(needed: int) -> str:
    return (
        f"`ulimit -n {needed}` in a shell of root's that starts this, `* hard nofile {needed}` in "
        f"/etc/security/limits.conf and a new login, or LimitNOFILE={needed} in the systemd service"
    )


def _open() -> int:
    """How many files this process has open."""
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        # No such folder here: what a Python process with AWS clients has open.
        return 64
