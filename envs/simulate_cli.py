"""The verb `simulate`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from envs import project
from envs.errors import UsageError
from envs.options import Emulated, EnvironmentName, JsonPath, SandboxName, selected


def simulate(
    replay: Annotated[
        list[Path] | None,
        typer.Option(
            "--replay", help="Recorded CSV files, several after one flag; without it, telemetry is generated."
        ),
    ] = None,
    more: Annotated[list[Path] | None, typer.Argument(hidden=True)] = None,
    rate: Annotated[float, typer.Option(help="Messages a second, all devices and hosts together.")] = 5000,
    seconds: Annotated[float, typer.Option(help="How long to send, in seconds.")] = 30,
    processes: Annotated[int, typer.Option(help="Producing processes, on each host.")] = 1,
    devices: Annotated[int, typer.Option(help="Devices to generate, without --replay.")] = 100,
    device_column: Annotated[
        str | None, typer.Option(help="CSV column with the device; else the file's name.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(help="Replay at this multiple of the recorded 1 Hz pace instead of --rate.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Rate over time instead of --rate, such as ramp:100-5000, or a CSV file of seconds,rate.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Bytes of a generated message, 100 to 65536.")] = None,
    order: Annotated[
        Literal["turn", "random", "in-step"],
        typer.Option(help="Who sends next: devices in turn, any, or any of one partition a tick."),
    ] = "turn",
    skew: Annotated[
        float, typer.Option(help="How much more the busiest devices send (Zipf), with --order random.")
    ] = 0,
    churn: Annotated[
        float, typer.Option(help="Share of the active devices that others replace each minute, with --order random.")
    ] = 0,
    late: Annotated[float, typer.Option(help="Share of devices that report long after they measured.")] = 0,
    disordered: Annotated[float, typer.Option(help="Share of devices whose readings come swapped in pairs.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of all that is random.")] = 1,
    warm_up: Annotated[float, typer.Option(help="Seconds of the same load on the canary topic before.")] = 5,
    hosts: Annotated[
        int | None, typer.Option(help="Run it on so many hosts of the environment's simulator group, not here.")
    ] = None,
    keep_hosts: Annotated[bool, typer.Option("--keep-hosts", help="Leave the hosts running afterwards.")] = False,
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    name: SandboxName = None,
    json: JsonPath = None,
) -> None:
    """Load alone, against an environment's brokers: from here, or from hosts of its simulator group.

    Example: fleetstream simulate --env staging --hosts 10 --rate 74000
    """
    from envs import load_request
    from envs import simulate as load

    if more and not replay:
        raise UsageError(f"unexpected argument {more[0]}: recorded files come after --replay")
    asked = load_request.checked(
        load.Request,
        replay=[*(replay or []), *(more or [])],
        rate=rate,
        seconds=seconds,
        processes=processes,
        devices=devices,
        device_column=device_column,
        speed=speed,
        profile=profile,
        size=size,
        order=order,
        skew=skew,
        churn=churn,
        late=late,
        disordered=disordered,
        seed=seed,
        warm_up=warm_up,
        hosts=hosts,
        keep_hosts=keep_hosts,
    )
    raise typer.Exit(load.run(selected(env, emulated, name), asked, json))
