"""A machine made of shell scripts: tools on PATH that say what a test wants them to say, and a cache of its own."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from envs.toolchain import pulumi, versions

PROJECT = Path(__file__).resolve().parents[3]


@dataclass
class Machine:
    """PATH, cache and HOME of a pretended machine; this process and children started with `run` live on it."""

    root: Path

    @property
    def bin(self) -> Path:
        """The one directory on PATH."""
        return self.root / "bin"

    @property
    def cache(self) -> Path:
        """Where fleetstream's tools go."""
        return self.root / "cache" / "fleetstream"

    @property
    def events(self) -> Path:
        """A file to which scripts append what they did."""
        return self.root / "events"

    def script(self, name: str, body: str, folder: Path | None = None) -> Path:
        """Puts an executable shell script on PATH, or into `folder`."""
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    def java(self, version: str, home: Path | None = None, otherwise: str = "exit 1") -> Path:
        """A `java` of this version; `otherwise` is what it does when it is asked for anything else."""
        home = home or self.root / f"jdk-{version}"
        release = version.split(".")[1 if version.startswith("1.") else 0]
        body = f"""
if [ "$1" = -XshowSettings:properties ]; then
    echo "Property settings:" >&2
    echo "    java.home = {home}" >&2
    echo "    java.specification.version = {"1." if version.startswith("1.") else ""}{release}" >&2
    echo "    java.version = {version}" >&2
    exit 0
fi
{otherwise}"""
        self.script("java", body, home / "bin")
        return home / "bin" / "java"

    def link(self, target: Path, name: str) -> None:
        """Puts an existing executable on PATH."""
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).symlink_to(target)

    def pulumi(self, version: str, folder: Path | None = None, host: bool = True) -> Path:
        """A `pulumi` of this version, with its Python language host beside it or without."""
        path = self.script("pulumi", f"echo v{version}", folder)
        if host:
            self.script(pulumi.HOST, "exit 1", folder)
        return path

    def environment(self) -> dict[str, str]:
        """The variables of a process on this machine."""
        return {
            "PATH": str(self.bin),
            "HOME": str(self.root),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "EVENTS": str(self.events),
        }

    def happened(self) -> list[str]:
        """What the scripts said they did."""
        return self.events.read_text().splitlines() if self.events.exists() else []

    def start(self, *code: str) -> subprocess.Popen[str]:
        """Starts Python with these arguments on this machine."""
        return subprocess.Popen(
            [sys.executable, *code],
            cwd=PROJECT,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


class Lines:
    """A report that keeps its lines."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.details: list[str] = []

    def line(self, text: str) -> None:
        self.kept.append(text)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator["Lines"]:
        self.kept.append(title)
        yield self

    def update(self, detail: str, done: int | None = None, total: int | None = None) -> None:
        self.details.append(detail)


# Makes the jars that the Ivy file asks for where -retrieve says.
IVY = r"""
echo "ivy" >> "$EVENTS"
while [ $# -gt 0 ]; do
    case "$1" in
        -ivy) ivy=$2 ;;
        -retrieve) target=${2%%/\[*} ;;
    esac
    shift
done
while read -r tag org name rev rest; do
    case "$tag" in "<dependency")
        name=${name#name=\"}; rev=${rev#rev=\"}
        echo jar > "$target/${name%\"}-${rev%\"}.jar"
        echo "	[SUCCESSFUL ] $name"
    esac
done < "$ivy"
if [ -n "$IVY_WAITS" ]; then touch "$IVY_WAITS"; sleep 60; fi
"""

GO = f"""
case "$1" in
    version) echo "go version go1.99.0 linux/amd64" ;;
    list)
        echo "go: downloading example.com/module v1.0.0"
        echo "fmt"
        script="$GOMODCACHE/github.com/pulumi/pulumi/sdk/v3@v{versions.PULUMI_LANGUAGE_HOST}/python/cmd/"
        mkdir -p "$script"
        echo "python" > "$script/{pulumi.HOST_SCRIPT}" ;;
    build)
        while [ "$1" != -o ]; do shift; done
        echo "build ${{2##*/}}" >> "$EVENTS"
        if [ -n "$GO_WAITS" ]; then touch "$GO_WAITS"; sleep 60; fi
        echo "fmt"
        printf '#!/bin/sh\\necho v{versions.PULUMI}\\n' > "$2"
        chmod +x "$2" ;;
esac
"""
