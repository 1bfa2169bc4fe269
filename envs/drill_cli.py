"""The verb `drill`: one line of help, one function in `envs.drills`."""

from typing import Annotated

import typer

from envs import project
from envs.options import Emulated, EnvironmentName, JsonPath, SandboxName, selected
from envs.progress import console


def drill(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A drill, `all` of them, or `list` to see them.")],
    short: Annotated[
        bool, typer.Option("--short", help="Fewer workers and shorter faults; sweeps come when they are needed.")
    ] = False,
    rate: Annotated[float, typer.Option(min=0, help="Messages/s while workers leave (scale-in); 0: none.")] = 500,
    fault_seconds: Annotated[
        float | None, typer.Option(min=1, help="How long the gateway is in trouble; 60, or 20 with --short.")
    ] = None,
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    sandbox_name: SandboxName = None,
    json: JsonPath = None,
) -> None:
    """Makes something go wrong on purpose, watches the cluster meanwhile, and judges it. Exits 1 when one fails.

    Example: fleetstream drill scale-in --json scale-in.json
    """
    from envs.drills import catalogue, running
    from envs.drills.field import Settings

    if name == "list":
        console.print(catalogue.table())
        return
    seconds = fault_seconds or (20 if short else 60)
    settings = Settings(short=short, rate=rate, fault_seconds=seconds)
    raise typer.Exit(running.command(selected(env, emulated, sandbox_name), catalogue.chosen(name), settings, json))
