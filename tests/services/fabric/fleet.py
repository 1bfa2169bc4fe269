"""A fleet in memory behind the functions' ports: groups with hooks, machines, a cluster, a queue and a clock.

It refuses what the real parts refuse: an answer that no hook waits for, a machine that cannot stop, the state of a node
that is up. Any call can be made the last one that a process makes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from services.fabric.account import InstanceRefusedError
from services.fabric.client import DISABLED, DOWN, REMOVE_NODE, UP, Node
from services.fabric.errors import GatewayUnreachableError, NodeIsUpError
from services.fabric.lifecycle import (
    ABANDON,
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
from services.fabric.scale_in.messages import Needless, Sweep, continuation, read
from services.fabric.scale_in.sweep import sweep

CLUSTER = "fleetstream-test"
WORKERS = "workers"
SEEDS = "seeds"
POLL = 30
HEARTBEAT = 300
HIDDEN = 60
"""Seconds until a message that failed comes again."""
ORDER = ["deactivate", "stop", "remove_state", "complete"]


class Crash(Exception):  # noqa: N818 - not an error of the code's: the process is gone
    """The process ends here."""


@dataclass
class Stay:
    """A machine's place in its group."""

    group: str
    state: str
    hook_ends: float = 0.0


class Cluster:
    """A cluster that keeps Service Fabric's rules for nodes that leave; deactivation takes its time."""

    def __init__(self, clock: Callable[[], float], drain_seconds: float = 45) -> None:
        self.known: dict[str, Node] = {}
        self.reachable = True
        self._clock = clock
        self._drain_seconds = drain_seconds
        self._drained: dict[str, float] = {}

    def join(self, name: str, address: str, *, seed: bool = False) -> None:
        self.known[name] = Node(name, address, SEEDS if seed else WORKERS, UP, seed, "1", "Ok", "UD0", "fd:/a/0")

    def lost(self, name: str) -> None:
        """Its machine does not run any more."""
        if name in self.known:
            self._set(name, status=DOWN)

    def leaving(self) -> list[str]:
        return [node.name for node in self.nodes() if node.intent == REMOVE_NODE]

    def nodes(self) -> list[Node]:
        self._asked()
        for name, when in self._drained.items():
            # A seed is held by EnsureSeedNodeQuorum for ever.
            node = self.known.get(name)
            if node and node.intent and node.status == "Disabling" and not node.is_seed and when <= self._clock():
                self._set(name, status=DISABLED, deactivation="Completed")
        return list(self.known.values())

    def deactivate(self, name: str, intent: str = REMOVE_NODE) -> None:
        self._asked()
        if self.known[name].intent != intent:
            self._drained[name] = self._clock() + self._drain_seconds
            status = DOWN if self.known[name].zombie else "Disabling"
            self._set(name, intent=intent, status=status, deactivation="SafetyCheckInProgress")

    def activate(self, name: str) -> None:
        self._asked()
        self._set(name, intent="", deactivation="None", status=DOWN if self.known[name].zombie else UP)

    def remove_state(self, name: str) -> None:
        self._asked()
        if name in self.known and not self.known[name].zombie:
            raise NodeIsUpError(name, 409, "FABRIC_E_NODE_IS_UP")
        self.known.pop(name, None)

    def _asked(self) -> None:
        if not self.reachable:
            raise GatewayUnreachableError("the gateway does not answer")

    def _set(self, name: str, **changes: Any) -> None:
        self.known[name] = replace(self.known[name], **changes)


