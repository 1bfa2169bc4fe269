"""Compares what should be one: groups and their instances, tags, live nodes, and the cluster's configuration.

Each difference is a finding with its reason. Those that can be repaired without a risk carry the repair; repairs are
made one at a time, in the order of the findings, and everything is looked at again after each. Seeds are never
removed here, and what a running scale-in works at is left to it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from services.fabric import fleet as machinery
from services.fabric import manifest, upgrade
from services.fabric.bootstrap import Clients
from services.fabric.client import GONE_STATUSES, UP, Gateway, Node
from services.fabric.errors import FabricServiceError
from services.fabric.fleet import RETAINED, Fleet, Interface, Machine, Member
from services.fabric.waiting import Limits, Steps

IN_SERVICE: Final = "InService"
_MOST_REPAIRS: Final = 1000


class Kind(IntEnum):
    """What differs; the order is that of repairs."""

    SEED_ADDRESS = 1
    SEED_MACHINE = 2
    SEED_NODE = 3
    TAG = 4
    LEFT_DISABLED = 5
    ZOMBIE = 6
    MEMBERSHIP = 7
    MACHINE_WITHOUT_NODE = 8
    NODE_DOWN = 9
    NODE_WITHOUT_MACHINE = 10
    RETAINED = 11

    @property
    def label(self) -> str:
        """The same in words."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class World:
    """What is there, looked at once."""

    fleet: Fleet
    machines: tuple[Machine, ...]
    members: Mapping[str, Member]
    interfaces: tuple[Interface, ...]
    nodes: tuple[Node, ...]
    listed: Mapping[str, str]
    """The nodes of the configuration that was applied last, with their addresses."""
    upgrading: bool


@dataclass(frozen=True)
class Finding:
    """A difference: what is wrong with whom, why that is known, and what would put it right."""

    kind: Kind
    subject: str
    reason: str
    proposal: str
    repair: Callable[["Tools"], None] | None = field(default=None, compare=False)
    """None: somebody has to decide."""


@dataclass(frozen=True)
class Tools:
    """What repairs work with."""

    clients: Clients
    gateway: Gateway
    limits: Limits
    steps: Steps


def look(fleet: Fleet, clients: Clients, gateway: Gateway) -> World:
    """Looks at everything. The cluster comes last: what joins meanwhile has an instance already."""
    groups = [fleet.worker_group, *(place.group for place in fleet.seeds.values())]
    machines = machinery.machines(clients.ec2, fleet.cluster)
    members = machinery.members(clients.autoscaling, groups)
    interfaces = machinery.seed_interfaces(clients.ec2, fleet.cluster).values()
    return World(
        fleet=fleet,
        machines=tuple(machines),
        members=members,
        interfaces=tuple(interfaces),
        listed={each["nodeName"]: each["iPAddress"] for each in manifest.listed(gateway.manifest())},
        upgrading=gateway.upgrade_status().running,
        nodes=tuple(node for node in gateway.nodes() if node.status not in GONE_STATUSES),
    )


def compare(world: World) -> list[Finding]:
    """Every difference, in the order in which repairs are made."""
    found = [*_seeds(world), *_machines(world), *_nodes(world), *_membership(world)]
    return sorted(found, key=lambda finding: (finding.kind, finding.subject))


def apply(
    fleet: Fleet, tools: Tools, report: Callable[[Finding], None], most: int = _MOST_REPAIRS
) -> tuple[list[Finding], list[Finding]]:
    """Makes one repair after another, looking again after each; returns what was repaired, and what is left.

    A repair whose finding is still there afterwards is not tried again, and instances that were started meanwhile,
    some of them by a repair, are left alone: they have just begun.
    """
    done: list[Finding] = []
    began: set[str] = set()
    for _ in range(most):
        world = look(fleet, tools.clients, tools.gateway)
        began = began or {machine.id for machine in world.machines}
        findings = compare(world)
        due = next(
            (
                each
                for each in findings
                if each.repair is not None
                and each not in done
                and (each.kind is not Kind.MACHINE_WITHOUT_NODE or each.subject in began)
            ),
            None,
        )
        if due is None or due.repair is None:
            return done, findings
        report(due)
        due.repair(tools)
        done.append(due)
    raise FabricServiceError(f"{most} repairs, and still something to repair: see what keeps breaking it")


# Seeds


def _seeds(world: World) -> Iterator[Finding]:
    own = {interface.node: interface.address for interface in world.interfaces}
    live = {node.name: node for node in world.nodes}
    for name, place in world.fleet.seeds.items():
        for what, address in (
            ("its interface has", own.get(name)),
            ("the configuration has", world.listed.get(name)),
        ):
            if address != place.address:
                told = f"the stack knows {place.address}, {what} {address or 'none'}"
                proposal = "give its interface the old address back: Service Fabric lets none be changed"
                yield Finding(Kind.SEED_ADDRESS, name, told, proposal)
        if not any(machine.node == name and machine.state == "running" for machine in world.machines):
            proposal = f"see the activities of group {place.group}: it starts one by itself"
            yield Finding(Kind.SEED_MACHINE, name, "no instance of it runs", proposal)
        elif (status := live[name].status if name in live else "missing") != UP:
            proposal = "see the instance's log; its group replaces the instance when it is terminated"
            yield Finding(Kind.SEED_NODE, name, f"its instance runs, its node is {status}", proposal)


