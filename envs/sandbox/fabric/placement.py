"""Where the replicas of services are, and how they move. Pure: time and nodes are given in.

Kept are the rules that decide whether a node may leave: one replica of a partition a node, spread over fault and
upgrade domains; a replica leaves once its successor is built; without room for one it may go only while at least
MinReplicaSetSize others are up; a majority of a partition's replicas makes its quorum, and without it nothing moves
(Service Fabric documentation, "Disaster recovery in Azure Service Fabric"; `DeactivateNodesContext.cpp`). What the
replicas hold is not kept.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from envs.sandbox.fabric.nodes import Intent, Node, Phase, SafetyCheck
from envs.sandbox.fabric.timings import Timings

_EVERYWHERE = -1
"""The instance count of a stateless service that runs on every node."""


@dataclass
class Replica:
    """One replica, or one instance of a stateless service."""

    number: int
    node: str
    primary: bool = False
    down_since: float | None = None

    @property
    def up(self) -> bool:
        """Whether it answers."""
        return self.down_since is None


@dataclass
class Work:
    """A change on its way: a replica of `leaving` ends, one at `arriving` begins, or both, or the primary swaps."""

    due: float
    leaving: str = ""
    arriving: str = ""
    swap: bool = False


@dataclass
class Partition:
    """The one partition of a service."""

    service: str
    stateful: bool
    target: int
    minimum: int
    persisted: bool = True
    types: frozenset[str] = frozenset()
    """The node types it may be placed on; empty for all."""
    replicas: dict[str, Replica] = field(default_factory=dict)
    work: list[Work] = field(default_factory=list)
    made: int = 0

    @property
    def id(self) -> str:
        """Follows from the service's name."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.service))

    @property
    def running(self) -> list[Replica]:
        """The replicas that are up, the oldest first."""
        return sorted((replica for replica in self.replicas.values() if replica.up), key=lambda found: found.number)

    @property
    def quorum_lost(self) -> bool:
        """Whether fewer replicas are up than a majority."""
        return self.stateful and bool(self.replicas) and len(self.running) < len(self.replicas) // 2 + 1


