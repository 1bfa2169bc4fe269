"""The tools beside Python that an environment needs: finds them on this machine, or installs them for this user.

`ensure()` installs what is missing into the per-user cache, `find()` only looks, `examine()` tells what is where.
Nothing is installed system-wide.
"""

import concurrent.futures
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from envs.toolchain import jars, java, pulumi
from envs.toolchain.bootstrap import cache_dir
from envs.toolchain.errors import ToolchainError
from envs.toolchain.findings import Finding, examine
from envs.toolchain.installer import Installer
from envs.toolchain.progress import Report, report_on

__all__ = ["Finding", "Toolchain", "ToolchainError", "cache_dir", "ensure", "environment", "examine", "find"]

_LOOK_S: Final = 0.2
"""How long the main thread waits at a stretch. A signal that comes just before it starts to wait, or that the system
gives to another thread, does not wake it: Python answers only when the main thread runs again."""


@dataclass(frozen=True)
class Toolchain:
    """Tools that are there and were tried."""

    java: Path
    """The `java` executable, in the `bin` of its home directory."""
    kafka_jars: Path
    """A directory: `<it>/*` is a broker's class path."""
    s3a_jars: tuple[Path, ...]
    """What PySpark needs on its class path for s3a:// addresses."""
    compiler_jar: Path
    """ECJ: `java -jar <it> -17 ...` compiles Java where there is no javac."""
    pulumi: Path
    """The `pulumi` executable; its Python language host is beside it or on PATH."""


def ensure(report: Report | None = None) -> Toolchain:
    """Finds everything, and installs what is missing, with progress on `report` (default: on standard output).

    Raises `ToolchainError` that names all that could not be had; what could be is installed then.
    """
    if report is None:
        with report_on(Console()) as own:
            return ensure(own)
    installer = Installer(report)
    return _ensure_rest(installer, java.ensure(installer))


def _ensure_rest(installer: Installer, java_path: Path) -> Toolchain:
    """All that only needs Java, at once: the jars wait for the network while Pulumi keeps the processor busy."""
    tasks: list[Callable[[], Path]] = [
        *(lambda jar_set=jar_set: jar_set.ensure(installer, java_path) for jar_set in jars.ALL),
        lambda: pulumi.ensure(installer),
    ]
    pool = concurrent.futures.ThreadPoolExecutor(len(tasks))
    try:
        futures = [pool.submit(task) for task in tasks]
        while concurrent.futures.wait(futures, _LOOK_S).not_done:
            pass
    except BaseException:
        # Before the threads are waited for: what they wait for has to end first.
        installer.stop()
        raise
    finally:
        pool.shutdown()
    errors = [error for future in futures if (error := future.exception()) is not None]
    unexpected = next((error for error in errors if not isinstance(error, ToolchainError)), None)
    if unexpected is not None:
        raise unexpected
    if errors:
        raise ToolchainError("\n".join(str(error) for error in errors))
    kafka, s3a, compiler, pulumi_path = (future.result() for future in futures)
    return _toolchain(java_path, kafka, s3a, compiler, pulumi_path)


def find() -> Toolchain:
    """Everything as it is installed now; nothing is fetched. Raises `ToolchainError` that names what is missing."""
    java_found, pulumi_found = java.search().found, pulumi.search().found
    folders = {jar_set.title: jar_set.find() for jar_set in jars.ALL}
    missing = [title for title, folder in folders.items() if folder is None]
    missing += [name for name, found in ((java.ACCEPTED, java_found), ("Pulumi", pulumi_found)) if found is None]
    kafka, s3a, compiler = folders.values()
    if java_found is None or pulumi_found is None or kafka is None or s3a is None or compiler is None:
        raise ToolchainError(
            f"not installed: {', '.join(missing)}. Run `make install`; `fleetstream doctor` says what is there"
        )
    return _toolchain(java_found.path, kafka, s3a, compiler, pulumi_found.path)


def environment(toolchain: Toolchain, *, acquire_plugins: bool = True) -> dict[str, str]:
    """The variables with which Pulumi, Spark and Kafka's tools start from this toolchain.

    `acquire_plugins=False` keeps Pulumi from fetching the providers it does not find: right where every provider is
    attached to.
    """
    python_folder = Path(sys.executable).parent
    folders = [str(python_folder), str(toolchain.java.parent), str(toolchain.pulumi.parent)]
    rest = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder not in folders]
    variables = {
        "JAVA_HOME": str(toolchain.java.parent.parent),
        "PATH": os.pathsep.join([*folders, *rest]),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    if not acquire_plugins:
        variables["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    return variables


def _toolchain(java_path: Path, kafka: Path, s3a: Path, compiler: Path, pulumi_path: Path) -> Toolchain:
    return Toolchain(
        java=java_path,
        kafka_jars=kafka,
        s3a_jars=tuple(sorted(s3a.glob("*.jar"))),
        compiler_jar=jars.compiler_jar(compiler),
        pulumi=pulumi_path,
    )
