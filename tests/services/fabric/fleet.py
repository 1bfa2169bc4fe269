"""A fleet behind the functions' ports: groups with hooks, machines, a queue, and the sandbox's model of a cluster.

It refuses what the real parts refuse: an answer that no hook waits for, a machine that cannot stop, the state of a
node that is up. Any call can be made the last one of a process. What must never happen is looked at when it would.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.nodes import Node as ModelNode
from envs.sandbox.fabric.nodes import Status
from services.fabric.account import InstanceRefusedError
from services.fabric.client import REMOVE_NODE, Node, Upgrade
from services.fabric.errors import (
    PASSING,
    REFUSALS,
    GatewayRefusedError,
    GatewayUnreachableError,
    NodeNotFoundError,
)
from services.fabric.lifecycle import (
    CONTINUE,
    IN_SERVICE,
    RETAINED,
    TERMINATING,
    WAITS,
    Action,
    ActionOverError,
    Group,
    Hook,
    Instance,
    Member,
)
from services.fabric.scale_in.core import HOOK, Agenda, Outcome, Record, World, advance
from services.fabric.scale_in.decision import RELIABILITY
from services.fabric.scale_in.messages import Sweep, continuation, read
from services.fabric.scale_in.sweep import sweep
from tests.envs.sandbox.fabric.clusters import Clock, address, formed, join

CLUSTER = "drill"
WORKERS = "workers"
SEEDS = "seeds"
POLL = 10
HEARTBEAT = 600
HIDDEN = 30
"""Seconds until a message that failed comes again."""
STOPPING = 8
DAY = 24 * 3600
CHANGES = ("deactivate", "activate", "stop", "remove_state", "complete")
TERMINATING_PROCEED = "Terminating:Proceed"


class Crash(BaseException):
    """The process ends here, whatever it would have caught."""


@dataclass
class Stay:
    """A machine's place in its group."""

    group: str
    state: str = IN_SERVICE
    hook_ends: float = 0.0


