"""One Linux machine: a folder that is its root, the scripts that run in it, and what they find on it.

Scripts run as the user of this sandbox and see this machine's own files; only what they name relative to the root is
the emulated machine's. What Amazon Linux has and this machine may lack (`stand_ins`) comes first on their path.
"""

import base64
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3

from envs.sandbox.aws.sts_client import assume
from envs.sandbox.fabric.desk import Command
from envs.sandbox.fabric.errors import MachineError
from envs.sandbox.function_artifact import find_interpreter
from envs.sandbox.linux import stand_ins
from envs.sandbox.processes import MARK

log = logging.getLogger("host")

_SERVICE: Final = "ec2.amazonaws.com"
_PASSED_ON: Final = (
    *("AWS_ENDPOINT_URL", "AWS_EC2_METADATA_DISABLED", "FLEETSTREAM_KAFKA_CA", MARK),
    *("LANG", "LC_ALL", "TZ"),
)
_LOOK_S: Final = 0.2
_ASK_S: Final = 1.0
"""Between two questions whether a command was cancelled."""
_BOOT_S: Final = 600.0
_MOST_OUTPUT: Final = 24_000
"""Characters that Run Command keeps (API Reference, GetCommandInvocation)."""


@dataclass(frozen=True)
class Instance:
    """What EC2 says of a machine. `user_data` is the script itself; `role` the ARN of its profile's role."""

    id: str
    role: str
    user_data: str


@dataclass(frozen=True)
class Ended:
    """How a script ended: a result of Run Command, its exit code and its output."""

    status: str
    code: int
    output: str
    complaint: str


def folder(state_dir: Path, identifier: str) -> Path:
    """A machine's disk: it goes with the machine."""
    return state_dir / "hosts" / identifier


def instance(session: boto3.Session, identifier: str) -> Instance:
    """Asks the emulated account for an instance. Raises `MachineError` for one without a role."""
    ec2: Any = session.client("ec2")
    (reservation,) = ec2.describe_instances(InstanceIds=[identifier])["Reservations"]
    profile = reservation["Instances"][0].get("IamInstanceProfile", {}).get("Arn", "").rpartition("/")[2]
    if not profile:
        raise MachineError(f"{identifier} has no instance profile: nothing on it can use AWS")
    (role,) = session.client("iam").get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
    told = ec2.describe_instance_attribute(InstanceId=identifier, Attribute="userData")
    encoded = told.get("UserData", {}).get("Value", "")
    return Instance(identifier, role["Arn"], base64.b64decode(encoded).decode())


class Machine:
    """One machine that is switched on; `stop` switches it off, also in the middle of a script."""

    def __init__(self, found: Instance, state_dir: Path, stop: threading.Event) -> None:
        self.instance = found
        self.root = folder(state_dir, found.id)
        self._tools = state_dir / "hosts" / "tools"
        self._stop = stop
        self.root.mkdir(parents=True, exist_ok=True)
        stand_ins.install(self._tools, sys.executable, find_interpreter(), state_dir)

    def boot(self) -> None:
        """Runs the user data, once in the machine's life; a failure is in its log, and the machine goes on."""
        done = self.root / "var" / "lib" / "cloud" / "done"
        if done.exists():
            return
        log_file = self.root / "var" / "log" / "cloud-init-output.log"
        for file in (done, log_file):
            file.parent.mkdir(parents=True, exist_ok=True)
        script = self.root / "var" / "lib" / "cloud" / "user-data"
        script.write_text(self.instance.user_data)
        ended = self._execute(["bash", str(script)], _BOOT_S, lambda: False, {})
        log_file.write_text(ended.output + ended.complaint)
        if ended.code:
            log.error("the user data failed with exit code %d:\n%s", ended.code, ended.complaint[-2000:])
        done.touch()

    def run(self, command: Command, cancelled: Callable[[], bool]) -> Ended:
        """Carries out a command's script, as the SSM agent does: in a shell of its own."""
        script = self.root / "var" / "lib" / "amazon" / "ssm" / command.command_id
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(command.script)
        region = os.environ["AWS_REGION"]
        told = {"AWS_SSM_INSTANCE_ID": self.instance.id, "AWS_SSM_REGION_NAME": region}
        return self._execute(["sh", str(script)], command.timeout_s, cancelled, told)

    def _execute(self, argv: list[str], seconds: float, cancelled: Callable[[], bool], told: dict[str, str]) -> Ended:
        outputs = [self.root / "var" / f"{name}-{time.monotonic_ns()}" for name in ("out", "err")]
        with outputs[0].open("wb") as out, outputs[1].open("wb") as err:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**self._environment(), **told},
                cwd=self.root,
                start_new_session=True,
            )
        try:
            status = self._wait(process, seconds, cancelled)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output, complaint = (path.read_text(errors="replace")[:_MOST_OUTPUT] for path in outputs)
        for path in outputs:
            path.unlink()
        code = process.returncode
        return Ended(status or ("Failed" if code else "Success"), code, output, complaint)

    def _wait(self, process: subprocess.Popen[bytes], seconds: float, cancelled: Callable[[], bool]) -> str:
        """Why the script has to be ended; empty when it ended by itself. Its descendants end with it, as theirs do
        with the agent."""
        deadline, ask_at = time.monotonic() + seconds, time.monotonic() + _ASK_S
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_S)
                return ""
            now = time.monotonic()
            if self._stop.is_set():
                return "Cancelled"
            if now > deadline:
                return "TimedOut"
            if now >= ask_at:
                ask_at = now + _ASK_S
                if cancelled():
                    return "Cancelled"

    def _environment(self) -> dict[str, str]:
        """A machine's own variables; its role's credentials stand for what the metadata service would give."""
        given = assume(self.instance.role, _SERVICE)
        return {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            "HOME": str(self.root),
            "PATH": os.pathsep.join((str(self.root / "usr/local/bin"), str(self._tools), "/usr/bin", "/bin")),
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        }
