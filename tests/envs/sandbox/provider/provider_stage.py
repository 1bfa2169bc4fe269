"""What the provider's tests share: its settings, and a sandbox of processes for tests with the real engine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from pulumi.runtime.proto import provider_pb2_grpc

from envs import toolchain
from envs.sandbox import account

REGION = "eu-central-1"
SETTINGS = {
    "region": REGION,
    "allowedAccountIds": json.dumps([account.ACCOUNT_ID]),
    "defaultTags": json.dumps({"tags": {"Env": "test"}}),
}
Connect = Callable[[dict[str, Any] | None], provider_pb2_grpc.ResourceProviderStub]


@dataclass(frozen=True)
class Sandbox:
    """An emulated AWS and a provider on it, each in its own process."""

    state_dir: Path
    provider_port: int

    def client(self, service: str) -> Any:
        """A boto3 client of the emulated account."""
        told = account.load(self.state_dir)
        keys = {"aws_access_key_id": told.access_key, "aws_secret_access_key": told.secret_key}
        return boto3.Session(region_name=REGION, **keys).client(service, endpoint_url=told.endpoint)  # type: ignore[call-overload]


class Stack:
    """A stack of the real engine on the sandbox. Its programs are functions of `provider_programs`."""

    def __init__(self, sandbox: Sandbox, root: Path) -> None:
        self.root = root
        self._pulumi = toolchain.find().pulumi
        here = Path(__file__).parent
        self._environment = {
            "PATH": os.pathsep.join((str(self._pulumi.parent), f"{sys.prefix}/bin", os.environ["PATH"])),
            "PYTHONPATH": os.pathsep.join((str(here), str(here.parents[3]))),
            "PULUMI_BACKEND_URL": root.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_DEBUG_PROVIDERS": f"aws:{sandbox.provider_port}",
            "PYTHONWARNINGS": "ignore",
        }
        runtime = {"name": "python", "options": {"virtualenv": sys.prefix}}
        (root / "Pulumi.yaml").write_text(json.dumps({"name": "trial", "runtime": runtime}))
        (root / "__main__.py").write_text(_MAIN)
        self._run("stack", "init", "dev")

    def up(self, program: str, **arguments: Any) -> None:
        """Brings a program up."""
        self._run("up", "--yes", "--skip-preview", program=(program, arguments))

    def fails(self, verb: str, program: str, **arguments: Any) -> str:
        """What the engine says when it refuses a program, on one line."""
        flags = ("--yes", "--skip-preview") if verb == "up" else ()
        return " ".join(self._run(verb, *flags, program=(program, arguments), succeeds=False).split())

    def preview(self, program: str, **arguments: Any) -> str:
        """What the engine would do."""
        return self._run("preview", "--diff", program=(program, arguments))

    def unchanged(self, program: str, **arguments: Any) -> None:
        """Fails when a preview or a refresh would change anything."""
        self._run("preview", "--expect-no-changes", "--diff", program=(program, arguments))
        self.still()

    def still(self) -> None:
        """Fails when a refresh would change anything."""
        self._run("refresh", "--preview-only", "--expect-no-changes", "--diff")

    def drifted(self) -> str:
        """What a refresh would change; fails when that is nothing."""
        return self._run("refresh", "--preview-only", "--expect-no-changes", "--diff", succeeds=False)

    def refresh(self) -> None:
        """Takes what AWS has into the state."""
        self._run("refresh", "--yes", "--skip-preview")

    def destroy(self) -> None:
        """Destroys everything."""
        self._run("destroy", "--yes", "--skip-preview")
        assert not [name for name in self.resources() if name != "trial-dev"]

    def resources(self) -> dict[str, dict[str, Any]]:
        """The resources in the engine's state, by name."""
        return {each["urn"].rpartition("::")[2]: each for each in self._deployed()}

    def _deployed(self) -> list[dict[str, Any]]:
        return json.loads(self.state())["checkpoint"]["latest"].get("resources") or []

    def ids(self) -> dict[str, str]:
        """The ids of the resources, by name."""
        return {name: each["id"] for name, each in self.resources().items() if each.get("id")}

    def identities(self) -> dict[str, str]:
        """The ids of the resources by URN, for programs in which several kinds share a name."""
        return {each["urn"]: each["id"] for each in self._deployed() if each.get("id")}

    def state(self) -> str:
        """The state as it is on disk, secrets encrypted."""
        return (self.root / ".pulumi" / "stacks" / "trial" / "dev.json").read_text()

    def _run(
        self, verb: str, *flags: str, program: tuple[str, dict[str, Any]] | None = None, succeeds: bool = True
    ) -> str:
        stack = () if verb == "stack" else ("--stack", "dev", "--color", "never")
        done = subprocess.run(
            [str(self._pulumi), verb, *flags, *stack, "--non-interactive"],
            cwd=self.root,
            env={**os.environ, **self._environment, "TRIAL": json.dumps(program)},
            capture_output=True,
            text=True,
        )
        output = f"{done.stdout}\n{done.stderr}"
        assert (done.returncode == 0) == succeeds, f"pulumi {verb}: exit code {done.returncode}\n{output}"
        return output


_MAIN = """
import json, os
import provider_programs

name, arguments = json.loads(os.environ["TRIAL"])
getattr(provider_programs, name)(**arguments)
"""


def start(log: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, *arguments], stdout=output, stderr=subprocess.STDOUT, env={**os.environ}
        )


def wait(ready: Callable[[], bool], processes: list[subprocess.Popen[bytes]], state_dir: Path) -> None:
    deadline = time.monotonic() + 90
    while not ready():
        logs = "\n".join(log.read_text() for log in state_dir.glob("*.log"))
        assert all(process.poll() is None for process in processes), f"a process ended:\n{logs}"
        assert time.monotonic() < deadline, f"not ready:\n{logs}"
        time.sleep(0.1)