class Fleet:
    """Everything that a delivery sees, and the queue it is delivered from."""

    def __init__(self, workers: int = 3, seeds: int = 3) -> None:
        self.now = 1_000_000.0
        self.cluster = Cluster(lambda: self.now)
        self.groups = {
            WORKERS: Group(WORKERS, {"cluster": CLUSTER}, {HOOK: Hook(HOOK, TERMINATING, HEARTBEAT * 100)}),
            SEEDS: Group(SEEDS, {"cluster": CLUSTER}, {HOOK: Hook(HOOK, TERMINATING, HEARTBEAT * 100)}),
        }
        self.machines: dict[str, Instance] = {}
        self.stays: dict[str, Stay] = {}
        self.queue: list[tuple[float, str]] = []
        self.records: list[Record] = []
        self.calls: list[str] = []
        self.completed: list[tuple[str, str]] = []
        self.crash_after: int | None = None
        self.stop_seconds = 20.0
        self._stopping: dict[str, float] = {}
        self._launched = 0
        self.world = self.process()
        for _ in range(seeds):
            self.launch(SEEDS)
        for _ in range(workers):
            self.launch(WORKERS)

    def process(self, **changes: Any) -> World:
        """A new process of the function: what the one before remembered is forgotten."""
        self.world = World(
            cluster_name=CLUSTER,
            groups=_Groups(self),
            machines=_Machines(self),
            cluster=_Gateway(self),
            send=self.send,
            record=self.records.append,
            poll_seconds=POLL,
            agenda=Agenda(),
            now=lambda: self.now,
        )
        self.world = replace(self.world, **changes)
        return self.world

    # What happens around the function

    def launch(self, group: str, *, join: bool = True) -> str:
        number = self._launched
        self._launched += 1
        instance, address = f"i-{number:04}", f"10.0.0.{number + 10}"
        role = "seed" if group == SEEDS else "worker"
        node = f"{role}-{number:04}"
        tags = {"cluster": CLUSTER, "role": role, "node": node}
        self.machines[instance] = Instance(instance, "running", tags, "us-east-1a", address, "vpc-1")
        self.stays[instance] = Stay(group, IN_SERVICE)
        if join:
            self.cluster.join(node, address, seed=group == SEEDS)
        return instance

    def terminate(self, instance: str) -> Action:
        """The group lets go of a machine, and its hook holds it."""
        self.stays[instance].state = WAITS[TERMINATING]
        self.stays[instance].hook_ends = self.now + HEARTBEAT
        return Action(self.stays[instance].group, HOOK, instance, self.now)

    def drop(self, instance: str) -> None:
        """A machine that ends without having been drained."""
        machine = self.machines.pop(instance)
        self.stays.pop(instance, None)
        self.cluster.lost(machine.node)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for instance, when in list(self._stopping.items()):
            if when <= self.now:
                del self._stopping[instance]
                if instance in self.machines:
                    self.machines[instance] = replace(self.machines[instance], state="stopped")
                    self.cluster.lost(self.machines[instance].node)
        for instance, stay in list(self.stays.items()):
            if stay.state == WAITS[TERMINATING] and stay.hook_ends < self.now:
                stay.state = RETAINED
            if stay.state == "Terminating:Proceed":
                self.drop(instance)

    def send(self, action: Action, seconds: int) -> None:
        self.queue.append((self.now + seconds, continuation(action)))
        self.called("send")

    # How messages are delivered

    def deliver(self, body: str) -> bool:
        """One message, as the handler takes it; one that fails comes again."""
        asked = read(body)
        try:
            if isinstance(asked, Action):
                advance(self.world, asked)
            elif isinstance(asked, Sweep):
                sweep(self.world)
            else:
                assert isinstance(asked, Needless)
        except Crash:
            self.queue.append((self.now + HIDDEN, body))
            self.process(guards=self.world.guards)
            return False
        return True

    def deliver_due(self) -> int:
        due = [(when, body) for when, body in self.queue if when <= self.now]
        self.queue = [item for item in self.queue if item[0] > self.now]
        for _, body in due:
            self.deliver(body)
        return len(due)

    def settle(self, limit: int = 400) -> None:
        """Until the queue is empty."""
        for _ in range(limit):
            self.deliver_due()
            if not self.queue:
                return
            self.pass_time(10)
        raise AssertionError(f"still busy: {self.queue}")

    def run(self, action: Action) -> None:
        self.deliver(continuation(action))
        self.settle()

    # Calls from the function

    def called(self, name: str) -> None:
        self.calls.append(name)
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                self.crash_after = None
                raise Crash(name)

    def stop(self, instance: str) -> None:
        machine = self.machines.get(instance)
        if machine is None or machine.state in ("shutting-down", "terminated", "pending"):
            raise InstanceRefusedError(f"{instance} does not stop")
        if machine.state == "running":
            self.machines[instance] = replace(machine, state="stopping")
            self._stopping[instance] = self.now + self.stop_seconds

    def outcomes(self) -> list[Outcome]:
        return [record.outcome for record in self.records]

    def order(self) -> list[str]:
        return [call for call in self.calls if call in ORDER]


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
        self._waiting(action).hook_ends = self._fleet.now + HEARTBEAT
        self._fleet.called("heartbeat")

    def complete(self, action: Action, result: str) -> None:
        self._waiting(action).state = RETAINED if result == ABANDON else "Terminating:Proceed"
        self._fleet.completed.append((action.instance, result))
        self._fleet.called("complete")

    def _waiting(self, action: Action) -> Stay:
        stay = self._fleet.stays.get(action.instance)
        if stay is None or stay.state != WAITS[TERMINATING] or action.hook not in self._fleet.groups[stay.group].hooks:
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
        self._fleet.stop(instance_id)
        self._fleet.called("stop")


class _Gateway:
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def nodes(self) -> list[Node]:
        found = self._fleet.cluster.nodes()
        self._fleet.called("nodes")
        return found

    def deactivate(self, name: str, intent: str = REMOVE_NODE) -> None:
        self._fleet.cluster.deactivate(name, intent)
        self._fleet.called("deactivate")

    def activate(self, name: str) -> None:
        self._fleet.cluster.activate(name)
        self._fleet.called("activate")

    def remove_state(self, name: str) -> None:
        self._fleet.cluster.remove_state(name)
        self._fleet.called("remove_state")
