"""Compiles the broker's token check and its authorizer, once a version.

A Java runtime has no compiler, so the Eclipse one does it.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from envs.errors import FleetstreamError
from envs.toolchain import Toolchain, cache_dir

SOURCES: Final = Path(__file__).parent / "kafka"
_RELEASE: Final = "17"
"""The oldest Java that Kafka's brokers run on."""
_PATIENCE_S: Final = 180.0


def class_path(toolchain: Toolchain) -> Path:
    """The folder with the compiled classes, in the user's cache; the key is what they were compiled from.

    Raises `FleetstreamError` with the compiler's words when they cannot be compiled.
    """
    text = b"".join(source.read_bytes() for source in _sources())
    content = hashlib.sha256(text + _RELEASE.encode()).hexdigest()[:16]
    target = cache_dir() / f"broker-handler-{content}-kafka-{kafka_version(toolchain)}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        _compile(toolchain, scratch)
        try:
            scratch.rename(target)
        except OSError:
            # Somebody else was as far a moment earlier; theirs is the same.
            if not target.is_dir():
                raise
    finally:
        if scratch.exists():
            shutil.rmtree(scratch)
    return target


def kafka_version(toolchain: Toolchain) -> str:
    """The version of the jars. Raises `FleetstreamError` when there are none."""
    for jar in toolchain.kafka_jars.glob("kafka-clients-*.jar"):
        if found := re.fullmatch(r"kafka-clients-([0-9.]+)\.jar", jar.name):
            return found[1]
    raise FleetstreamError(f"no Kafka in {toolchain.kafka_jars}: `make install` puts it there")


def _compile(toolchain: Toolchain, folder: Path) -> None:
    argv = [
        str(toolchain.java),
        *("-jar", str(toolchain.compiler_jar)),
        *("--release", _RELEASE, "-proc:none", "-d", str(folder)),
        *("-cp", jars_path(toolchain), *map(str, _sources())),
    ]
    try:
        result = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        raise FleetstreamError(f"the broker's classes were not compiled within {_PATIENCE_S:g} s") from error
    if result.returncode != 0:
        raise FleetstreamError(f"the broker's classes do not compile:\n{result.stdout}{result.stderr}")


def _sources() -> list[Path]:
    return sorted(SOURCES.glob("*.java"))


def jars_path(toolchain: Toolchain) -> str:
    """Kafka's jars as a class path. Named one by one: the compiler knows no wildcard."""
    return ":".join(str(jar) for jar in sorted(toolchain.kafka_jars.glob("*.jar")))
