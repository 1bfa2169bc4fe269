"""Options that several verbs have, and the environment they name."""

from pathlib import Path
from typing import Annotated, Any

import typer

EnvironmentName = Annotated[str, typer.Option("--env", help="Which environment, as in envs/Pulumi.<env>.yaml.")]
Emulated = Annotated[bool, typer.Option("--emulated", help="Emulate the environment here instead of using AWS.")]
SandboxName = Annotated[str | None, typer.Option("--name", help="Name of the sandbox; two names can run at once.")]
JsonPath = Annotated[Path | None, typer.Option("--json", help="Also write the result here, as JSON.")]


def selected(env: str, emulated: bool, name: str | None) -> Any:
    """The environment that the options name."""
    from envs.environment import select

    return select(env, emulated, name)
