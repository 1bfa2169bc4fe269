"""Turns a handler and its locked dependencies into a zip that has the same bytes on every machine and day."""

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock

from artifacts import errors, sources, wheels
from artifacts.runtime import LAMBDA, Runtime
from infra.errors import InfraError

RUNTIME: Final = f"python{LAMBDA.python}"
ARCHITECTURE: Final = "x86_64"
"""What functions run on, in Lambda's words."""

ROOT: Final = Path(__file__).resolve().parent.parent

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can carry."""
_FILE_MODE: Final = 0o100644 << 16


class PackagingError(InfraError):
    """A function that cannot be packaged: the message names the file, wheel or command and the remedy."""


@dataclass(frozen=True)
class Artifact:
    """A packaged function."""

    path: Path
    sha256: str
    """Of the file, in hex."""


def package(
    name: str,
    handler: str,
    group: str,
    *,
    by_name: Sequence[str] = (),
    runtime: Runtime = LAMBDA,
    root: Path = ROOT,
    build: Path | None = None,
) -> Artifact:
    """Packages a handler such as ``services.x.handler.handle`` with the dependencies of a group in pyproject.toml.

    `by_name` are modules that it starts without importing them.
    An artifact that exists for the same sources and the same lock is used again. Raises `PackagingError`.
    """
    folder = (build or Path(os.environ.get("FLEETSTREAM_BUILD_DIR") or root / "build")) / "functions"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Two programs at once, such as a preview and a test: the second finds what the first made.
        with FileLock(folder / ".lock"):
            wheels.sweep(folder)
            dependencies = wheels.installed(folder, root, group, runtime)
            own = set(sources.of_handler(handler, root)).union(*(sources.of_module(one, root) for one in by_name))
            entries = {**dependencies, **{str(file): root / file for file in own}}
            digest = hashlib.sha256()
            for entry, file in sorted(entries.items()):
                digest.update(f"{entry}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
            target = folder / f"{name}-{digest.hexdigest()[:20]}.zip"
            if not target.exists():
                _zip(entries, target)
    except errors.PackagingError as error:
        raise PackagingError(f"function {name}: {error}") from error
    except OSError as error:
        raise PackagingError(
            f"function {name}: cannot write its artifact below {folder}: {error.strerror or error}. It must be a "
            "folder that you can write to, on a disk with space left"
        ) from error
    return Artifact(target, hashlib.sha256(target.read_bytes()).hexdigest())


def _zip(entries: dict[str, Path], target: Path) -> None:
    """Entries in order, with one time and mode. Stored, because zlib's builds differ in the bytes they make."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=wheels.SCRATCH, delete=False) as scratch:
        path = Path(scratch.name)
        try:
            with zipfile.ZipFile(scratch, "w", zipfile.ZIP_STORED) as archive:
                for name, file in sorted(entries.items()):
                    info = zipfile.ZipInfo(name, _EPOCH)
                    info.create_system = 3  # Unix, also when made elsewhere
                    info.external_attr = _FILE_MODE
                    archive.writestr(info, file.read_bytes())
            shutil.copymode(__file__, path)
            path.replace(target)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
