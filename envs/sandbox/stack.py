"""The processes that stand in for AWS: started in order, ended in reverse, put right after a crash."""

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
import filelock
import yaml
from botocore.exceptions import BotoCoreError, ClientError

from envs import project, toolchain
from envs.engine import Engine
from envs.errors import FleetstreamError, UsageError
from envs.sandbox import account, broker, processes
from envs.sandbox.aws.inventory import inventory
from envs.sandbox.aws.session import emulated_session
from envs.sandbox.provider import journal

_ROLES: Final = ("aws", "provider", "agent", "fabric")
"""What a sandbox always runs, in the order of its start; the agent starts the rest, as deployed."""

EMPTY_PASSPHRASE: Final = {"PULUMI_CONFIG_PASSPHRASE": ""}
"""An emulated stack keeps nothing that is worth a secret; its state is encrypted all the same."""


@dataclass(frozen=True)
class Sandbox:
    """One emulated account with one environment in it. It exists while its state directory exists."""

    name: str
    environment: str

    @property
    def state_dir(self) -> Path:
        """Everything a sandbox keeps: account, logs, Kafka's data, the engine's state."""
        return project.build_path() / "sandboxes" / self.name

    @property
    def exists(self) -> bool:
        """Whether it was started and not taken down since."""
        return (self.state_dir / "account.json").exists()

    @property
    def stack_file(self) -> Path:
        """The emulated stack's own copy of the settings: the tracked file is never written."""
        return self.state_dir / "stacks" / f"Pulumi.{self.environment}.yaml"

    def missing(self) -> list[str]:
        """The roles whose process should run and does not."""
        recorded = {record.role for record in processes.records(self.state_dir)}
        return [role for role in sorted({*_ROLES, *recorded}) if not processes.alive(self.state_dir, role)]

    def variables(self) -> dict[str, str]:
        """With these, plain `pulumi`, `aws` and Kafka tools use this sandbox."""
        return {
            **toolchain.environment(toolchain.find(), acquire_plugins=False),
            **account.environment(self.state_dir),
            **EMPTY_PASSPHRASE,
            "PULUMI_BACKEND_URL": f"file://{self.state_dir / 'pulumi'}",
            "PULUMI_HOME": str(self.state_dir / "pulumi" / "home"),
            "PULUMI_DEBUG_PROVIDERS": f"aws:{self._provider_port()}",
        }

    def session(self) -> boto3.Session:
        """AWS clients for this sandbox, whatever this process's own variables say."""
        return emulated_session(account.load(self.state_dir))

    def engine(self) -> Engine:
        """The engine on this sandbox's stack."""
        drop_broken_attributes(self.state_dir / "pulumi")
        return Engine(toolchain.find().pulumi, self.environment, self.variables(), self.stack_file)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One command at a time changes a sandbox. Raises `FleetstreamError` when another one is at it."""
        project.build_dir()
        path = self.state_dir.parent / f".{self.name}.lock"
        path.parent.mkdir(exist_ok=True)
        lock = filelock.FileLock(path)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise FleetstreamError(
                f"another command is at work on sandbox {self.name}: let it end, or use another --name"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def start(self, aws_port: int | None = None, kafka_port: int | None = None) -> None:
        """Starts what does not run yet; does nothing for a sandbox that runs whole.

        Raises `FleetstreamError` when a part of it has died, because then only `recover` knows what is lost.
        """
        if self.exists and processes.records(self.state_dir):
            if missing := self.missing():
                raise FleetstreamError(
                    f"sandbox {self.name} is damaged, these parts ended: {', '.join(missing)}. "
                    f"`fleetstream recover{self.flags}` puts it right, `fleetstream down{self.flags}` takes it away"
                )
            self._init_stack()
            return
        if not self.exists:
            self._create(aws_port, kafka_port)
        self._start_processes()
        self._init_stack()

    def _create(self, aws_port: int | None, kafka_port: int | None) -> None:
        self.state_dir.mkdir(exist_ok=True)
        try:
            account.create(self.state_dir, project.region(self.environment), aws_port, kafka_port)
        except BaseException:
            shutil.rmtree(self.state_dir)
            raise

    def restart(self) -> list[str]:
        """Starts every part that has ended, and returns which. The account of an ended `aws` process begins empty."""
        dead = [record.role for record in processes.records(self.state_dir) if record.process() is None]
        for role in dead:
            processes.stop(self.state_dir, role)
        absent = [role for role in _ROLES if not processes.alive(self.state_dir, role)]
        self._start_processes()
        self._init_stack()
        if broker.ROLE in dead and "aws" not in absent:
            # The agent starts it, since its cluster is still deployed, and nothing can be done to topics before that.
            port = account.load(self.state_dir).kafka_port
            processes.wait_until(lambda: account.is_open(port), "the broker's start", 240, self.state_dir, "agent")
        return sorted({*dead, *absent})

    def stop(self) -> None:
        """Ends every process, in reverse order and then by mark, and deletes the state directory."""
        # The agent first: it would start again what ends. The others need nobody to end in good order.
        processes.stop(self.state_dir, "agent")
        left = processes.records(self.state_dir)
        processes.end([process for record in left if (process := record.process()) is not None])
        processes.end(processes.strays(self.state_dir))
        shutil.rmtree(self.state_dir, ignore_errors=False)

    def leftovers(self) -> list[str]:
        """What the emulated account still holds. Raises `FleetstreamError` when it does not answer."""
        try:
            return inventory(self.session())
        except (BotoCoreError, ClientError) as error:
            raise FleetstreamError(f"the emulated account does not tell what it holds: {error}") from error

    @property
    def flags(self) -> str:
        """What a command must be given to work on this sandbox, with a leading space; empty for the usual one."""
        environment = "" if self.environment == project.SANDBOX else f" --env {self.environment} --emulated"
        return environment + ("" if self.name == self.environment else f" --name {self.name}")

    def _provider_port(self) -> int:
        path = self.state_dir / "provider.port"
        if not path.exists():
            raise FleetstreamError(f"sandbox {self.name} does not run: `fleetstream up{self.flags}` starts it")
        return int(path.read_text())

    def _start_processes(self) -> None:
        values = account.load(self.state_dir)
        variables = account.environment(self.state_dir)
        port_file = self.state_dir / "provider.port"
        arguments = {
            "aws": ("envs.sandbox.aws", "--port", str(values.aws_port)),
            "provider": ("envs.sandbox.provider", "--port-file", str(port_file)),
            "agent": ("envs.sandbox.agent",),
            "fabric": ("envs.sandbox.fabric",),
        }
        ready = {
            "aws": lambda: account.is_open(values.aws_port),
            "provider": port_file.exists,
            "agent": lambda: True,
            "fabric": lambda: True,
        }
        absent = [role for role in _ROLES if not processes.alive(self.state_dir, role)]
        if "aws" in absent:
            # Nothing that was made before is there any more.
            (self.state_dir / journal.FILE).unlink(missing_ok=True)
        if "provider" in absent:
            port_file.unlink(missing_ok=True)
        for role in absent:
            module, *rest = arguments[role]
            argv = [sys.executable, "-m", module, "--state-dir", str(self.state_dir), *rest]
            processes.spawn(self.state_dir, role, argv, env=variables, cwd=project.ROOT)
        for role in absent:
            processes.wait_until(ready[role], f"sandbox process {role}", 60, self.state_dir, role)

    def _init_stack(self) -> None:
        """Brings the stack's copy of the settings up to date, and makes the stack in the private backend once.

        That happens in a folder of its own, because the engine writes the stack's salt into the file it finds there.
        """
        folder = self.stack_file.parent
        known = yaml.safe_load(self.stack_file.read_text()) if self.stack_file.exists() else {}
        settings = _emulated(project.stack_file(self.environment))
        if "encryptionsalt" in known:
            settings["encryptionsalt"] = known["encryptionsalt"]
        folder.mkdir(parents=True, exist_ok=True)
        scratch = self.stack_file.with_suffix(".partial")
        scratch.write_text(yaml.safe_dump(settings, sort_keys=False))
        scratch.replace(self.stack_file)
        if "encryptionsalt" not in known:
            (self.state_dir / "pulumi" / "home").mkdir(parents=True, exist_ok=True)
            (folder / "Pulumi.yaml").write_text(yaml.safe_dump({"name": project.NAME, "runtime": "python"}))
            engine = Engine(toolchain.find().pulumi, self.environment, self.variables())
            engine.call("stack", "select", self.environment, "--create", cwd=folder)


def existing() -> list[Sandbox]:
    """The sandboxes that exist on this machine's checkout, by name."""
    found = []
    for path in sorted((project.build_path() / "sandboxes").glob("*/account.json")):
        for stack in (path.parent / "stacks").glob("Pulumi.*.yaml"):
            found.append(Sandbox(path.parent.name, stack.name.removeprefix("Pulumi.").removesuffix(".yaml")))
    return found


