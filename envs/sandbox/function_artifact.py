"""What a worker process is made of: an unzipped artifact, the runtime's own packages and a Python 3.11."""

import base64
import hashlib
import importlib.util
import io
import os
import platform
import secrets
import shutil
import subprocess
import sys
import threading
import zipfile
from functools import cache
from pathlib import Path
from typing import Final

from envs.errors import FleetstreamError

RUNTIME: Final = "python3.11"
"""The one managed runtime that is executed here."""

_PACKAGES: Final = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")


class FunctionError(FleetstreamError):
    """A function that cannot be executed here; the message says why and what to do."""


class Artifacts:
    """The directories below one sandbox's ``functions``. Safe to use from several threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()

    def unzipped(self, function_name: str, code_zip: bytes, code_sha256: str) -> Path:
        """The directory with the files of an artifact, unzipped once a digest (base64, as the API shows it).

        Raises `FunctionError` for an artifact that is not what the digest says, or not a zip file.
        """
        target = self._directory / "code" / code_sha256.replace("/", "_").replace("+", "-").rstrip("=")
        with self._lock:
            if target.is_dir():
                return target
            digest = base64.b64encode(hashlib.sha256(code_zip).digest()).decode()
            if digest != code_sha256:
                raise FunctionError(
                    f"function {function_name}: its code has the digest {digest}, {code_sha256} was deployed"
                )
            scratch = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
            try:
                with zipfile.ZipFile(io.BytesIO(code_zip)) as archive:
                    archive.extractall(scratch)
            except (zipfile.BadZipFile, OSError) as error:
                shutil.rmtree(scratch, ignore_errors=True)
                raise FunctionError(f"function {function_name}: its artifact cannot be unzipped: {error}") from error
            scratch.replace(target)
        return target

    def runtime_packages(self) -> Path:
        """A directory with links to boto3 and what it needs, and to nothing else that is installed here."""
        target = self._directory / "runtime"
        with self._lock:
            target.mkdir(parents=True, exist_ok=True)
            for name in _PACKAGES:
                spec = importlib.util.find_spec(name)
                if spec is None or spec.origin is None:
                    raise FunctionError(f"{name} is not installed beside this program: run `make install`")
                source = Path(spec.origin)
                source = source.parent if source.name == "__init__.py" else source
                link = target / source.name
                if link.is_symlink() and link.readlink() != source:
                    link.unlink()
                if not link.is_symlink():
                    link.symlink_to(source)
        return target


@cache
def find_interpreter() -> str:
    """A Python 3.11 for x86_64: this one, else the first that works on PATH. Raises `FunctionError` without one."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise FunctionError(f"functions are built for x86_64, this machine is {platform.machine()}")
    if sys.version_info[:2] == (3, 11):
        return sys.executable
    for directory in os.get_exec_path():
        candidate = Path(directory) / RUNTIME
        if candidate.is_file() and os.access(candidate, os.X_OK):
            probe = [str(candidate), "-I", "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 11))"]
            if subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0:
                return str(candidate)
    raise FunctionError(
        f"functions run on {RUNTIME}, which this machine lacks (this is {platform.python_version()}): "
        "install Python 3.11 so that `python3.11` is on PATH, e.g. with `uv python install 3.11`"
    )
