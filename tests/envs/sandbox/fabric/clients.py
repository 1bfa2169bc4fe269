"""Microsoft's own clients, in an environment of their own that is made when a test first needs it."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uv
from rich.console import Console

from envs.toolchain.installer import Installer
from envs.toolchain.progress import PlainReport, Step
from envs.toolchain.store import Item

_HERE = Path(__file__).parent / "microsoft"
_REQUIREMENTS = _HERE / "requirements.txt"


def environment() -> Path:
    """The directory of the environment: in the per-user cache, like the tools."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    item = Item("fabric-clients", python, _REQUIREMENTS.read_text() + sys.base_prefix)
    installer = Installer(PlainReport(Console(stderr=True)))

    def fill(scratch: Path, step: Step) -> None:
        base = Path(sys.base_prefix) / "bin" / f"python{python}"
        remedy = "Check that the Python package index can be reached from here."
        tool = uv.find_uv_bin()
        installer.run(
            "making an environment",
            [tool, "venv", "--no-project", "--relocatable", "--allow-existing", "--python", base, scratch],
            remedy=remedy,
        )
        installer.run(
            "installing Microsoft's clients",
            [
                *(
                    tool,
                    "pip",
                    "install",
                    "--require-hashes",
                    "--link-mode=copy",
                    "--python",
                    scratch / "bin" / "python",
                ),
                *("--requirement", _REQUIREMENTS),
            ],
            remedy=remedy,
            on_line=step.update,
        )

    return installer.install(item, "Service Fabric's clients", fill)


class Clients:
    """`sfctl` and `azure-servicefabric` in one process, because each start costs a second and a half."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def sfctl(self, *arguments: str) -> Any:
        """The JSON that a command prints, None when it prints nothing; fails the test when the command does."""
        told = self._ask({"sfctl": [*arguments]})
        assert told["code"] == 0, told
        return json.loads(told["out"]) if told["out"].strip() else None

    def sfctl_fails(self, *arguments: str) -> str:
        """What a command says when it fails."""
        told = self._ask({"sfctl": [*arguments]})
        assert told["code"] != 0, told
        return told["out"] + told["err"]

    def call(self, name: str, *, model: tuple[str, dict[str, Any]] | None = None, **arguments: Any) -> Any:
        """What a method of the client answers."""
        told = self._call(name, model, arguments)
        assert "refused" not in told, told
        return told["answer"]

    def refused(self, name: str, *, model: tuple[str, dict[str, Any]] | None = None, **arguments: Any) -> str:
        """The code with which a call is refused."""
        return self._call(name, model, arguments)["refused"]

    def _call(self, name: str, model: tuple[str, dict[str, Any]] | None, arguments: dict[str, Any]) -> Any:
        return self._ask({"call": name, "arguments": arguments | ({"model": model} if model else {})})

    def _ask(self, line: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(line), file=self._process.stdin, flush=True)
        told = self._process.stdout.readline()
        assert told, "the clients' process ended"
        return json.loads(told)


@contextlib.contextmanager
def connected(home: Path, endpoint: str, authority: Path | None = None) -> Iterator[Clients]:
    """Clients of one gateway; `home` takes what sfctl remembers.

    The authority is given by a variable: sfctl's own options --ca and --no-verify change nothing, because msrest asks
    for verification with each request, and requests takes that before what the session says.
    """
    python = environment() / "bin" / "python"
    with subprocess.Popen(
        [python, "-I", _HERE / "driver.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "REQUESTS_CA_BUNDLE": str(authority or "")},
    ) as process:
        assert process.stdin is not None
        print(endpoint, file=process.stdin, flush=True)
        yield Clients(process)