class Placement:
    """All partitions of a cluster."""

    def __init__(self, timings: Timings) -> None:
        self._timings = timings
        self.partitions: dict[str, Partition] = {}

    def timers(self) -> Iterator[tuple[float, Callable[[], None]]]:
        """When what happens by itself."""
        for partition in self.partitions.values():
            for work in () if partition.quorum_lost else partition.work:
                yield work.due, lambda at=partition, done=work: self._finish(at, done)
            for replica in partition.replicas.values():
                if replica.down_since is not None:
                    due = replica.down_since + self._timings.replica_restart_wait
                    if not partition.quorum_lost:
                        yield due, lambda at=partition, name=replica.node: self._drop(at, name)

    def went_down(self, node: str, now: float) -> None:
        """The node, or the replicas on it, ended. A stateless instance is forgotten; a replica may come back."""
        for partition in self.partitions.values():
            partition.work = [work for work in partition.work if work.arriving != node and work.leaving != node]
            if (replica := partition.replicas.get(node)) is not None and replica.up:
                replica.down_since = now
                if not partition.stateful or not partition.persisted:
                    self._drop(partition, node)

    def came_up(self, node: str) -> None:
        """The node's replicas are back with what they hold."""
        for partition in self.partitions.values():
            if (replica := partition.replicas.get(node)) is not None:
                replica.down_since = None

    def forget(self, node: str) -> None:
        """The node's replicas will not come back: its state was removed, or is empty."""
        for partition in self.partitions.values():
            self._drop(partition, node)

    def pending(self, node: Node) -> list[SafetyCheck]:
        """What the replicas on a node hold against its deactivation."""
        checks: list[SafetyCheck] = []
        for partition in self._ordered():
            replica = partition.replicas.get(node.name)
            if replica is None:
                continue
            if node.deactivation.intent.removes:
                checks.append(SafetyCheck("EnsurePartitionQuorum", partition.id))
            elif node.deactivation.intent is Intent.RESTART and replica.up:
                if partition.stateful and partition.target > 1 and not _quorum_without(partition, node.name):
                    checks.append(SafetyCheck("EnsurePartitionQuorum", partition.id))
                elif replica.primary and len(partition.running) > 1:
                    checks.append(SafetyCheck("WaitForPrimarySwap", partition.id))
        return checks

    def react(self, nodes: Mapping[str, Node], now: float) -> None:
        """Begins what has become possible or necessary."""
        for partition in self._ordered():
            partition.work = [work for work in partition.work if self._stands(partition, work, nodes)]
            if partition.quorum_lost:
                continue
            self._promote(partition)
            for name in sorted(partition.replicas):
                self._leave(partition, nodes[name], nodes, now)
            self._fill(partition, nodes, now)

    def _leave(self, partition: Partition, node: Node, nodes: Mapping[str, Node], now: float) -> None:
        replica, deactivation = partition.replicas[node.name], node.deactivation
        if deactivation.phase is not Phase.CHECKING or deactivation.due is not None:
            return
        if any(work.leaving == node.name for work in partition.work):
            return
        due = now + self._timings.replica
        if deactivation.intent.removes:
            target = self._room(partition, nodes)
            others = sum(other.up for other in partition.replicas.values() if other is not replica)
            if target is not None:
                partition.work.append(Work(due, node.name, target))
            elif not partition.stateful or others >= partition.minimum:
                partition.work.append(Work(due, node.name))
        elif deactivation.intent is Intent.RESTART and replica.primary and _quorum_without(partition, node.name):
            partition.work.append(Work(due, node.name, swap=True))

    def _fill(self, partition: Partition, nodes: Mapping[str, Node], now: float) -> None:
        coming = sum(bool(work.arriving) and not work.leaving for work in partition.work)
        while partition.target == _EVERYWHERE or len(partition.replicas) + coming < partition.target:
            target = self._room(partition, nodes)
            if target is None:
                return
            partition.work.append(Work(now + self._timings.replica, arriving=target))
            coming += 1

    def _room(self, partition: Partition, nodes: Mapping[str, Node]) -> str | None:
        taken = {*partition.replicas, *(work.arriving for work in partition.work)}
        free = [
            node
            for node in nodes.values()
            if node.takes_replicas
            and node.name not in taken
            and (not partition.types or node.type in partition.types)
        ]
        used = [nodes[name] for name in sorted(taken) if name in nodes]
        return (
            min(
                free,
                key=lambda node: (
                    sum(other.fault_domain == node.fault_domain for other in used),
                    sum(other.upgrade_domain == node.upgrade_domain for other in used),
                    self._load(node.name),
                    node.name,
                ),
                default=Node(""),
            ).name
            or None
        )

    def _load(self, node: str) -> int:
        return sum(
            (node in partition.replicas) + sum(work.arriving == node for work in partition.work)
            for partition in self.partitions.values()
        )

    def _stands(self, partition: Partition, work: Work, nodes: Mapping[str, Node]) -> bool:
        if work.leaving and (work.leaving not in partition.replicas or not nodes[work.leaving].deactivation.active):
            return False
        return not work.arriving or nodes[work.arriving].takes_replicas

    def _finish(self, partition: Partition, work: Work) -> None:
        partition.work.remove(work)
        if work.arriving:
            partition.made += 1
            partition.replicas[work.arriving] = Replica(partition.made, work.arriving)
        if work.swap:
            partition.replicas[work.leaving].primary = False
            for replica in [other for other in partition.running if other.node != work.leaving][:1]:
                replica.primary = True
        elif work.leaving:
            self._drop(partition, work.leaving)
        self._promote(partition)

    def _drop(self, partition: Partition, node: str) -> None:
        partition.replicas.pop(node, None)
        partition.work = [work for work in partition.work if work.leaving != node]

    def _promote(self, partition: Partition) -> None:
        running = partition.running
        if partition.stateful and running and not any(replica.primary for replica in running):
            for replica in partition.replicas.values():
                replica.primary = replica is running[0]

    def _ordered(self) -> list[Partition]:
        return [self.partitions[name] for name in sorted(self.partitions)]


def _quorum_without(partition: Partition, node: str) -> bool:
    others = sum(replica.up for replica in partition.replicas.values() if replica.node != node)
    return not partition.stateful or others >= len(partition.replicas) // 2 + 1
