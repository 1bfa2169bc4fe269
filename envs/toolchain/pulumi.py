"""Pulumi's engine and its Python language host: the machine's, the official installer's, or built from Go modules."""

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import urllib3

from envs.toolchain import go, store, versions
from envs.toolchain.bootstrap import cache_dir
from envs.toolchain.errors import NO_ROOM, ToolchainError
from envs.toolchain.go import Program, Workplace
from envs.toolchain.installer import Installer
from envs.toolchain.progress import Step
from envs.toolchain.search import Located, Search, on_path
from envs.toolchain.store import Item

INSTALLER_URL: Final = "https://get.pulumi.com/install.sh"
REMEDY: Final = (
    f"`make install` brings one, or install Pulumi {versions.text(versions.PULUMI_MINIMUM)} or later with its Python "
    "language host and put it on PATH"
)

HOST: Final = "pulumi-language-python"
HOST_SCRIPT: Final = "pulumi-language-python-exec"

_ENGINE: Final = Program(
    name="pulumi",
    module="github.com/pulumi/pulumi/pkg/v3",
    version=versions.PULUMI,
    package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    linker_flags=f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{versions.PULUMI}",
)
_LANGUAGE_HOST: Final = Program(
    name=HOST,
    module="github.com/pulumi/pulumi/sdk/v3",
    version=versions.PULUMI_LANGUAGE_HOST,
    package=f"github.com/pulumi/pulumi/sdk/v3/python/cmd/{HOST}",
    linker_flags=(
        f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{versions.PULUMI_LANGUAGE_HOST}"
    ),
)

_ITEM: Final = Item("pulumi", versions.PULUMI, recipe=f"{HOST} {versions.PULUMI_LANGUAGE_HOST}")
_BUILD_ROOM: Final = 5 * 1024**3
"""Bytes that a build from Go modules needs for a while (at its end 3.9 GB were measured)."""


_ANSWER_WITHIN: Final = 60.0
"""Seconds; a Pulumi that takes longer to say its version is broken."""


def search() -> Search:
    """Looks on PATH, then in the cache; each is asked for its version and must have its language host."""
    passed_over: list[str] = []
    for candidate in _candidates():
        answer = _ask(candidate)
        if isinstance(answer, Located):
            return Search(answer, tuple(passed_over))
        passed_over.append(f"{candidate}: {answer}")
    return Search(None, tuple(passed_over))


def ensure(installer: Installer) -> Path:
    """A `pulumi` executable that can be used, installed when there is none. Raises `ToolchainError`."""
    seen = search()
    for line in seen.passed_over:
        installer.report.line(f"Pulumi: passed over {line}")
    if seen.found is not None:
        return seen.found.path
    folder = installer.install(
        _ITEM, f"Pulumi {versions.PULUMI}", lambda scratch, step: _fill(installer, scratch, step)
    )
    return folder / "pulumi"


def _candidates() -> Iterator[Path]:
    yield from on_path("pulumi")
    if (folder := store.installed(_ITEM)) is not None:
        yield folder / "pulumi"


def _ask(pulumi: Path) -> Located | str:
    """The executable with its version, or why it cannot be used."""
    version = _version(pulumi)
    if isinstance(version, str):
        return version
    if version < versions.PULUMI_MINIMUM:
        return f"version {versions.text(version)}, where {versions.text(versions.PULUMI_MINIMUM)} is needed"
    if language_host(pulumi) is None:
        return f"its Python language host, {HOST}, is neither beside it nor on PATH"
    return Located(pulumi, versions.text(version))


@functools.cache
def _version(pulumi: Path) -> tuple[int, ...] | str:
    """The version that the executable says it is, or why it says none."""
    try:
        result = subprocess.run(
            [pulumi, "version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_WITHIN,
            check=False,
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it does not run: {error}"
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", result.stdout.strip())
    if result.returncode != 0 or match is None:
        return (
            f"it does not run: {(result.stderr or result.stdout).strip()[-200:] or f'exit code {result.returncode}'}"
        )
    return tuple(int(part) for part in match.groups())


def language_host(pulumi: Path) -> Path | None:
    """The Python language host that this engine would start: beside the executable, or on PATH."""
    for folder in (pulumi.parent, pulumi.resolve().parent):
        if os.access(folder / HOST, os.X_OK):
            return folder / HOST
    found = shutil.which(HOST)
    return Path(found) if found else None


def _fill(installer: Installer, scratch: Path, step: Step) -> None:
    if not _from_official_installer(installer, scratch, step):
        _from_go_modules(installer, scratch, step)
    answer = _ask(scratch / "pulumi")
    if not isinstance(answer, Located):
        raise ToolchainError(f"the Pulumi that was installed cannot be used: {answer}. {REMEDY}.")


def _from_official_installer(installer: Installer, scratch: Path, step: Step) -> bool:
    """Whether the official installer could be had and did its work; if not, one line says why."""
    step.update("the official installer")
    try:
        script = urllib3.request(
            "GET", INSTALLER_URL, timeout=urllib3.Timeout(10), retries=urllib3.Retry(0, redirect=3)
        )
        if script.status != 200:
            raise ToolchainError(f"answer {script.status}")
        path = scratch / "install.sh"
        path.write_bytes(script.data)
        installer.run(
            "the official installer",
            ["sh", path, "--no-edit-path", "--install-root", scratch / "official", "--version", versions.PULUMI],
            remedy="",
            on_line=step.update,
        )
        path.unlink()
    except (urllib3.exceptions.HTTPError, ToolchainError) as error:
        installer.check()
        # urllib3 puts the connection before the reason.
        reason = str(getattr(error, "reason", error)).split("): ", 1)[-1].splitlines()[0]
        installer.report.line(f"Pulumi: {INSTALLER_URL} cannot be used ({reason}); building from Go modules instead")
        for leftover in scratch.iterdir():
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        return False
    for executable in sorted((scratch / "official" / "bin").iterdir()):
        executable.rename(scratch / executable.name)
    shutil.rmtree(scratch / "official")
    return True


def _from_go_modules(installer: Installer, scratch: Path, step: Step) -> None:
    workplace = Workplace(cache_dir() / "build-pulumi")
    workplace.path.mkdir(exist_ok=True)
    # What a compiler was writing when it was interrupted; the caches beside it are whole at any time.
    shutil.rmtree(workplace.scratch, ignore_errors=True)
    workplace.scratch.mkdir()
    free = shutil.disk_usage(workplace.path).free
    if free < _BUILD_ROOM and not workplace.modules.exists():
        raise ToolchainError(
            f"building Pulumi needs {_BUILD_ROOM >> 30} GB for a while, and {workplace.path} has "
            f"{free / 1024**3:.1f} GB left: {NO_ROOM}, then `make install` again"
        )
    compiler = go.find_or_fetch(installer, workplace, step)
    # The small one first: what is wrong with the network shows early.
    for program in (_LANGUAGE_HOST, _ENGINE):
        go.build(installer, compiler, program, workplace, scratch / program.name, step)
    source = workplace.modules / f"{_LANGUAGE_HOST.module}@v{_LANGUAGE_HOST.version}"
    script = source / "python" / "cmd" / HOST_SCRIPT
    shutil.copyfile(script, scratch / HOST_SCRIPT)
    (scratch / HOST_SCRIPT).chmod(0o755)
    step.update("removing the build's caches")
    shutil.rmtree(workplace.path)
