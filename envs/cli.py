"""The command table: one verb, one line of help, one function elsewhere."""

import os
import signal
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from envs import project
from envs.cluster_cli import cluster_app
from envs.drill_cli import drill
from envs.errors import FleetstreamError, UsageError
from envs.options import Emulated, EnvironmentName, JsonPath, SandboxName, selected
from envs.package_cli import package_app
from envs.progress import console
from envs.simulate_cli import simulate

app = typer.Typer(
    name=project.NAME,
    help="A telemetry platform on AWS, per environment, with a sandbox that needs no account.",
    epilog="Exit codes: 0 it holds, 1 it failed, 2 wrong use, 3 it works but a service level was missed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
variables_app = typer.Typer(
    help="Environments as such: stacks of one's own, the variables that plain tools need.", no_args_is_help=True
)
app.add_typer(variables_app, name="env")
app.add_typer(cluster_app, name="cluster")
app.add_typer(package_app, name="package")
app.command()(drill)
app.command()(simulate)

ExpectNoChanges = Annotated[bool, typer.Option("--expect-no-changes", help="Fail when anything would change.")]


@app.command()
def run(
    replay: Annotated[
        list[Path] | None,
        typer.Option(
            "--replay", help="Recorded CSV files, several after one flag; without it, telemetry is generated."
        ),
    ] = None,
    more: Annotated[list[Path] | None, typer.Argument(hidden=True)] = None,
    rate: Annotated[float, typer.Option(help="Messages a second, all devices together.")] = 5000,
    seconds: Annotated[float, typer.Option(help="How long to send, in seconds.")] = 30,
    processes: Annotated[int, typer.Option(help="Producing processes.")] = 1,
    devices: Annotated[int, typer.Option(help="Devices to generate, without --replay.")] = 100,
    device_column: Annotated[
        str | None, typer.Option(help="CSV column with the device; else the file's name.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(help="Replay at this multiple of the recorded 1 Hz pace instead of --rate.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all that is random.")] = 1,
    warm_up: Annotated[float, typer.Option(help="Seconds of the same load on the canary topic before.")] = 5,
    workers: Annotated[int, typer.Option(help="Workers of the cluster; three of them leave in the drill.")] = 6,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the sandbox running afterwards.")] = False,
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    name: SandboxName = None,
    json: JsonPath = None,
) -> None:
    """The main job end to end on the sandbox: up, cluster, load, measure, archive, analyze, scale-in drill, report.

    Example: fleetstream run --replay drives/*.csv --rate 5000 --seconds 30
    """
    from envs import load_request
    from envs import run as main_job

    if more and not replay:
        raise UsageError(f"unexpected argument {more[0]}: recorded files come after --replay")
    asked = load_request.checked(
        main_job.Request,
        replay=[*(replay or []), *(more or [])],
        rate=rate,
        seconds=seconds,
        processes=processes,
        devices=devices,
        device_column=device_column,
        speed=speed,
        seed=seed,
        warm_up=warm_up,
        workers=workers,
        keep=keep,
    )
    raise typer.Exit(main_job.run(selected(env, emulated, name), asked, json))


@app.command()
def up(
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    name: SandboxName = None,
    expect_no_changes: ExpectNoChanges = False,
    aws_port: Annotated[int | None, typer.Option(help="Port of the emulated AWS; a free one otherwise.")] = None,
    kafka_port: Annotated[int | None, typer.Option(help="Port of the emulated Kafka; a free one otherwise.")] = None,
) -> None:
    """Brings an environment up, or to its changed settings. Example: fleetstream up --env dev --emulated"""
    from envs import lifecycle

    environment = selected(env, emulated, name)
    lifecycle.start(environment, aws_port, kafka_port)
    lifecycle.up(environment, expect_no_changes)


@app.command()
def preview(
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    name: SandboxName = None,
    expect_no_changes: ExpectNoChanges = False,
    json: JsonPath = None,
) -> None:
    """Shows what `up` would change: what would be lost, the guardrails' verdict, and the cost a month."""
    from envs import lifecycle

    lifecycle.preview(selected(env, emulated, name), expect_no_changes, json)


@app.command()
def refresh(
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    name: SandboxName = None,
    expect_no_changes: ExpectNoChanges = False,
) -> None:
    """Compares the state with the account; with --expect-no-changes it only looks."""
    from envs import lifecycle

    lifecycle.refresh(selected(env, emulated, name), expect_no_changes)


@app.command()
def down(
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    name: SandboxName = None,
    confirm: Annotated[
        str | None, typer.Option(help="The environment's name, where its settings want it said; asked for otherwise.")
    ] = None,
) -> None:
    """Takes an environment away and checks that nothing is left of it."""
    from envs import lifecycle

    environment = selected(env, emulated, name)
    lifecycle.agree_to_down(environment, confirm)
    lifecycle.down(environment)


@app.command()
def recover(env: EnvironmentName = project.SANDBOX, emulated: Emulated = False, name: SandboxName = None) -> None:
    """Puts a sandbox right after a crash, and says what was made anew and what is gone."""
    from envs import recovery

    recovery.recover(selected(env, emulated, name))


@app.command()
def status(
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    name: SandboxName = None,
    json: JsonPath = None,
) -> None:
    """Every endpoint and process of an environment, and the outputs of its stack."""
    from envs import lifecycle

    report = lifecycle.status(selected(env, emulated, name))
    lifecycle.print_status(report)
    if json is not None:
        lifecycle.write_json(json, report)
    if not report.get("running", True):
        raise typer.Exit(1)


@app.command()
def flows(
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    name: SandboxName = None,
    json: JsonPath = None,
) -> None:
    """Who can reach whom: proves every declared flow through groups, routes, endpoints and load balancers."""
    from envs import flows as declared
    from envs import lifecycle

    verdicts = declared.judge(*declared.read(selected(env, emulated, name)))
    console.print(declared.rendered(verdicts))
    if json is not None:
        lifecycle.write_json(json, declared.as_json(verdicts))
    if not all(one.right for one in verdicts):
        raise typer.Exit(1)


@app.command()
def picture(env: EnvironmentName = project.SANDBOX, emulated: Emulated = False, name: SandboxName = None) -> None:
    """Prints a picture of what is deployed, as Mermaid text: components, their resources, who needs whom."""
    from envs.picture import mermaid

    typer.echo(mermaid(selected(env, emulated, name).engine().resources()), nl=False)


@app.command()
def doctor() -> None:
    """What the toolchain found where, and what to do about what is missing."""
    from envs.doctor import doctor as examine

    raise typer.Exit(0 if examine() else 1)


@variables_app.command("vars")
def env_vars(env: EnvironmentName = project.SANDBOX, emulated: Emulated = False, name: SandboxName = None) -> None:
    """Prints the variables with which plain pulumi, aws and Kafka tools use an environment.

    Example: eval "$(fleetstream env vars)" && pulumi preview -s sandbox
    """
    from envs import lifecycle

    typer.echo(lifecycle.variables(selected(env, emulated, name)))


@variables_app.command("new")
def env_new(
    name: Annotated[str, typer.Argument(help="Its name: lower-case letters, digits and hyphens.")],
    owner: Annotated[str | None, typer.Option(help="Who answers for it; else git's user.email.")] = None,
    email: Annotated[str | None, typer.Option(help="Who is told of its cost; else the owner.")] = None,
    days: Annotated[int, typer.Option(help="How many days it is meant to stand.")] = 14,
    budget: Annotated[int, typer.Option(help="What a month of it may cost, in USD.")] = 700,
) -> None:
    """Writes the settings of a stack of your own on AWS: smallest sizes, a free range, a last day, a budget.

    Example: fleetstream env new alice --days 7
    """
    from envs import stacks

    path = stacks.new(name, owner, email, days, budget, date.today())
    console.print(f"{path.relative_to(project.STACK_FILES.parent)} is written. Look through it, commit it, then:")
    console.print(
        f"  pulumi stack init {name} --secrets-provider=...   (README.md, A real AWS account)", soft_wrap=True
    )
    console.print(f"  fleetstream preview --env {name}")
    console.print(f"  fleetstream up --env {name}")


@variables_app.command("expired")
def env_expired(
    emulated: Annotated[bool, typer.Option("--emulated", help="Ask the sandboxes that run, instead of AWS.")] = False,
    json: JsonPath = None,
) -> None:
    """Lists the stacks whose last day is over; exits 1 when there are some. Nothing is taken down."""
    from envs import lifecycle, stacks

    found, silent = stacks.expired(emulated, date.today())
    console.print(stacks.table(found) if found else "no stack's time is over")
    for why in silent:
        console.print(why, markup=False, soft_wrap=True)
    if json is not None:
        lifecycle.write_json(json, {"expired": [stacks.as_json(each) for each in found], "not_asked": silent})
    if found:
        raise typer.Exit(1)


def main() -> None:
    """The entry point: runs a verb and turns what went wrong into a message and an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(standalone_mode=True)
    except UsageError as error:
        _fail(error, 2)
    except FleetstreamError as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        _fail(FleetstreamError("interrupted"), 130)
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _fail(error: FleetstreamError, code: int) -> None:
    if os.environ.get("FLEETSTREAM_TRACEBACK"):
        console.print_exception()
    console.print("[red]error:[/red]", end=" ")
    console.print(str(error), markup=False, soft_wrap=True)
    raise SystemExit(code)
