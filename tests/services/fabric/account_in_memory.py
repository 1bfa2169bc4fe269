"""A machine that launches, disks and interfaces, behind the launch functions' ports. Any call can be the last one."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from services.fabric.launch import Launches, Outcome, Verdict, serve
from services.fabric.lifecycle import (
    LAUNCHING,
    WAITS,
    Action,
    ActionOverError,
    Group,
    Hook,
    Instance,
    Member,
)
from services.fabric.second_address.core import Interface, InterfaceBusyError
from services.fabric.seed_launch.core import Disk, DiskBusyError

CLUSTER = "fleetstream-test"
HOOK = "launch"
GROUP = "seeds"
ZONE = "us-east-1a"


class Crash(BaseException):
    """The process ends here, whatever it would have caught."""


@dataclass
class Account:
    """One machine that launches, and what may be attached to it; attaching takes `delay` seconds."""

    machine: Instance
    disks: dict[str, Disk] = field(default_factory=dict)
    snapshots: list[str] = field(default_factory=list)
    interfaces: dict[str, Interface] = field(default_factory=dict)
    others: dict[str, Instance] = field(default_factory=dict)
    state: str = WAITS[LAUNCHING]
    delay: float = 5
    now: float = 0
    calls: list[str] = field(default_factory=list)
    outcomes: list[tuple[Outcome, str]] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    crash_after: int | None = None
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def after(self, seconds: float, happens: Callable[[], None]) -> None:
        self.later.append((self.now + seconds, happens))

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        due = [happens for when, happens in self.later if when <= self.now]
        self.later = [(when, happens) for when, happens in self.later if when > self.now]
        for happens in due:
            happens()

    def called(self, name: str) -> None:
        self.calls.append(name)
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                self.crash_after = None
                raise Crash(name)

    def serve(self, look: Callable[[Instance], Verdict], **changes: Any) -> Outcome:
        """One event for the machine."""
        launches = Launches(
            cluster=CLUSTER,
            groups=self,
            machines=self,
            record=lambda action, outcome, reason: self.outcomes.append((outcome, reason)),
            now=lambda: self.now,
            sleep=self.sleep,
        )
        return serve(launches, replace(Action(GROUP, HOOK, self.machine.id, 0.0), **changes), look)

    def served(self, look: Callable[[Instance], Verdict]) -> Outcome:
        """An event that Lambda tries again after a crash."""
        try:
            return self.serve(look)
        except Crash:
            self.sleep(60)
            return self.serve(look)

    # Auto Scaling

    def group(self, name: str) -> Group | None:
        self.called("group")
        cluster = {"cluster": CLUSTER if name == GROUP else "other"}
        return Group(name, cluster, {HOOK: Hook(HOOK, LAUNCHING, 3600)}) if name != "gone" else None

    def member(self, instance: str) -> Member | None:
        self.called("member")
        return Member(instance, GROUP, self.state) if instance == self.machine.id and self.state else None

    def heartbeat(self, action: Action) -> None:
        self._waiting()
        self.called("heartbeat")

    def complete(self, action: Action, result: str) -> None:
        self._waiting()
        self.state = "Pending:Proceed"
        self.completed.append(result)
        self.called("complete")

    def _waiting(self) -> None:
        if self.state != WAITS[LAUNCHING]:
            raise ActionOverError("No active Lifecycle Action found")

    # EC2

    def instance(self, instance_id: str) -> Instance | None:
        self.called("instance")
        return self.machine if instance_id == self.machine.id else self.others.get(instance_id)

    def holder(self, instance_id: str) -> Instance | None:
        return self.instance(instance_id)

    def of_node(self, node: str) -> list[Disk]:
        self.called("of_node")
        return list(self.disks.values())

    def newest_snapshot(self, node: str) -> str:
        self.called("newest_snapshot")
        return max(self.snapshots, default="")

    def restore(self, snapshot: str, node: str, instance: Instance) -> None:
        if instance.id not in self.tokens:
            self.tokens.add(instance.id)
            made = Disk(f"vol-of-{snapshot}", "creating", instance.zone, restored_from=snapshot)
            self.disks[made.id] = made
            self.after(self.delay, lambda: self.turn(made.id, state="available"))
        self.called("restore")

    def attach(self, thing: str, instance: str, device_index: int | None = None) -> None:
        if device_index is None:
            if self.disks[thing].state != "available":
                raise DiskBusyError(f"VolumeInUse: {thing}")
            self.turn(thing, state="in-use", holder=instance, attachment="attaching")
            self.after(self.delay, lambda: self.turn(thing, attachment="attached"))
        else:
            if self.interfaces[thing].status != "available":
                raise InterfaceBusyError(f"InvalidNetworkInterface.InUse: {thing}")
            self.turn(thing, status="in-use", holder=instance, attachment="attaching", device_index=device_index)
            self.after(self.delay, lambda: self.turn(thing, attachment="attached"))
        self.called("attach")

    def described(self, description: str, vpc: str) -> list[Interface]:
        self.called("described")
        return list(self.interfaces.values())

    def turn(self, thing: str, **changes: Any) -> None:
        kept: dict[str, Any] = self.disks if thing in self.disks else self.interfaces
        kept[thing] = replace(kept[thing], **changes)
