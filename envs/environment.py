"""One environment, wherever it lives: in AWS, or emulated on this machine."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import boto3

from envs import project, toolchain
from envs.engine import Engine
from envs.errors import UsageError
from envs.sandbox import broker
from envs.sandbox.fabric import microsoft
from envs.sandbox.stack import Sandbox, sandbox


@dataclass(frozen=True)
class Environment:
    """A stack and the account it lives in: a sandbox's, or the one that the user's AWS credentials open."""

    name: str
    sandbox: Sandbox | None

    def engine(self) -> Engine:
        """The engine on this environment's stack."""
        if self.sandbox is not None:
            return self.sandbox.engine()
        found = toolchain.find()
        return Engine(found.pulumi, self.name, toolchain.environment(found))

    def variables(self) -> dict[str, str]:
        """What plain `pulumi`, `aws` and Kafka tools need to use this environment."""
        return self.sandbox.variables() if self.sandbox else toolchain.environment(toolchain.find())

    def session(self) -> boto3.Session:
        """AWS clients for this environment."""
        return self.sandbox.session() if self.sandbox else boto3.Session()

    def brokers_on_time(self) -> AbstractContextManager[str]:
        """For the time of a load: brokers that share the machine run before everything else. Says what that got."""
        return broker.on_time(self.sandbox.state_dir) if self.sandbox else nullcontext("machines of their own")

    def packages(self, version: str) -> Path | None:
        """A folder with Microsoft's files of Service Fabric where nobody has to fetch them; None elsewhere."""
        return microsoft.offer(self.sandbox.state_dir / "microsoft", version) if self.sandbox else None

    def enter(self) -> None:
        """Makes this process, and all that it starts, work on this environment."""
        os.environ.update(self.variables())


def select(name: str, emulated: bool = False, sandbox_name: str | None = None) -> Environment:
    """The environment that the flags name. Raises `UsageError` for one that does not exist."""
    project.stack_file(name)
    if name == project.SANDBOX or emulated:
        return Environment(name, sandbox(name, sandbox_name))
    if sandbox_name is not None:
        raise UsageError(f"--name is for sandboxes: add --emulated to emulate {name}, or leave --name out")
    return Environment(name, None)
