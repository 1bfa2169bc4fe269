"""What a look for a tool on this machine gives."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Located:
    """A tool that can be used."""

    path: Path
    version: str


@dataclass(frozen=True)
class Search:
    """The first tool that can be used, if any, and why those before it cannot."""

    found: Located | None
    passed_over: tuple[str, ...] = ()


def on_path(name: str) -> Iterator[Path]:
    """Every executable of this name on PATH, in its order, each file once."""
    seen: set[Path] = set()
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        candidate = Path(folder) / name
        if folder and os.access(candidate, os.X_OK) and candidate.is_file():
            real = candidate.resolve()
            if real not in seen:
                seen.add(real)
                yield candidate
