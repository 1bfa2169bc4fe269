"""What goes wrong with the toolchain, in the user's terms."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from envs.errors import FleetstreamError

NO_ROOM: Final = "free some space, or set XDG_CACHE_HOME to a directory on a disk with more room"
_LIMITED: Final = "raise the limit on the size of files (`ulimit -f`)"

_STORAGE: Final = {
    errno.ENOSPC: ("No space left on device", NO_ROOM),
    errno.EDQUOT: ("Disk quota exceeded", NO_ROOM),
    errno.EFBIG: ("File too large", _LIMITED),
}


class ToolchainError(FleetstreamError):
    """A tool is missing, or could not be installed; the message says which one, and what to do."""


@contextlib.contextmanager
def explained(what: str, folder: Path) -> Iterator[None]:
    """Turns the operating system's refusals under `folder` into a `ToolchainError` with a remedy."""
    try:
        yield
    except OSError as error:
        said, remedy = _STORAGE.get(
            error.errno or 0,
            (error.strerror or str(error), "make it a directory of yours, or set XDG_CACHE_HOME to one"),
        )
        raise ToolchainError(
            f"{what}: cannot write in {folder} ({said}): {remedy}, then `make install` again"
        ) from error


def storage_remedy(output: str) -> str | None:
    """What to do when a program's output says that it could not write its files; None when it does not."""
    for said, remedy in _STORAGE.values():
        if said.lower() in output.lower():
            return f"{said}: {remedy}, then `make install` again."
    return None
