"""Carries drills out: what they need before, the eyes on the cluster meanwhile, and all as it was afterwards."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from envs import cluster, project
from envs.cluster import Place, told
from envs.drills.catalogue import Drill
from envs.drills.field import Field, Settings, capacity, set_capacity, settle
from envs.drills.judge import Judge
from envs.drills.result import Result, table
from envs.drills.sandbox_faults import Faults
from envs.drills.timeline import Timeline
from envs.drills.timeline import table as timeline_table
from envs.drills.watch import HASTE, Watch, looking
from envs.environment import Environment
from envs.errors import FleetstreamError, UsageError
from envs.lifecycle import require, write_json
from envs.progress import console
from services.errors import ServiceError
from services.fabric import credentials
from services.fabric import fleet as machinery
from services.fabric.client import UP, Gateway
from services.fabric.store import Store

_SANDBOX_LOOKS_S: Final = 0.25
_LOOKS_S: Final = 2.0
"""Between two looks. A real cluster takes minutes for what a sandbox does in seconds, and AWS counts requests."""


@dataclass(frozen=True)
class Ground:
    """An environment whose cluster is formed."""

    environment: Environment
    outputs: dict[str, Any]
    place: Place
    gateway: Gateway

    @property
    def looks_s(self) -> float:
        """Between two looks of the watch."""
        return _LOOKS_S if self.environment.sandbox is None else _SANDBOX_LOOKS_S


def command(environment: Environment, drills: Sequence[Drill], settings: Settings, json_path: Path | None) -> int:
    """Carries drills out one after the other, tells each verdict, and returns the exit code."""
    with told():
        ground = stand(environment, drills)
        results: list[Result] = []
        with as_found(ground, settings):
            for drill in drills:
                results.append(perform(ground, drill, settings))
    if len(results) > 1:
        console.print(table(results))
    if json_path is not None:
        content = [one.as_json() for one in results]
        write_json(json_path, content[0] if len(content) == 1 else {"drills": content})
    return 0 if all(one.passed for one in results) else 1


def stand(environment: Environment, drills: Sequence[Drill]) -> Ground:
    """Where drills take place. Raises `FleetstreamError` for a cluster that is not formed, and `UsageError` for a
    fault that cannot be made there."""
    if environment.sandbox is None and (only := [drill.name for drill in drills if drill.sandbox]):
        raise UsageError(
            f"{', '.join(only)}: on AWS nobody can make that fault at will, and {environment.name} is there: add "
            "--emulated, or name a drill that runs everywhere (`fleetstream drill list`)"
        )
    require(environment)
    # For the processes of the load, which sign in to the brokers by themselves.
    environment.enter()
    place = cluster.open_place(environment)
    flags = f" --env {environment.name}" if environment.sandbox is None else environment.sandbox.flags
    if Store(place.clients.s3, place.fleet.bucket).formed() is None:
        raise FleetstreamError(f"the cluster is not formed: `fleetstream cluster bootstrap{flags}`")
    found = credentials.fetch(place.clients.secretsmanager, place.fleet.client_secret)
    gateway = Gateway(place.fleet.gateway, found, HASTE)
    return Ground(environment, environment.engine().outputs(), place, gateway)


@contextlib.contextmanager
def as_found(ground: Ground, settings: Settings) -> Iterator[None]:
    """Whatever the drills do to the number of workers, it is as before afterwards."""
    before = capacity(ground.place)
    try:
        yield
    except BaseException:
        # Interrupted, or something does not work: it is told what is on its way, and not waited for.
        if capacity(ground.place) != before:
            set_capacity(ground.place, before)
            console.print(f"the workers' group is set to {before} again, as it was; see `fleetstream cluster nodes`")
        raise
    if capacity(ground.place) != before:
        set_capacity(ground.place, before)
        settle(ground.place, ground.gateway, settings)


def perform(ground: Ground, drill: Drill, settings: Settings, folder: Path | None = None) -> Result:
    """One drill, with what it needs made ready before, and its verdict told."""
    console.print(f"[bold]drill {drill.name}[/]: {drill.shows}", soft_wrap=True)
    folder = folder or _folder(drill.name)
    _make_ready(ground, drill, settings)
    started, timeline = datetime.now(UTC), Timeline()
    fleet = ground.place.fleet
    judge = Judge(timeline, list(fleet.seeds), fleet.worker_group)
    with Watch(looking(ground.place, ground.gateway), judge, ground.looks_s) as watch:
        field = Field(
            started=started,
            environment=ground.environment,
            outputs=ground.outputs,
            place=ground.place,
            gateway=ground.gateway,
            settings=settings,
            timeline=timeline,
            watch=watch,
            folder=folder,
        )
        letters = _dead_letters(ground)
        try:
            drill.carry_out(field)
        except (FleetstreamError, ServiceError) as error:
            field.require(False, str(error))
        finally:
            if drill.sandbox:
                Faults(ground.environment, ground.outputs).off()
        watch.now()
        field.require(_dead_letters(ground) == letters, "messages of the function became dead letters")
    seconds = round(timeline.now, 1)
    reasons = (*judge.broken, *field.reasons, *judge.at_the_end())
    result = Result(
        drill=drill.name,
        shows=drill.shows,
        environment=ground.environment.name,
        started=started,
        seconds=seconds,
        reasons=tuple(dict.fromkeys(reasons)),
        figures=_counted(judge) | field.figures,
        events=timeline.events,
        notes=tuple(field.notes),
    )
    _tell(result, result.write(folder))
    return result


def _make_ready(ground: Ground, drill: Drill, settings: Settings) -> None:
    """A cluster at rest with as many workers as the drill needs."""
    needed = drill.workers[settings.short]
    if capacity(ground.place) < needed:
        most = machinery.group(ground.place.clients.autoscaling, ground.place.fleet.worker_group)["MaxSize"]
        if most < needed:
            raise FleetstreamError(f"drill {drill.name} needs {needed} workers, and the group takes {most} at most")
        set_capacity(ground.place, needed)
    settle(ground.place, ground.gateway, settings)


def _counted(judge: Judge) -> dict[str, Any]:
    nodes = (judge.last.nodes if judge.last else None) or ()
    return {
        "nodes": sum(node.status == UP for node in nodes),
        "seed_nodes": sum(node.is_seed for node in nodes),
        "removed": sum(each.forgotten is not None for each in judge.departures.values()),
        "zombies": sum(node.zombie for node in nodes),
        "seeds_up_lowest": judge.lowest_seeds_up,
        "quorum": judge.quorum,
    }


def _dead_letters(ground: Ground) -> int:
    sqs = ground.environment.session().client("sqs", region_name=ground.outputs.get("region"))
    url = ground.outputs["fleet"]["scale_in_dead_letters"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(found["Attributes"]["ApproximateNumberOfMessages"])


def _folder(name: str) -> Path:
    folder = project.build_dir() / "drills" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{name}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise FleetstreamError(f"cannot make {folder}: {error.strerror}") from error
    return folder


def _tell(result: Result, page: Path) -> None:
    console.print(timeline_table(result.events))
    for note in result.notes:
        console.print("note:", note, markup=False, soft_wrap=True)
    for reason in result.reasons:
        console.print("[red]failed:[/]", end=" ")
        console.print(reason, markup=False, soft_wrap=True)
    verdict = "[green]passed[/]" if result.passed else "[red]failed[/]"
    console.print(f"drill {result.drill} {verdict} after {result.seconds:g} s")
    console.print(f"report: {page}", markup=False, soft_wrap=True)
