"""What the provider was asked to make, and made: on disk before the engine hears of it.

An engine that is killed knows which creations it had asked for (the pending operations in its state), but not what
came of them. The provider outlives it, and what is written here says so whatever is killed when.
"""

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from botocore.exceptions import BotoCoreError

from envs.errors import FleetstreamError
from envs.sandbox.provider.errors import NotReadyError

FILE: Final = "provider.journal"
"""Its name in a sandbox's state directory."""


@dataclass(frozen=True)
class Creation:
    """One creation that was asked for: what it made has an `identifier`, and it `ended` when nothing is left to do.

    With neither it is open what AWS did. An end without an identifier is a refusal: nothing was made.
    """

    urn: str
    identifier: str | None = None
    ended: bool = False


class Journal:
    """Appends lines of JSON, each with one write: whoever kills the process loses none that was written."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        # Tells this process's calls from those of earlier ones in the same file.
        self._session = os.urandom(8).hex()
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    @contextmanager
    def creating(self, urn: str) -> Iterator[Callable[[str], None]]:
        """Notes a creation while its block runs; the block tells the id of what it made as soon as it knows it."""
        with self._lock:
            call = f"{self._session}-{next(self._numbers)}"
        self._write(call=call, urn=urn)
        try:
            yield lambda identifier: self._write(call=call, id=identifier)
        except (BotoCoreError, NotReadyError):
            # No answer, or something half made: neither is an end.
            raise
        except Exception:
            self._write(call=call, ended=True)
            raise
        self._write(call=call, ended=True)

    def _write(self, **line: Any) -> None:
        os.write(self._file, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def read(path: Path) -> list[Creation]:
    """All creations in the order in which they began; none without a journal."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    calls: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            # The process was killed while it wrote, and so before it did what the line was to say.
            break
        try:
            entry = orjson.loads(line)
            calls.setdefault(entry["call"], {}).update(entry)
        except (ValueError, KeyError) as error:
            raise FleetstreamError(f"{path}, line {number}: not a line of the provider's journal") from error
    return [Creation(seen["urn"], seen.get("id"), seen.get("ended", False)) for seen in calls.values()]
