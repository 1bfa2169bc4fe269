"""What a worker on its way out needs next, from how its machine and the cluster look now. Pure.

The order is Service Fabric's ("Remove a node from a standalone cluster", "Node deactivation"): a node is
deactivated with the intent RemoveNode, which moves its replicas away; when it is Disabled its machine stops; when the
cluster sees that it is Down its state is removed, which is refused for a node that is up.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

from services.fabric.client import DISABLED, GONE_STATUSES, REMOVE_NODE, UP, Node
from services.fabric.lifecycle import ROLE_TAG, SEED, Instance

RELIABILITY: Final = (9, 7, 5, 3, 1)
"""How many replicas the system services want, from Platinum to a cluster of one; the seeds decide the level
(Service Fabric documentation, "Reliability characteristics of the cluster")."""


class Step(StrEnum):
    """What a removal is made of."""

    DEACTIVATE = "deactivate"
    STOP = "stop-instance"
    FORGET = "remove-node-state"
    WAIT = "wait"
    REFUSE = "refuse"
    RELEASE = "release"


ENDS: Final = (Step.WAIT, Step.REFUSE, Step.RELEASE)
"""What a delivery does not go beyond."""


@dataclass(frozen=True)
class Decision:
    """The next step, and why."""

    step: Step
    reason: str


Guard = Callable[[Node, Sequence[Node]], Decision | None]


def seeds_stay(node: Node, nodes: Sequence[Node]) -> Decision | None:  # noqa: ARG001 - a guard
    """The removal of a seed would be held by EnsureSeedNodeQuorum for ever."""
    if not node.is_seed:
        return None
    return Decision(Step.REFUSE, f"node {node.name} is a seed: take it out of the configuration's seeds first")


def one_at_a_time(node: Node, nodes: Sequence[Node]) -> Decision | None:
    """On EC2 there is no durability tier: a cluster loses one node at most at a time, as with Bronze."""
    if node.intent == REMOVE_NODE:
        return None
    leaving = sorted(
        other.name for other in present(nodes) if other.name != node.name and other.intent == REMOVE_NODE
    )
    return Decision(Step.WAIT, f"{', '.join(leaving)} leaves first") if leaving else None


def enough_remains(node: Node, nodes: Sequence[Node]) -> Decision | None:
    """What remains of the cluster decides, not the least size of a group."""
    if node.intent == REMOVE_NODE:
        return None
    need = next((size for size in RELIABILITY if size <= sum(other.is_seed for other in nodes)), 1)
    remain = sum(other.name != node.name and other.status == UP and not other.intent for other in nodes)
    if remain >= need:
        return None
    return Decision(
        Step.REFUSE,
        f"without node {node.name} {remain} nodes would be up, and the cluster's reliability needs {need}: bring "
        "back what is down, then `fleetstream cluster dispose`",
    )


GUARDS: Final[tuple[Guard, ...]] = (seeds_stay, one_at_a_time, enough_remains)


def present(nodes: Iterable[Node]) -> list[Node]:
    """Without those that the cluster only remembers as removed."""
    return [node for node in nodes if node.status not in GONE_STATUSES]


def by_machine(instance: Instance) -> Decision | None:
    """What the machine alone decides; None when the cluster must be asked."""
    if instance.tags.get(ROLE_TAG) == SEED:
        return Decision(Step.REFUSE, f"instance {instance.id} is a seed's: seeds stay")
    if not instance.node:
        return Decision(Step.RELEASE, f"instance {instance.id} has no tag `node`: it never joined")
    return None


def next_step(instance: Instance, nodes: Sequence[Node], guards: Sequence[Guard] = GUARDS) -> Decision:
    """What to do with a worker's machine and the node that its tag names."""
    node = next((node for node in present(nodes) if node.name == instance.node), None)
    if node is None:
        # It may have been about to join: what has stopped cannot.
        known = f"the cluster knows no node {instance.node}"
        return Decision(Step.RELEASE, known) if instance.halted else _stopped(instance, known)
    if elsewhere := _elsewhere(instance, node):
        return elsewhere
    for guard in guards:
        if obstacle := guard(node, nodes):
            return obstacle
    if node.zombie:
        seen = f"node {node.name} is {node.status}"
        return Decision(Step.FORGET, seen) if instance.halted else _stopped(instance, seen)
    if instance.state not in ("pending", "running"):
        return Decision(Step.WAIT, f"the cluster still sees node {node.name} {node.status}")
    if node.intent != REMOVE_NODE:
        return Decision(Step.DEACTIVATE, f"node {node.name} is {node.status}")
    if node.status != DISABLED:
        checks = f", held by {', '.join(node.pending_checks)}" if node.pending_checks else ""
        return Decision(Step.WAIT, f"node {node.name} is {node.status}: {node.deactivation}{checks}")
    return _stopped(instance, f"node {node.name} is {node.status}")


def _stopped(instance: Instance, reason: str) -> Decision:
    step = Step.STOP if instance.state == "running" else Step.WAIT
    return Decision(step, f"{reason}; instance {instance.id} is {instance.state}")


def _elsewhere(instance: Instance, node: Node) -> Decision | None:
    """A tag that names the node of another machine, which must not go in place of this one."""
    try:
        same = not instance.address or ip_address(node.address) == ip_address(instance.address)
    except ValueError:
        # A name: only the network could tell whose it is.
        return None
    if same:
        return None
    return Decision(
        Step.REFUSE,
        f"instance {instance.id} at {instance.address} is tagged with node {node.name}, which is at {node.address}: "
        "correct the tag",
    )
