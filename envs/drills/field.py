"""What a drill works with: the environment's fleet, the eyes on it, waiting, faults, and what it finds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from envs.cluster import Place
from envs.drills.judge import IN_SERVICE, Departure, Look
from envs.drills.sandbox_faults import Faults
from envs.drills.timeline import Kind, Timeline
from envs.drills.watch import Watch
from envs.environment import Environment
from envs.errors import FleetstreamError
from envs.progress import step
from services.fabric import fleet as machinery
from services.fabric.client import UP, Gateway
from services.fabric.configuration import WORKER
from services.fabric.errors import GatewayUnreachableError
from services.fabric.fleet import RETAINED, Fleet, Machine
from services.fabric.waiting import NotYet, until

DRILL: Final = "drill"
"""The subject of what the drill itself does."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Settings:
    """How a drill is carried out."""

    short: bool = False
    """With fewer workers, and sweeps that come when they are needed instead of by their schedule."""
    rate: float = 500
    """Messages/s while workers leave; 0: none."""
    fault_seconds: float = 60
    """How long the gateway is in trouble."""
    limit_s: float = 1800
    """How long anything may take."""

    @property
    def pause_s(self) -> float:
        """Between two looks of who waits."""
        return min(2.0, self.limit_s / 600)


@dataclass
class Field:
    """One drill's. What it raises is why the drill could not be carried out, which is a failure as well."""

    started: datetime
    environment: Environment
    outputs: dict[str, Any]
    place: Place
    gateway: Gateway
    settings: Settings
    timeline: Timeline
    watch: Watch
    folder: Path
    reasons: list[str] = field(default_factory=list)
    """Why it has failed."""
    figures: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def fleet(self) -> Fleet:
        """What the program made."""
        return self.place.fleet

    @cached_property
    def faults(self) -> Faults:
        """What can be made to go wrong. Raises `UsageError` outside a sandbox."""
        return Faults(self.environment, self.outputs)

    def size(self, full: int, short: int) -> int:
        """A number that is smaller in a shortened drill."""
        return short if self.settings.short else full

    def act(self, text: str) -> None:
        """Writes down what the drill does now."""
        self.timeline.note(DRILL, text, Kind.ACT)

    def require(self, holds: bool, reason: str) -> None:
        """What has to hold; the drill goes on when it does not, and has failed."""
        if not holds:
            self.reasons.append(reason)
            self.timeline.note(DRILL, reason, Kind.BROKEN)

    def wait(self, what: str, look: Callable[[Look], Value]) -> Value:
        """Looks at the cluster until `look` does not raise `NotYet`, and shows how far it is."""

        def again() -> Value:
            self.watch.check()
            try:
                return look(self.watch.now())
            except GatewayUnreachableError as error:
                raise NotYet(str(error)) from None

        with step(what) as progress:
            found = until(again, what, self.settings.limit_s, self.settings.pause_s, progress)
            # What was still missing at the last look is missing no more.
            progress.detail = ""
            return found

    # Workers

    def workers(self) -> list[Machine]:
        """The workers in service, by name."""
        members = machinery.members(self.place.clients.autoscaling, [self.fleet.worker_group])
        serving = {member.instance for member in members.values() if member.state == IN_SERVICE}
        machines = machinery.machines(self.place.clients.ec2, self.fleet.cluster, role=machinery.WORKER_ROLE)
        return [machine for machine in machines if machine.id in serving]

    def scale(self, count: int) -> None:
        """Sets how many workers there shall be."""
        before = capacity(self.place)
        self.act(f"the workers' group: {before} -> {count}")
        set_capacity(self.place, count)

    def shrink(self, by: int) -> None:
        """Fewer workers, and waits until those that go have left cluster and group."""
        before = set(self.watch.judge.departures)
        wanted = capacity(self.place) - by
        self.scale(wanted)
        self.wait(f"{by} workers leave", lambda look: self.left(look, before, by))

    def let_go(self, machine: Machine) -> None:
        """One worker leaves, and none takes its place."""
        self.act(f"{machine.node} ({machine.id}) is let go")
        self.place.clients.autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=machine.id, ShouldDecrementDesiredCapacity=True
        )

    def left(self, look: Look, before: set[str], count: int) -> list[Departure]:
        """Those that have left besides `before`. Raises `NotYet` while they are fewer, and says who is on the way."""
        all_leaving = [each for name, each in self.watch.judge.departures.items() if name not in before]
        for each in all_leaving:
            if each.retained:
                raise FleetstreamError(
                    f"{each.instance} ({each.node}) was retained: its removal was given up. See the log of the "
                    "function scale-in, then `fleetstream cluster reconcile` and `dispose`"
                )
        done = [each for each in all_leaving if each.gone is not None]
        if look.nodes is None:
            raise NotYet(f"{len(done)} of {count} have left; the gateway does not answer")
        names = {each.node for each in done}
        remain = [node.name for node in look.nodes if node.name in names]
        if len(done) < count or remain:
            leaving = next((f", {node.name} is {node.status}" for node in look.nodes if node.intent), "")
            raise NotYet(f"{len(done) - len(remain)} of {count} have left{leaving}")
        return done


# Without a drill: before it, and after it


def capacity(place: Place) -> int:
    """How many workers there shall be."""
    found = machinery.group(place.clients.autoscaling, place.fleet.worker_group)
    return int(found["DesiredCapacity"])


def set_capacity(place: Place, count: int) -> None:
    """Says how many workers there shall be."""
    place.clients.autoscaling.set_desired_capacity(
        AutoScalingGroupName=place.fleet.worker_group, DesiredCapacity=count
    )


def settle(place: Place, gateway: Gateway, settings: Settings) -> None:
    """Waits until group and cluster have what the group is set to, and nothing changes any more."""

    def look() -> None:
        members = machinery.members(place.clients.autoscaling, [place.fleet.worker_group])
        counted = [each for each in members.values() if each.state != RETAINED]
        try:
            nodes, upgrading = gateway.nodes(), gateway.upgrade_status().running
        except GatewayUnreachableError as error:
            raise NotYet(str(error)) from None
        wanted = capacity(place)
        up = [node for node in nodes if node.status == UP and not node.intent]
        workers = sum(node.type == WORKER for node in up)
        if len(counted) != wanted or workers != wanted:
            raise NotYet(f"{workers} of {wanted} workers Up, {len(counted)} instances")
        if changing := sorted({each.state for each in counted} - {IN_SERVICE}):
            raise NotYet(f"instances are {', '.join(changing)}")
        if len(up) != len(nodes):
            raise NotYet(", ".join(f"{node.name} is {node.status}" for node in nodes if node not in up))
        if upgrading:
            raise NotYet("the configuration is being changed")

    with step("a cluster at rest") as progress:
        until(look, "a cluster at rest", settings.limit_s, settings.pause_s, progress)
        progress.update(f"{capacity(place)} workers")
