"""`python -m envs.toolchain`: the second half of `make install`, after the virtual environment is there."""

import signal
import sys
from types import FrameType

from rich.console import Console

from envs.errors import FleetstreamError
from envs.toolchain import ensure


def main() -> int:
    """Installs what is missing. Exit code 0 when everything is there, 1 when not, 130 when interrupted."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    errors = Console(stderr=True)
    try:
        toolchain = ensure()
    except FleetstreamError as error:
        errors.print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        errors.print(
            "interrupted: nothing half-done counts as installed, `make install` goes on from here", soft_wrap=True
        )
        return 130
    print(f"The toolchain is complete; `fleetstream doctor` says what is where (Java: {toolchain.java})")
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
