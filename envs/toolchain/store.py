"""The per-user cache: one directory a tool and version, there completely or not at all."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from envs.toolchain.bootstrap import cache_dir

_MANIFEST = "installed.json"


@dataclass(frozen=True)
class Item:
    """Something that is installed. `recipe` is whatever its content depends on beyond the version."""

    name: str
    version: str
    recipe: str = ""

    @property
    def path(self) -> Path:
        """Where it stands once it is installed."""
        return cache_dir() / f"{self.name}-{self.version}"

    @property
    def lock_path(self) -> Path:
        """The lock for everybody who installs this tool, whatever its version."""
        return cache_dir() / "locks" / f"{self.name}.lock"

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def installed(item: Item) -> Path | None:
    """The item's directory when all its files are there with their sizes, else None."""
    try:
        manifest = json.loads((item.path / _MANIFEST).read_bytes())
        if manifest["recipe"] != _digest(item):
            return None
        whole = all((item.path / name).stat().st_size == size for name, size in manifest["files"].items())
    except (OSError, ValueError, KeyError):
        return None
    return item.path if whole else None


def scratch_path(item: Item) -> Path:
    """Where the item is put together. Only the holder of its lock may touch it."""
    return cache_dir() / f".partial-{item.name}"


def commit(item: Item, scratch: Path) -> int:
    """Makes a finished `scratch` directory the installed item, in one rename. Returns its size in bytes."""
    files = {
        str(path.relative_to(scratch)): path.stat().st_size for path in sorted(scratch.rglob("*")) if path.is_file()
    }
    (scratch / _MANIFEST).write_text(json.dumps({"recipe": _digest(item), "files": files}, indent=1))
    if item.path.exists():
        # A damaged or differently made one stands there: moved aside first, since a rename needs a free name.
        aside = cache_dir() / f".partial-{item.name}-replaced"
        shutil.rmtree(aside, ignore_errors=True)
        item.path.rename(aside)
        scratch.rename(item.path)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        scratch.rename(item.path)
    return sum(files.values())


def clear_leftovers(item: Item) -> None:
    """Removes what an interrupted installation of this tool left. Only for the holder of its lock."""
    for path in (scratch_path(item), cache_dir() / f".partial-{item.name}-replaced"):
        if path.exists():
            shutil.rmtree(path)


def _digest(item: Item) -> str:
    return hashlib.sha256(item.recipe.encode()).hexdigest()