# Instances


def _machines(world: World) -> Iterator[Finding]:
    live = {node.address: node.name for node in world.nodes if not node.zombie}
    names = {node.name for node in world.nodes}
    keeps = {interface.id: interface.node for interface in world.interfaces}
    for machine in world.machines:
        member = world.members.get(machine.id)
        state = member.state if member else ""
        if state == RETAINED:
            proposal = "`fleetstream cluster dispose` ends it once its node is gone"
            yield Finding(Kind.RETAINED, machine.id, f"its removal was abandoned (node {machine.node})", proposal)
            continue
        if machine.state != "running":
            continue
        right = keeps.get(machine.interface) or live.get(machine.address)
        if right and machine.node != right:
            yield _tag(machine, right)
        elif machine.role == machinery.WORKER_ROLE and not right and machine.node not in names:
            yield from _without_node(machine, state)


def _tag(machine: Machine, name: str) -> Finding:
    def repair(tools: Tools) -> None:
        machinery.tag_node(tools.clients.ec2, machine.id, name)

    had = f"is tagged {machine.node}" if machine.node else "has no tag with its node's name"
    return Finding(Kind.TAG, machine.id, f"{name} runs on it, and it {had}", f"tag {machine.id} as {name}", repair)


def _without_node(machine: Machine, state: str) -> Iterator[Finding]:
    """One that joins, or leaves, is in one of the states in between: only what should work by now counts."""
    if state == IN_SERVICE:

        def repair(tools: Tools) -> None:
            tools.clients.autoscaling.terminate_instance_in_auto_scaling_group(
                InstanceId=machine.id, ShouldDecrementDesiredCapacity=False
            )

        proposal = f"terminate {machine.id}: its group starts another one, which joins"
        yield Finding(Kind.MACHINE_WITHOUT_NODE, machine.id, "it is in service without a node", proposal, repair)
    elif not state:
        proposal = "terminate it by hand, when it is nobody's"
        yield Finding(Kind.MACHINE_WITHOUT_NODE, machine.id, "it is in no group, and has no node", proposal)


# Nodes


def _nodes(world: World) -> Iterator[Finding]:
    for node in world.nodes:
        if node.is_seed or node.name in world.fleet.seeds:
            continue
        machine = _machine_of(node, world)
        state = world.members[machine.id].state if machine and machine.id in world.members else ""
        if state.startswith("Terminating") and state != RETAINED:
            continue
        running = machine is not None and machine.state == "running"
        if node.zombie and not running:
            yield _zombie(node, machine)
        elif node.zombie and machine is not None:
            proposal = f"restart the instance, or terminate {machine.id}: its group starts another one"
            yield Finding(Kind.NODE_DOWN, node.name, f"it is {node.status}, and {machine.id} runs", proposal)
        elif machine is None:
            proposal = "find out where it runs: no instance of the fleet has its address or its name"
            yield Finding(Kind.NODE_WITHOUT_MACHINE, node.name, f"it is {node.status} on {node.address}", proposal)
        elif node.intent and state == IN_SERVICE:
            yield _left_disabled(node, machine)


def _machine_of(node: Node, world: World) -> Machine | None:
    """The instance that a node runs on. A zombie's address may be another machine's by now."""
    by_name = next((machine for machine in world.machines if machine.node == node.name), None)
    if by_name is not None or node.zombie:
        return by_name
    return next((machine for machine in world.machines if machine.address == node.address), None)


def _zombie(node: Node, machine: Machine | None) -> Finding:
    def repair(tools: Tools) -> None:
        tools.gateway.remove_state(node.name)

    where = f"its instance {machine.id} is {machine.state}" if machine else "there is no instance of it"
    proposal = f"remove the state of {node.name}"
    return Finding(Kind.ZOMBIE, node.name, f"it is {node.status}, and {where}", proposal, repair)


def _left_disabled(node: Node, machine: Machine) -> Finding:
    def repair(tools: Tools) -> None:
        tools.gateway.activate(node.name)

    reason = f"it is {node.status} for {node.intent}, and nobody ends {machine.id}"
    return Finding(Kind.LEFT_DISABLED, node.name, reason, f"activate {node.name}", repair)


# The configuration


def _membership(world: World) -> Iterator[Finding]:
    """Lists the nodes that the cluster has, no more and no less."""
    live = {node.name: node for node in world.nodes}
    gone = sorted(name for name in world.listed if name not in live and name not in world.fleet.seeds)
    new = sorted(name for name, node in live.items() if name not in world.listed and not node.zombie)
    if not gone and not new:
        return
    told = [f"{name} is listed and gone" for name in gone] + [f"{name} has joined and is not listed" for name in new]
    if world.upgrading:
        yield Finding(Kind.MEMBERSHIP, "configuration", "; ".join(told), "wait until the upgrade that runs has ended")
        return

    def repair(tools: Tools) -> None:
        wanted = upgrade.membership(tools.gateway)
        with tools.steps(f"upgrade to {wanted.version}") as progress:
            upgrade.carry_out(tools.gateway, wanted, tools.limits, progress)

    proposal = "upgrade the configuration to the nodes that there are"
    yield Finding(Kind.MEMBERSHIP, "configuration", "; ".join(told), proposal, repair)
