"""Looks for what lost events and crashes left behind, and repairs it by the steps of a removal. Pure.

What it finds, and what becomes of it:

- a machine held by the hook: as if its event came now (a message under way is waited for);
- a node that is Down, Invalid or Unknown without a machine: its state is removed; a seed's never, it is reported;
- a node under a deactivation with the intent RemoveNode whose machine is in service: nobody leaves, it is activated,
  unless an upgrade of the configuration is what takes it out;
- the same with a machine that was retained, when the hook ended before the removal did: the removal is finished, and
  the machine is left to `fleetstream cluster dispose`. A machine in no group is reported and left alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from services.fabric.client import REMOVE_NODE, UP, Node
from services.fabric.errors import FabricServiceError
from services.fabric.lifecycle import IN_SERVICE, RETAINED, TERMINATING, WAITS, Action, Instance, Member
from services.fabric.scale_in.core import Outcome, Record, World, advance, failure, pursue
from services.fabric.scale_in.decision import present

RETAINED_MACHINES: Final = "Retained"
SEEDS_UP: Final = "SeedsUp"
CERTIFICATE_DAYS: Final = "CertificateDaysLeft"
SWEEPS: Final = "Sweeps"
"""What each sweep counts. The program's alarms are on these names; nothing is told of what nobody could ask for, and
of a sweep that did not come to its end."""
_DAY: Final = 24 * 3600


def sweep(world: World) -> None:
    """One look at the whole cluster. A gateway that does not answer is left to the next sweep.

    What AWS fails for one machine is raised at the end: the others are looked at before.
    """
    troubles: list[Exception] = []
    members = world.groups.members(world.cluster_name)
    world.gauge(RETAINED_MACHINES, sum(member.state == RETAINED for member in members))
    for member in members:
        if member.state == WAITS[TERMINATING]:
            with _apart(troubles):
                advance(world, Action(member.group, world.hook, member.instance, world.now()))
    answered = _sweep_nodes(world, troubles)
    with _apart(troubles):
        _count_days(world)
    if troubles:
        raise ExceptionGroup("the sweep found what AWS did not let it repair", troubles)
    if answered:
        world.gauge(SWEEPS, 1)


@contextmanager
def _apart(troubles: list[Exception]) -> Iterator[None]:
    """What fails inside is kept for later."""
    try:
        yield
    except Exception as error:
        troubles.append(error)


def _sweep_nodes(world: World, troubles: list[Exception]) -> bool:
    """Whether the cluster told of its nodes."""
    try:
        # The cluster first: what left it meanwhile then shows in the machines, which are read later.
        nodes = present(world.cluster.nodes())
    except FabricServiceError as error:
        world.record(Record("sweep", failure(error), str(error)))
        return False
    world.gauge(SEEDS_UP, sum(node.is_seed and node.status == UP for node in nodes))
    instances = world.machines.instances(world.cluster_name)
    places = {member.instance: member for member in world.groups.members(world.cluster_name)}
    for node in nodes:
        machine = machine_of(node, instances)
        with _apart(troubles):
            if node.is_seed and node.zombie:
                world.record(Record("sweep", Outcome.SEED_DOWN, f"seed is {node.status}", node.name))
            elif machine is None:
                _forget(world, node)
            elif node.intent == REMOVE_NODE:
                _settle(world, node, machine, places)
    return True


def _count_days(world: World) -> None:
    """Whole days until the first certificate ends, below zero afterwards."""
    try:
        first = min(world.certificates())
    except FabricServiceError as error:
        world.record(Record("certificates", failure(error), str(error)))
        return
    world.gauge(CERTIFICATE_DAYS, int((first - world.now()) // _DAY))


def machine_of(node: Node, instances: Sequence[Instance]) -> Instance | None:
    """The machine that a node is on: by its tag, and by its address where nobody has tagged it."""
    named = (instance for instance in instances if instance.node == node.name)
    placed = (instance for instance in instances if not instance.node and instance.address == node.address)
    return next(named, None) or next(placed, None)


def _forget(world: World, node: Node) -> None:
    if node.zombie:
        _try(world, node, "remove-node-state", f"{node.status} without an instance", world.cluster.remove_state)


def _settle(world: World, node: Node, machine: Instance, places: Mapping[str, Member]) -> None:
    """What becomes of a node that is being removed without a hook that waits for it."""
    member = places.get(machine.id)
    state = member.state if member else ""
    if state == IN_SERVICE:
        if not _being_upgraded(world, node):
            reason = f"deactivated, and instance {machine.id} is in service"
            _try(world, node, "activate", reason, world.cluster.activate)
    elif state == RETAINED and member:
        pursue(world, Action(member.group, "", machine.id, world.now()))
    elif not state:
        reason = f"being removed, and instance {machine.id} is in no group: activate it or end the instance"
        world.record(Record("sweep", Outcome.STRAY, reason, node.name, machine.id))


def _being_upgraded(world: World, node: Node) -> bool:
    """Whether the configuration is being changed, or may be."""
    try:
        if not world.cluster.upgrade_status().running:
            return False
        record = Record("activate", Outcome.WAITING, "the configuration is being changed", node.name)
    except FabricServiceError as error:
        record = Record("activate", failure(error), str(error), node.name)
    world.record(record)
    return True


def _try(world: World, node: Node, step: str, reason: str, operation: Callable[[str], None]) -> None:
    begun = world.now()
    outcome = Outcome.DONE
    try:
        operation(node.name)
    except FabricServiceError as error:
        outcome = failure(error)
        reason = f"{reason}: {error}"
    world.record(Record(step, outcome, reason, node.name, seconds=world.now() - begun))
