"""The Pythons that what is shipped runs on, and which wheels and libraries they can load."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from artifacts.errors import PackagingError

_TAG: Final = re.compile(r"^Tag: (?P<python>\S+)-(?P<abi>\S+)-(?P<platform>\S+)$", re.MULTILINE)
_LIBRARY: Final = re.compile(r"\.(?:so(?:\.[\w.]+)?|pyd|dll|dylib)$", re.IGNORECASE)
_HEAD: Final = 4096
_ELF_X86_64: Final = 62
_PE_X86_64: Final = 0x8664


def _is_elf(head: bytes) -> bool:
    # ELF: magic, then 64-bit (2) and little endian (1), and the machine at offset 18.
    return head[:6] == b"\x7fELF\x02\x01" and int.from_bytes(head[18:20], "little") == _ELF_X86_64


def _is_pe(head: bytes) -> bool:
    # PE ("PE Format", Microsoft): the offset of its signature at 0x3C, the machine behind that.
    start = int.from_bytes(head[0x3C:0x40], "little")
    signature, machine = head[start : start + 4], head[start + 4 : start + 6]
    return head[:2] == b"MZ" and signature == b"PE\0\0" and int.from_bytes(machine, "little") == _PE_X86_64


@dataclass(frozen=True)
class Runtime:
    """One version of Python on one platform."""

    python: str
    platform: str
    """As uv names it (`--python-platform`)."""
    tags: re.Pattern[str]
    """The platform tags that suit it (PyPA, "Platform compatibility tags")."""
    libraries: str
    """What its libraries are called in messages."""
    loads: Callable[[bytes], bool]
    """Whether it could load a library that begins like this."""

    def check(self, installed: Path) -> None:
        """Raises `PackagingError` that names every wheel and library there that this Python could not load."""
        misfits = []
        for wheel in sorted(installed.glob("*.dist-info/WHEEL")):
            tags = _TAG.findall(wheel.read_text())
            if not any(self._fits(*tag) for tag in tags):
                shown = ", ".join("-".join(tag) for tag in tags)
                misfits.append(f"{wheel.parent.name.removesuffix('.dist-info')} ({shown})")
        misfits += [
            f"{library.relative_to(installed)} (not an {self.libraries} library)"
            for library in sorted(installed.rglob("*"))
            if library.is_file() and _LIBRARY.search(library.name) and not self.loads(_head(library))
        ]
        if misfits:
            raise PackagingError(
                f"not for Python {self.python} on {self.platform}: {'; '.join(misfits)}. "
                "Lock a version with such a wheel"
            )

    def _fits(self, python: str, abi: str, platform: str) -> bool:
        on_platform = platform == "any" or self.tags.fullmatch(platform) is not None
        ours = f"cp{self.python.replace('.', '')}"
        if abi == "abi3":
            version = re.fullmatch(r"cp3(\d+)", python)
            return on_platform and version is not None and int(version[1]) <= int(self.python.split(".")[1])
        return on_platform and (python == "py3" or python == ours) and abi in ("none", ours)


def _head(library: Path) -> bytes:
    with library.open("rb") as file:
        return file.read(_HEAD)


LAMBDA: Final = Runtime("3.11", "x86_64-manylinux2014", re.compile(r"(manylinux\w*|linux)_x86_64"), "x86-64", _is_elf)
"""What functions run on."""
LINUX: Final = Runtime("3.11", "x86_64-manylinux_2_34", LAMBDA.tags, LAMBDA.libraries, _is_elf)
"""What hosts with Amazon Linux 2023 run (its glibc is 2.34)."""
WINDOWS: Final = Runtime("3.11", "x86_64-pc-windows-msvc", re.compile("win_amd64"), "x86-64 Windows", _is_pe)
"""What a guest executable carries with it."""
