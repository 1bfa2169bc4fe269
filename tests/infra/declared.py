"""The program under test: declared as a whole without an engine, or a small one under the real engine."""

import asyncio
import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.stack import run_pulumi_func

from envs import toolchain
from infra import __main__ as program
from infra import environment, settings
from infra.differences import stack_config

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "123456789012"


@dataclass
class Declared:
    """One resource as the program asked for it: properties in the schema's spelling."""

    type: str
    name: str
    properties: dict[str, Any]
    provider: str
    depends_on: set[str] = field(default_factory=set)


class Recorder(pulumi.runtime.Mocks):
    """Stands in for AWS: every resource gets an ARN and what else the program reads back."""

    def __init__(self) -> None:
        self.declared: list[Declared] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict]:
        if args.typ.startswith("aws:"):
            self.declared.append(Declared(args.typ, args.name, copy.deepcopy(args.inputs), args.provider or ""))
        outputs = {
            "arn": f"arn:aws:x:eu-central-1:{ACCOUNT}:{args.name}",
            "name": args.name,
            "bucket": args.name,
            "keyId": args.name,
            "url": f"https://sqs/{args.name}",
            "latestRevision": 1,
            "prefixListId": "pl-1",
            "dnsName": f"{args.name}.elb.amazonaws.com",
            **args.inputs,
        }
        if args.typ == "aws:msk/cluster:Cluster":
            outputs["arn"] = f"arn:aws:kafka:eu-central-1:{ACCOUNT}:cluster/{args.name}/abc-1"
        return f"{args.name}-id", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict, list[tuple[str, str]] | None]:
        assert args.token == "aws:index/getCallerIdentity:getCallerIdentity"
        return {"accountId": ACCOUNT, "arn": f"arn:aws:sts::{ACCOUNT}:user/x", "userId": "x", "id": "x"}, []


# Pulumi's runtime is made for one program a process: it keeps a failed program's outputs, which live on its loop.
_LOOP = asyncio.new_event_loop()


def run_mocked(declare: Callable[[], None], stack: str = "test") -> Recorder:
    """Runs a program's body without an engine."""
    recorder = Recorder()

    async def body() -> None:
        pulumi.runtime.set_mocks(recorder, project="fleetstream", stack=stack, preview=False)
        await run_pulumi_func(declare)

    _LOOP.run_until_complete(body())
    return recorder


def known(value: Any) -> Any:
    """What an output of a mocked program came to."""

    async def body() -> Any:
        return await pulumi.Output.from_input(value).future()

    return _LOOP.run_until_complete(body())


@dataclass
class Declaration:
    """The whole program of one environment."""

    resources: list[Declared]
    outputs: dict[str, Any]

    def one(self, type_: str, name: str | None = None) -> Declared:
        found = [each for each in self.resources if each.type.endswith(f":{type_}") and name in (None, each.name)]
        assert len(found) == 1, [each.name for each in found]
        return found[0]

    def all(self, type_: str) -> list[Declared]:
        return [each for each in self.resources if each.type.endswith(f":{type_}")]


def declare(name: str, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Declaration:
    """Declares a tracked environment's whole program, with some of its settings changed."""
    outputs: dict[str, Any] = {}
    config = stack_config(name)
    values = json.loads(config[settings.KEY])
    change(values)

    def body() -> None:
        chosen, region = settings.load({**config, settings.KEY: json.dumps(values)})
        outputs.update(program.declare(environment.enter(chosen, region)))

    recorder = run_mocked(body, stack=name)
    return Declaration(recorder.declared, outputs)


@dataclass
class Pulumi:
    """The real engine with a state of its own, for a small program in a folder."""

    folder: Path

    def program(self, text: str) -> None:
        """Writes the program and makes its stack."""
        (self.folder / "Pulumi.yaml").write_text("name: guarded\nruntime: python\n")
        (self.folder / "__main__.py").write_text(text)
        made = self("stack", "init", "test")
        assert made.returncode == 0, made.stderr

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        tools = toolchain.find()
        return subprocess.run(
            [str(tools.pulumi), *arguments, "--non-interactive"],
            cwd=self.folder,
            env={
                **os.environ,
                **toolchain.environment(tools, acquire_plugins=False),
                "VIRTUAL_ENV": sys.prefix,
                "PULUMI_CONFIG_PASSPHRASE": "",
                "PULUMI_BACKEND_URL": f"file://{self.folder / 'state'}",
                "PULUMI_HOME": str(self.folder / "home"),
            },
            capture_output=True,
            text=True,
        )
