"""librdkafka's own benchmark, `rdkafka_performance`: built from the sources that its Rust package carries."""

import hashlib
import os
import shutil
import tarfile
from pathlib import Path
from typing import Final

import urllib3

from envs.toolchain import ToolchainError, versions
from envs.toolchain.installer import Installer
from envs.toolchain.progress import Step
from envs.toolchain.store import Item

_URL: Final = f"https://static.crates.io/crates/rdkafka-sys/rdkafka-sys-{versions.LIBRDKAFKA_CRATE}.crate"
_PROGRAM: Final = "rdkafka_performance"
_ITEM: Final = Item("rdkafka-performance", versions.LIBRDKAFKA_CRATE.replace("+", "-"), recipe="plain text only")
_CONFIGURE: Final = ("--disable-ssl", "--disable-gssapi", "--disable-curl", "--disable-zstd", "--disable-lz4-ext")
_REMEDY: Final = "It needs a C and a C++ compiler and make; without it the benchmark runs all the same."


def ensure(installer: Installer) -> Path:
    """The program, built when it is not there. Raises `ToolchainError` with the reason why it cannot be had."""
    for tool in ("cc", "c++", "make"):
        if shutil.which(tool) is None:
            raise ToolchainError(f"{_PROGRAM}: no {tool} on PATH. {_REMEDY}")
    folder = installer.install(
        _ITEM,
        f"librdkafka's benchmark {versions.LIBRDKAFKA_CRATE}",
        lambda scratch, step: _build(installer, scratch, step),
    )
    return folder / _PROGRAM


def _build(installer: Installer, scratch: Path, step: Step) -> None:
    step.update("fetching")
    try:
        answer = urllib3.request("GET", _URL, timeout=60, retries=3)
    except urllib3.exceptions.HTTPError as error:
        raise ToolchainError(f"{_URL} cannot be fetched: {error}") from error
    found = hashlib.sha256(answer.data).hexdigest()
    if answer.status != 200 or found != versions.LIBRDKAFKA_CRATE_SHA256:
        raise ToolchainError(f"{_URL}: HTTP {answer.status}, SHA-256 {found}, not what is pinned")
    archive = scratch / "crate.tar.gz"
    archive.write_bytes(answer.data)
    with tarfile.open(archive) as packed:
        packed.extractall(scratch / "crate", filter="data")
    source = next((scratch / "crate").iterdir()) / "librdkafka"
    step.update("compiling")
    # Packages lose the right to execute of some of its scripts.
    installer.run("librdkafka's configure", ["bash", "./configure", *_CONFIGURE], remedy=_REMEDY, cwd=source)
    jobs = f"-j{os.cpu_count() or 1}"
    installer.run("librdkafka's build", ["make", "-C", "src", jobs, "librdkafka.a"], remedy=_REMEDY, cwd=source)
    made = scratch / _PROGRAM
    libraries = ("src/librdkafka.a", "-lpthread", "-lm", "-ldl", "-lrt", "-lz")
    compiler = ["cc", "-O2", "-Isrc", f"examples/{_PROGRAM}.c", "-o", made]
    installer.run("the build of librdkafka's benchmark", [*compiler, *libraries], remedy=_REMEDY, cwd=source)
    shutil.rmtree(scratch / "crate")
    archive.unlink()
