"""What is where, for `fleetstream doctor`: every tool, with its version, or with what to do about it."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from envs.toolchain import jars, java, pulumi
from envs.toolchain.bootstrap import cache_dir
from envs.toolchain.errors import NO_ROOM
from envs.toolchain.progress import megabytes
from envs.toolchain.search import Search

_LITTLE_ROOM = 2 * 1024**3
"""Bytes: with less free space a run may not have room for its broker's logs and the archive."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `remedy` is empty when it is in order."""

    name: str
    ok: bool
    where: str
    version: str
    remedy: str
    passed_over: tuple[str, ...] = ()
    """What was found before it and cannot be used, each with the reason."""


def examine() -> list[Finding]:
    """Looks at everything; installs and changes nothing."""
    return [
        Finding("Python", True, sys.prefix, platform.python_version(), ""),
        Finding(
            "PySpark", True, str(metadata.distribution("pyspark").locate_file("pyspark")), _version("pyspark"), ""
        ),
        _tool("Java", java.search(), java.REMEDY),
        *_jar_sets(),
        *_pulumi(),
        _cache(),
    ]


def _tool(name: str, search: Search, remedy: str) -> Finding:
    if search.found is None:
        return Finding(name, False, "", "", remedy, search.passed_over)
    return Finding(name, True, str(search.found.path), search.found.version, "", search.passed_over)


def _jar_sets() -> Iterator[Finding]:
    for jar_set in jars.ALL:
        folder = jar_set.find()
        if folder is None:
            yield Finding(
                jar_set.short_title, False, "", jar_set.version, "`make install` fetches it from Maven Central"
            )
        else:
            yield Finding(jar_set.short_title, True, str(folder), jar_set.version, "")


def _pulumi() -> Iterator[Finding]:
    search = pulumi.search()
    yield _tool("Pulumi", search, pulumi.REMEDY)
    if search.found is not None:
        host = pulumi.language_host(search.found.path)
        yield Finding("Pulumi's Python host", host is not None, str(host or ""), "", "" if host else pulumi.REMEDY)


def _cache() -> Finding:
    folder = cache_dir()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        remedy = f"{existing} cannot be written: make it a directory of yours, or set XDG_CACHE_HOME to one"
        return Finding("Cache", False, str(folder), "", remedy)
    free = shutil.disk_usage(existing).free
    left = f"{megabytes(free)} free"
    return Finding("Cache", free >= _LITTLE_ROOM, str(folder), left, "" if free >= _LITTLE_ROOM else NO_ROOM)


def _version(distribution: str) -> str:
    return metadata.version(distribution)
