"""How the program ends when something is wrong: the user reads what it is, never a traceback."""

import signal
import sys
from collections.abc import Iterable
from typing import Final, NoReturn

import pulumi

MESSAGE_SHOWN: Final = 32
"""Exit code that tells Pulumi's language host that the user has been told (pulumi-language-python-exec)."""


def end_quietly_on_interrupt() -> None:
    """The language host interrupts the program once a resource has failed; Pulumi reports that failure itself."""
    signal.signal(signal.SIGINT, lambda *_: sys.exit(MESSAGE_SHOWN))


def refuse(problems: Iterable[str]) -> NoReturn:
    """Ends the program before it declares anything, with every problem shown."""
    for problem in problems:
        pulumi.log.error(problem)
    sys.exit(MESSAGE_SHOWN)
