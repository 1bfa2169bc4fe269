"""Finds or installs uv and makes the virtual environment with it: standard library only, it runs before all else.

`python3.11 envs/toolchain/bootstrap.py` is the first half of `make install`, `python -m envs.toolchain` the second.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def cache_dir() -> Path:
    """Where fleetstream keeps its tools: `fleetstream` below $XDG_CACHE_HOME or ~/.cache."""
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG Base Directory Specification: a relative path is to be ignored.
    base = configured if configured.is_absolute() else Path.home() / ".cache"
    return base / "fleetstream"


def pinned_uv() -> tuple[int, ...]:
    """The version of uv that pyproject.toml asks for: the one that made the lock file."""
    pin = re.search(r'"uv==([\d.]+)"', (PROJECT / "pyproject.toml").read_text("utf-8"))
    if pin is None:
        sys.exit("error: pyproject.toml pins no version of uv (a dependency of the form uv==X.Y.Z)")
    return _numbers(pin[1])


def suits(version: tuple[int, ...], pinned: tuple[int, ...]) -> bool:
    """Whether a uv may be used instead of the pinned one: of the same minor version, and not older."""
    return version[:2] == pinned[:2] and version >= pinned


def find_or_install_uv() -> Path:
    """A suitable uv from PATH, or the pinned one in the cache, put there by pip when it is missing."""
    pinned = pinned_uv()
    on_path = shutil.which("uv")
    if on_path is not None and suits(_version(Path(on_path)), pinned):
        return Path(on_path)
    wanted = ".".join(str(part) for part in pinned)
    folder = cache_dir() / f"uv-{wanted}"
    with _locked("uv", f"uv {wanted}"):
        if _version(folder / "bin" / "uv") != pinned:
            print(f"uv {wanted} ...", flush=True)
            _install_uv(wanted, folder)
    return folder / "bin" / "uv"


def _install_uv(version: str, folder: Path) -> None:
    partial = cache_dir() / ".partial-uv"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    tools = partial / "pip"
    if subprocess.run([sys.executable, "-m", "venv", tools], capture_output=True, check=False).returncode != 0:
        sys.exit(
            f"error: {sys.executable} cannot make virtual environments: install its venv module (on Debian and "
            f"Ubuntu the package python3-venv), or put uv {version} on PATH, then `make install` again"
        )
    pip = [tools / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    target = partial / "uv"
    if subprocess.run([*pip, "--target", target, f"uv=={version}"], check=False).returncode != 0:
        sys.exit(
            f"error: pip could not install uv {version}: check that the Python package index can be reached from "
            f"here, or put uv {version} on PATH, then `make install` again"
        )
    target.rename(folder)
    shutil.rmtree(partial)


def make_environment(uv: Path) -> None:
    """Makes .venv exactly what the lock file says. Ends the program when uv cannot."""
    environment = PROJECT / ".venv"
    name = "venv-" + hashlib.sha256(bytes(environment)).hexdigest()[:16]
    with _locked(name, "the virtual environment"):
        # Left by a run that was killed while uv wrote packages: those may be there in part, and uv cannot tell.
        under_way = cache_dir() / "locks" / f"{name}.under-way"
        interrupted = under_way.exists()
        under_way.touch()
        # Compiled here once: where PYTHONDONTWRITEBYTECODE is set, each start of the program would take seconds more.
        command = [uv, "sync", "--locked", "--compile-bytecode", "--python", sys.executable]
        command += ["--reinstall"] if interrupted else []
        code = subprocess.run(
            command, cwd=PROJECT, env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(environment)}, check=False
        ).returncode
        if code != 0:
            sys.exit(
                "error: uv could not make the virtual environment .venv from uv.lock (its message is above): check "
                "the network and the free space, then `make install` again"
            )
        under_way.unlink()


@contextlib.contextmanager
def _locked(name: str, what: str) -> Iterator[None]:
    """One process at a time; the lock of a process that dies is free again."""
    path = cache_dir() / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{what}: another process is making it, waiting for that one", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _version(uv: Path) -> tuple[int, ...]:
    try:
        said = subprocess.run([uv, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ()
    match = re.match(r"uv (\d+\.\d+\.\d+)", said)
    return _numbers(match[1]) if match else ()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def main() -> None:
    """Makes .venv, and installs uv for that when there is no suitable one."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        sys.exit(f"error: fleetstream needs Python 3.11, 3.12 or 3.13; {sys.executable} is {sys.version.split()[0]}")
    try:
        make_environment(find_or_install_uv())
    except OSError as error:
        sys.exit(
            f"error: {error}. The cache {cache_dir()} must be a directory of yours with room in it: "
            "put that right, or set XDG_CACHE_HOME to another one, then `make install` again"
        )
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
