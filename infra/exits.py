"""How the program ends when something is wrong: the user reads what it is, never a traceback."""

import os
import signal
import sys
from collections.abc import Iterable
from typing import Final, NoReturn

import pulumi

MESSAGE_SHOWN: Final = 32
"""Exit code that tells Pulumi's language host that the user has been told (pulumi-language-python-exec)."""


def end_quietly_on_interrupt() -> None:
    """The language host interrupts the program once a resource has failed; Pulumi reports that failure itself.

    The process ends at once, as an ordinary exit would wait for the engine's answers while the engine may wait for
    this program's (a transform under way). What the user must know was sent before.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(MESSAGE_SHOWN))


def refuse(problems: Iterable[str]) -> NoReturn:
    """Ends the program before it declares anything, with every problem shown."""
    for problem in problems:
        pulumi.log.error(problem)
    sys.exit(MESSAGE_SHOWN)
