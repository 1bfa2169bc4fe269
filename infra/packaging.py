"""Turns a handler and its locked dependencies into a zip that has the same bytes on every machine and day."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uv
from filelock import FileLock

from infra.errors import InfraError

PYTHON: Final = "3.11"
PLATFORM: Final = "x86_64-manylinux2014"
"""What functions run on; `RUNTIME` and `ARCHITECTURE` are the same in Lambda's words."""
RUNTIME: Final = f"python{PYTHON}"
ARCHITECTURE: Final = "x86_64"

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = "services"
"""The package that handlers and all they import of this project live in."""

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can carry."""
_SCRATCH: Final = ".making-"
_FILE_MODE: Final = 0o100644 << 16
# What installers write about themselves and the machine, and what only a command line needs.
_MACHINE_FILES: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json")
_ELF_MACHINE_X86_64: Final = 62
_TAG: Final = re.compile(r"^Tag: (?P<python>\S+)-(?P<abi>\S+)-(?P<platform>\S+)$", re.MULTILINE)


class PackagingError(InfraError):
    """A function that cannot be packaged: the message names the file, wheel or command and the remedy."""


@dataclass(frozen=True)
class Artifact:
    """A packaged function."""

    path: Path
    sha256: str
    """Of the file, in hex."""


def package(name: str, handler: str, group: str, *, root: Path = ROOT, build: Path | None = None) -> Artifact:
    """Packages a handler such as ``services.x.handler.handle`` with the dependencies of a group in pyproject.toml.

    An artifact that exists for the same sources and the same lock is used again. Raises `PackagingError`.
    """
    folder = (build or Path(os.environ.get("FLEETSTREAM_BUILD_DIR") or root / "build")) / "functions"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Two programs at once, such as a preview and a test: the second finds what the first made.
        with FileLock(folder / ".lock"):
            _sweep(folder)
            dependencies = _dependencies(folder, root, group)
            entries = {**_files(dependencies), **{str(file): root / file for file in sources(handler, root)}}
            digest = hashlib.sha256()
            for entry, file in sorted(entries.items()):
                digest.update(f"{entry}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
            target = folder / f"{name}-{digest.hexdigest()[:20]}.zip"
            if not target.exists():
                _zip(entries, target)
    except OSError as error:
        raise PackagingError(
            f"function {name}: cannot write its artifact below {folder}: {error.strerror or error}. It must be a "
            "folder that you can write to, on a disk with space left"
        ) from error
    return Artifact(target, hashlib.sha256(target.read_bytes()).hexdigest())


def _sweep(folder: Path) -> None:
    """Takes away what a run that was cut off left behind; under the lock nobody else is at it."""
    for scratch in folder.glob(f"{_SCRATCH}*"):
        if scratch.is_dir():
            shutil.rmtree(scratch)
        else:
            scratch.unlink()


def sources(handler: str, root: Path = ROOT) -> list[Path]:
    """The files of `SOURCES` that a handler needs, relative to the root: itself and what it imports, transitively."""
    module, _, function = handler.rpartition(".")
    found: dict[str, Path] = {}
    pending = [module]
    while pending:
        current = pending.pop()
        if current in found:
            continue
        file = _module_file(current, root)
        if file is None:
            raise PackagingError(f"handler {handler}: there is no module {current} in {root}")
        found[current] = file
        # Importing a module runs every package around it.
        if parent := current.rpartition(".")[0]:
            pending.append(parent)
        pending += _imports(current, root / file, root)
    body = ast.parse((root / found[module]).read_bytes()).body
    if function not in {node.name for node in body if isinstance(node, ast.FunctionDef)}:
        raise PackagingError(f"handler {handler}: {found[module]} defines no {function}")
    return sorted(found.values())


def _module_file(module: str, root: Path) -> Path | None:
    path = Path(*module.split("."))
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if (root / candidate).is_file():
            return candidate
    return None


def _imports(module: str, file: Path, root: Path) -> Iterator[str]:
    """The modules of `SOURCES` that a file imports, wherever in it the import stands."""
    package_name = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_bytes(), filename=str(file))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package_name.split(".")[: len(package_name.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            # "from package import name": the name may be a module of its own.
            names = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if (name == SOURCES or name.startswith(f"{SOURCES}.")) and _module_file(name, root):
                yield name


def _dependencies(folder: Path, root: Path, group: str) -> Path:
    """The installed dependencies of a group, from the lock file; the folder is named by what was locked."""
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
    key = hashlib.sha256(f"{PYTHON} {PLATFORM}\n{requirements}".encode()).hexdigest()[:20]
    target = folder / f"dependencies-{key}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=folder, prefix=_SCRATCH) as scratch:
        installed = Path(scratch) / "site"
        installed.mkdir()
        if requirements.strip():
            listing = Path(scratch) / "requirements.txt"
            listing.write_text(requirements)
            _uv(
                root,
                *("pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
                *("--python-platform", PLATFORM, "--python-version", PYTHON),
                *("--target", str(installed), "--requirements", str(listing)),
            )
        check_platform(installed)
        installed.rename(target)
    return target


def _uv(root: Path, *arguments: str) -> str:
    ran = subprocess.run([uv.find_uv_bin(), *arguments], cwd=root, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise PackagingError(f"`uv {' '.join(arguments)}` failed in {root}:\n{ran.stderr.strip()}")
    return ran.stdout


def check_platform(installed: Path) -> None:
    """Raises `PackagingError` that names every wheel and library there that the deployed Python could not load."""
    misfits = []
    for wheel in sorted(installed.glob("*.dist-info/WHEEL")):
        tags = _TAG.findall(wheel.read_text())
        if not any(_fits(*tag) for tag in tags):
            shown = ", ".join("-".join(tag) for tag in tags)
            misfits.append(f"{wheel.parent.name.removesuffix('.dist-info')} ({shown})")
    misfits += [
        f"{library.relative_to(installed)} (not an x86-64 library)"
        for library in sorted(installed.rglob("*.so*"))
        if library.is_file() and not _is_x86_64(library)
    ]
    if misfits:
        raise PackagingError(
            f"not for Python {PYTHON} on {PLATFORM}: {'; '.join(misfits)}. Lock a version with such a wheel"
        )


def _fits(python: str, abi: str, platform: str) -> bool:
    """Whether a wheel's tag (PyPA, "Platform compatibility tags") suits the deployed Python."""
    on_platform = platform == "any" or re.fullmatch(r"(manylinux\w*|linux)_x86_64", platform) is not None
    ours = f"cp{PYTHON.replace('.', '')}"
    if abi == "abi3":
        version = re.fullmatch(r"cp3(\d+)", python)
        return on_platform and version is not None and int(version[1]) <= int(PYTHON.split(".")[1])
    return on_platform and (python == "py3" or python == ours) and abi in ("none", ours)


def _is_x86_64(library: Path) -> bool:
    with library.open("rb") as file:
        header = file.read(20)
    # ELF: magic, then 64-bit (2) and little endian (1), and the machine at offset 18.
    return header[:6] == b"\x7fELF\x02\x01" and int.from_bytes(header[18:20], "little") == _ELF_MACHINE_X86_64


def _files(installed: Path) -> dict[str, Path]:
    """What of an installation goes into an artifact, by its name there."""
    chosen = {}
    for file in installed.rglob("*"):
        parts = file.relative_to(installed).parts
        left_out = (
            not file.is_file()
            or "__pycache__" in parts
            or parts[0] in ("bin", ".lock")
            or (parts[0].endswith(".dist-info") and parts[-1] in _MACHINE_FILES)
        )
        if not left_out:
            chosen["/".join(parts)] = file
    return chosen


def _zip(entries: dict[str, Path], target: Path) -> None:
    """Entries in order, with one time and mode. Stored, because zlib's builds differ in the bytes they make."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=_SCRATCH, delete=False) as scratch:
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
