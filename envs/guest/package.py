"""Makes application packages: Python for Windows, locked wheels for it, this project's sources, and the manifests.

The same input gives the same bytes everywhere, and its version is made of them: what is deployed changes its version
exactly when its content has changed.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from artifacts import sources, wheels
from artifacts.errors import PackagingError
from artifacts.runtime import WINDOWS
from envs.errors import FleetstreamError, UsageError
from envs.guest import manifests, python
from envs.guest.manifests import CODE, Guest
from envs.progress import console
from envs.project import ROOT, build_path

MODULE: Final = "services.consumer.service"
CONSUMER: Final = Guest(
    name="Consumer",
    program=python.PROGRAM,
    # Nothing is written beside the sources: Service Fabric watches over what it has put there.
    arguments=f"-B -m {MODULE}",
    node_type="Worker",
    settings={
        "Bootstrap": "FLEETSTREAM_BOOTSTRAP",
        "Region": "FLEETSTREAM_REGION",
        "Topic": "FLEETSTREAM_TOPIC",
        "Group": "FLEETSTREAM_GROUP",
    },
)
GROUP: Final = "guest-consumer"
"""The group in pyproject.toml with what the package carries."""

_MANIFEST: Final = "ApplicationManifest.xml"
_EPOCH: Final = 315532800
"""1980, the earliest time a zip can carry: packages are uploaded as zips."""


@dataclass(frozen=True)
class Package:
    """A package in a folder."""

    path: Path
    type: str
    version: str
    files: int
    size: int
    """In bytes."""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {"package": str(self.path), "type": self.type, "version": self.version, "files": self.files}


def consumer(output: Path, version: str | None = None, jar: Path | None = None) -> Package:
    """Writes the consumer's package to a folder, in place of one that was there; `jar` is what `python.fetch` gives.

    Raises `FleetstreamError`.
    """
    if output.exists() and not (output.is_dir() and (not any(output.iterdir()) or (output / _MANIFEST).is_file())):
        raise UsageError(f"{output} holds something else than a package: name a new folder")
    runtime = dict(python.files(jar or python.fetch()))
    try:
        with FileLock(_work_folder() / ".lock"):
            wheels.sweep(_work_folder())
            contents = {f"{CONSUMER.package}/{CODE}/{name}": data for name, data in {**runtime, **_own()}.items()}
            chosen = version or _digest(contents)
            contents |= {name: text.encode() for name, text in manifests.render(CONSUMER, chosen).items()}
            _write(output, contents)
        WINDOWS.check(output / CONSUMER.package / CODE)
    except PackagingError as error:
        raise FleetstreamError(f"the consumer: {error}") from error
    except OSError as error:
        raise FleetstreamError(
            f"cannot write the package to {output}: {error.strerror or error}. It must be a place that you can write "
            "to, on a disk with space left"
        ) from error
    return Package(output, CONSUMER.application_type, chosen, len(contents), sum(map(len, contents.values())))


def show(output: Path, version: str | None) -> Package:
    """Makes the package, and says what and where it is."""
    made = consumer(output, version)
    console.print(
        f"{made.type} {made.version}: {made.files} files, {made.size / 1e6:.0f} MB in {made.path}", soft_wrap=True
    )
    return made


def _own() -> dict[str, bytes]:
    """Dependencies and this project's sources, by their path below the code package's folder."""
    dependencies = wheels.installed(_work_folder(), ROOT, GROUP, WINDOWS)
    own = {str(file): ROOT / file for file in sources.of_module(MODULE, ROOT)}
    placed = {**{f"{python.SITE}/{name}": file for name, file in dependencies.items()}, **own}
    return {name: file.read_bytes() for name, file in placed.items()}


def _work_folder() -> Path:
    folder = build_path() / "guests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _digest(code: Mapping[str, bytes]) -> str:
    """A version made of all that is in the package; the manifests are in it as they are for no version."""
    parts = {**code, **{name: text.encode() for name, text in manifests.render(CONSUMER, "0").items()}}
    digest = hashlib.sha256()
    for name, content in sorted(parts.items()):
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def _write(output: Path, contents: Mapping[str, bytes]) -> None:
    """Beside its place first: a run that is cut off leaves no half package there."""
    scratch = output.with_name(f"{wheels.SCRATCH}{output.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    for name, content in contents.items():
        path = scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (_EPOCH, _EPOCH))
    shutil.rmtree(output, ignore_errors=True)
    scratch.rename(output)