class Fleet:
    """Everything that a delivery sees, and the queue it is delivered from."""

    def __init__(self, workers: int = 3, seeds: int = 3) -> None:
        self.clock = Clock()
        self.model = formed(self.clock, seeds)
        self.reachable = True
        hooks = {HOOK: Hook(HOOK, TERMINATING, HEARTBEAT * 100)}
        self.groups = {name: Group(name, {"cluster": CLUSTER}, hooks) for name in (WORKERS, SEEDS)}
        self.machines: dict[str, Instance] = {}
        self.stays: dict[str, Stay] = {}
        self.queue: list[tuple[float, str]] = []
        self.records: list[Record] = []
        self.gauges: dict[str, int] = {}
        self.certificates: Callable[[], Sequence[float]] = lambda: [self.clock.now + 90 * DAY]
        self.calls: list[str] = []
        self.completed: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        """What must never have happened."""
        self.crash_after: int | None = None
        self._stopping: dict[str, float] = {}
        self._numbers = iter(range(1000))
        self.world = self.process()
        for number in range(seeds):
            self._machine(f"seed-{number}", SEEDS, "seed")
        for _ in range(workers):
            self.launch()

    def process(self, **changes: Any) -> World:
        """A new process of the function: what the one before remembered is forgotten."""
        world = World(
            cluster_name=CLUSTER,
            groups=_Groups(self),
            machines=_Machines(self),
            cluster=_Gateway(self),
            send=self._send,
            record=self.records.append,
            gauge=lambda name, number: self.gauges.update({name: number}),
            certificates=lambda: self.certificates(),
            poll_seconds=POLL,
            agenda=Agenda(),
            now=self.clock,
        )
        self.world = replace(world, **changes)
        return self.world

    # What happens around the function

    def launch(self) -> str:
        """A worker that has joined."""
        number = next(self._numbers)
        join(self.model, self.clock, number)
        return self._machine(f"worker-{number}", WORKERS, "worker")

    def _machine(self, node: str, group: str, role: str) -> str:
        instance = f"i-{node}"
        tags = {"cluster": CLUSTER, "role": role, "node": node}
        self.machines[instance] = Instance(instance, "running", tags, "us-east-1a", address(node), "vpc-1")
        self.stays[instance] = Stay(group)
        return instance

    def tag(self, instance: str, **tags: str | None) -> None:
        """Sets tags, or takes them away."""
        merged = {**self.machines[instance].tags, **tags}
        self.machines[instance] = replace(
            self.machines[instance], tags={key: value for key, value in merged.items() if value is not None}
        )

    def terminate(self, instance: str) -> Action:
        """The group lets go of a machine, and its hook holds it."""
        stay = self.stays[instance]
        stay.state, stay.hook_ends = WAITS[TERMINATING], self.clock.now + HEARTBEAT
        return Action(stay.group, HOOK, instance, self.clock.now)

    def drop(self, instance: str) -> None:
        """A machine ends, drained or not."""
        machine = self.machines.pop(instance)
        self.stays.pop(instance, None)
        self._stopping.pop(instance, None)
        self.model.lose(machine.address)

    def passes(self, seconds: float) -> None:
        self.clock.passes(seconds)
        for instance in [instance for instance, when in self._stopping.items() if when <= self.clock.now]:
            del self._stopping[instance]
            self.machines[instance] = replace(self.machines[instance], state="stopped")
            self.model.lose(self.machines[instance].address)
        for instance, stay in list(self.stays.items()):
            if stay.state == WAITS[TERMINATING] and stay.hook_ends < self.clock.now:
                stay.state = RETAINED
            if stay.state == TERMINATING_PROCEED:
                self.drop(instance)

    # How messages are delivered

    def deliver(self, body: str) -> None:
        """One message, as the handler takes it; one that fails comes again, to another process."""
        asked = read(body)
        try:
            if isinstance(asked, Action):
                advance(self.world, asked)
            elif isinstance(asked, Sweep):
                sweep(self.world)
        except Crash:
            self.queue.append((self.clock.now + HIDDEN, body))
            self.process(guards=self.world.guards)

    def deliver_due(self) -> None:
        due = [body for when, body in self.queue if when <= self.clock.now]
        self.queue = [(when, body) for when, body in self.queue if when > self.clock.now]
        for body in due:
            self.deliver(body)

    def settle(self) -> None:
        """Until the queue is empty."""
        for _ in range(200):
            self.deliver_due()
            if not self.queue:
                return
            self.passes(5)
        raise AssertionError(f"still busy: {self.queue}")

    def run(self, action: Action) -> None:
        self.deliver(continuation(action))
        self.settle()

    def _send(self, action: Action, seconds: int) -> None:
        self.queue.append((self.clock.now + seconds, continuation(action)))
        self.called("send")

    # What the function did

    def called(self, name: str) -> None:
        """A call has been carried out; the process may end before it knows."""
        self.calls.append(name)
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                self.crash_after = None
                raise Crash(name)

    @property
    def changes(self) -> list[str]:
        """Its calls that changed something, in their order."""
        return [call for call in self.calls if call in CHANGES]

    def outcomes(self) -> list[Outcome]:
        return [record.outcome for record in self.records]

    def node(self, name: str) -> ModelNode | None:
        return self.model.node(name)

    def never(self, broken: bool, what: str) -> None:
        if broken:
            self.wrong.append(what)


class _Groups:
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def group(self, name: str) -> Group | None:
        self._fleet.called("group")
        return self._fleet.groups.get(name)

    def member(self, instance: str) -> Member | None:
        self._fleet.called("member")
        stay = self._fleet.stays.get(instance)
        return Member(instance, stay.group, stay.state) if stay else None

    def members(self, cluster: str) -> list[Member]:
        assert cluster == CLUSTER
        self._fleet.called("members")
        return [Member(instance, stay.group, stay.state) for instance, stay in self._fleet.stays.items()]

    def heartbeat(self, action: Action) -> None:
        self._waiting(action).hook_ends = self._fleet.clock.now + HEARTBEAT
        self._fleet.called("heartbeat")

    def complete(self, action: Action, result: str) -> None:
        fleet = self._fleet
        self._waiting(action).state = TERMINATING_PROCEED if result == CONTINUE else RETAINED
        machine = fleet.machines.get(action.instance)
        node = fleet.node(machine.node) if machine else None
        fleet.never(
            result == CONTINUE and node is not None and machine is not None and node.address == machine.address,
            f"{action.instance} released, and the cluster still has its node",
        )
        fleet.never(action.instance in dict(fleet.completed), f"{action.instance} completed twice")
        fleet.completed.append((action.instance, result))
        fleet.called("complete")

    def _waiting(self, action: Action) -> Stay:
        stay = self._fleet.stays.get(action.instance)
        if (
            stay is None
            or stay.state != WAITS[TERMINATING]
            or action.hook not in self._fleet.groups[stay.group].hooks
        ):
            raise ActionOverError(f"No active Lifecycle Action found with instance ID {action.instance}")
        return stay