def sandbox(environment: str, name: str | None) -> Sandbox:
    """The sandbox of this name, by default the environment's. Raises `UsageError` when it holds another one."""
    chosen = Sandbox(name or environment, environment)
    if not chosen.name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"--name {chosen.name!r}: use letters, digits, '-' and '_' only")
    for other in existing():
        if other.name == chosen.name and other.environment != environment:
            raise UsageError(
                f"sandbox {chosen.name} holds the environment {other.environment}: choose another --name, "
                f"or take it down with `fleetstream down{other.flags}`"
            )
    return chosen


def drop_broken_attributes(backend: Path) -> None:
    """Takes away what an engine that was killed while it wrote left of a file's attributes.

    The state itself is replaced whole; its attributes are written in place beside it, and half of them hide a whole
    state ("failed to load checkpoint: EOF"). Without any the state is read all the same (gocloud.dev, fileblob).
    """
    for path in backend.rglob("*.attrs"):
        try:
            json.loads(path.read_bytes())
        except FileNotFoundError:
            continue
        except ValueError:
            path.unlink(missing_ok=True)


def _emulated(tracked: Path) -> dict[str, Any]:
    """The tracked settings with the emulated account's number: the program then accepts no other account."""
    content: dict[str, Any] = yaml.safe_load(tracked.read_text()) or {}
    settings = content.setdefault("config", {}).setdefault(f"{project.NAME}:settings", {})
    settings["account"] = account.ACCOUNT_ID
    return content
