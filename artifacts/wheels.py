"""The dependencies of a group in pyproject.toml as files, from the lock, for the Python that they will run on."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import uv

from artifacts.errors import PackagingError
from artifacts.runtime import Runtime

SCRATCH: Final = ".making-"
"""How what is not finished begins its name."""

# What installers write about themselves and the machine, and what only a command line needs.
_MACHINE_FILES: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json")


def installed(folder: Path, root: Path, group: str, runtime: Runtime) -> dict[str, Path]:
    """The files of a group's dependencies by their place on the path; they are kept below `folder`.

    One process at a time may do so: the caller holds the folder's lock. Raises `PackagingError`.
    """
    return _files(_install(folder, root, group, runtime))


def sweep(folder: Path) -> None:
    """Takes away what a run that was cut off left behind; under the lock nobody else is at it."""
    for scratch in folder.glob(f"{SCRATCH}*"):
        if scratch.is_dir():
            shutil.rmtree(scratch)
        else:
            scratch.unlink()


def _install(folder: Path, root: Path, group: str, runtime: Runtime) -> Path:
    """The folder is named by what was locked."""
    requirements = _uv(
        root,
        "export",
        "--only-group",
        group,
        "--no-emit-project",
        "--frozen",
        "--no-header",
        "--no-annotate",
        "--quiet",
    )
    key = hashlib.sha256(f"{runtime.python} {runtime.platform}\n{requirements}".encode()).hexdigest()[:20]
    target = folder / f"dependencies-{key}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=folder, prefix=SCRATCH) as scratch:
        site = Path(scratch) / "site"
        site.mkdir()
        if requirements.strip():
            listing = Path(scratch) / "requirements.txt"
            listing.write_text(requirements)
            _uv(
                root,
                *("pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
                *("--python-platform", runtime.platform, "--python-version", runtime.python),
                *("--target", str(site), "--requirements", str(listing)),
            )
        runtime.check(site)
        site.rename(target)
    return target


def _uv(root: Path, *arguments: str) -> str:
    ran = subprocess.run([uv.find_uv_bin(), *arguments], cwd=root, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise PackagingError(f"`uv {' '.join(arguments)}` failed in {root}:\n{ran.stderr.strip()}")
    return ran.stdout


def _files(site: Path) -> dict[str, Path]:
    chosen = {}
    for file in site.rglob("*"):
        parts = file.relative_to(site).parts
        left_out = (
            not file.is_file()
            or "__pycache__" in parts
            or parts[0] in ("bin", "Scripts", ".lock")
            or (parts[0].endswith(".dist-info") and parts[-1] in _MACHINE_FILES)
        )
        if not left_out:
            chosen["/".join(parts)] = file
    return chosen