class _Machines:
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def instance(self, instance_id: str) -> Instance | None:
        self._fleet.called("instance")
        return self._fleet.machines.get(instance_id)

    def instances(self, cluster: str) -> list[Instance]:
        assert cluster == CLUSTER
        self._fleet.called("instances")
        return list(self._fleet.machines.values())

    def stop(self, instance_id: str) -> None:
        fleet = self._fleet
        machine = fleet.machines.get(instance_id)
        if machine is None or machine.state not in ("running", "stopping", "stopped"):
            raise InstanceRefusedError(f"{instance_id} does not stop")
        if machine.state == "running":
            node = fleet.node(machine.node)
            fleet.never(fleet.model.is_seed(machine.node), f"seed {machine.node} stopped")
            fleet.never(
                node is not None and node.status not in (Status.DISABLED, Status.DOWN),
                f"{machine.node} stopped early",
            )
            fleet.machines[instance_id] = replace(machine, state="stopping")
            fleet._stopping[instance_id] = fleet.clock.now + STOPPING
        fleet.called("stop")


class _Gateway:
    """The model, behind the client's methods and errors."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def nodes(self) -> list[Node]:
        model = self._fleet.model
        found = self._ask("nodes", model.nodes)
        return [_seen(node, model.is_seed(node.name), model.pending_checks(node.name)) for node in found]

    def deactivate(self, name: str, intent: str = REMOVE_NODE) -> None:
        fleet, model = self._fleet, self._fleet.model
        others = [node for node in model.nodes() if node.name != name]
        fleet.never(model.is_seed(name), f"seed {name} deactivated")
        leaving = [node.name for node in others if node.deactivation.intent.label == REMOVE_NODE]
        fleet.never(bool(leaving), f"{name} deactivated while {leaving} leaves")
        need = next(size for size in RELIABILITY if size <= len(model.seeds))
        remain = sum(node.status is Status.UP for node in others)
        fleet.never(remain < need, f"{name} deactivated, and {remain} nodes remain of {need}")
        self._ask("deactivate", lambda: model.deactivate(name, intent))

    def activate(self, name: str) -> None:
        self._ask("activate", lambda: self._fleet.model.activate(name))

    def remove_state(self, name: str) -> None:
        self._fleet.never(self._fleet.model.is_seed(name), f"the state of seed {name} removed")
        try:
            self._ask("remove_state", lambda: self._fleet.model.remove_state(name))
        except NodeNotFoundError:
            return

    def upgrade_status(self) -> Upgrade:
        upgrade = self._fleet.model.upgrade
        state = "RollingForwardInProgress" if upgrade and upgrade.running else "RollingForwardCompleted"
        return self._ask("upgrade_status", lambda: Upgrade(state, "1.0.0", ""))

    def _ask(self, name: str, operation: Callable[[], Any]) -> Any:
        if not self._fleet.reachable:
            raise GatewayUnreachableError("the gateway does not answer")
        try:
            found = operation()
        except FabricError as error:
            if error.code in PASSING:
                raise GatewayUnreachableError(str(error)) from error
            raise REFUSALS.get(error.code, GatewayRefusedError)(name, error.status, error.code) from error
        self._fleet.called(name)
        return found


def _seen(node: ModelNode, seed: bool, checks: list[Any]) -> Node:
    return Node(
        name=node.name,
        address=node.address,
        type=node.type,
        status=str(node.status),
        is_seed=seed,
        instance_id=str(node.instance),
        health="Ok" if node.up else "Error",
        upgrade_domain=node.upgrade_domain,
        fault_domain=node.fault_domain,
        intent=node.deactivation.intent.label if node.deactivation.active else "",
        deactivation=str(node.deactivation.phase),
        pending_checks=tuple(check.kind for check in checks),
    )
