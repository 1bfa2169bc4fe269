"""A Service Fabric cluster as its clients see it: nodes, seeds, deactivation, configuration. Pure and deterministic.

Behaviour follows the Failover Manager's source (microsoft/service-fabric, `src/prod/src/Reliability/Failover/fm`:
`NodeCache.cpp`, `DeactivateNodesContext.cpp`, `FailoverManager.cpp`). Time comes from the clock that is given; see
`course.py`. Threads share a cluster by holding its `lock`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from envs.sandbox.fabric import application_upgrade, changes, configuration
from envs.sandbox.fabric.applications import Applications
from envs.sandbox.fabric.configuration import Configuration
from envs.sandbox.fabric.configuration_reading import NodeEntry
from envs.sandbox.fabric.course import Course, Start
from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.nodes import Deactivation, Health, Intent, Node, Phase, SafetyCheck, intent
from envs.sandbox.fabric.placement import Partition
from envs.sandbox.fabric.timings import Timings
from envs.sandbox.fabric.upgrade import Upgrade


class Cluster(Course):
    """One cluster, formed or not."""

    def __init__(self, clock: Callable[[], float], timings: Timings | None = None) -> None:
        super().__init__(clock, timings)
        self.applications = Applications(self.placement, self._react)

    # What can be asked

    @property
    def now(self) -> float:
        """The time the model has caught up with."""
        return self._now

    @property
    def formed(self) -> bool:
        """Whether there is a cluster."""
        return self._configuration is not None

    @property
    def configuration(self) -> Configuration:
        """The configuration applied last. Raises `FabricError` when no cluster was formed."""
        if self._configuration is None:
            raise FabricError("FABRIC_E_NOT_READY", "no cluster has been formed")
        return self._configuration

    @property
    def seeds(self) -> tuple[str, ...]:
        """The names of the seed nodes."""
        return self._seeds

    @property
    def seeds_up(self) -> int:
        """How many seed nodes are up."""
        self.tick()
        return self._seeds_up()

    @property
    def lost(self) -> bool:
        """Whether there are fewer seed nodes up than a quorum: then nothing can be asked or ordered."""
        self.tick()
        return self._lost()

    def require_quorum(self) -> None:
        """Raises `FabricError` unless there is a cluster with a quorum of its seed nodes."""
        self.tick()
        _ = self.configuration
        if self._lost():
            raise FabricError(
                "FABRIC_E_NO_WRITE_QUORUM",
                f"{self._seeds_up()} of {len(self._seeds)} seed nodes are up, and {self.quorum} are needed",
            )

    def is_seed(self, name: str) -> bool:
        """Whether the node is a seed node."""
        return name in self._seeds

    def all_nodes(self) -> list[Node]:
        """Every node that is remembered, unknown and removed ones too, in the order of their identities."""
        self.tick()
        return sorted(self._nodes.values(), key=lambda node: node.id)

    def nodes(self) -> list[Node]:
        """The nodes as a list shows them when no status is asked for: without unknown and removed ones."""
        return [node for node in self.all_nodes() if node.known and node.removed is None]

    def node(self, name: str) -> Node | None:
        """One of `nodes`."""
        return next((node for node in self.nodes() if node.name == name), None)

    def pending_checks(self, name: str) -> list[SafetyCheck]:
        """What holds the deactivation of a node."""
        self.tick()
        node = self._nodes.get(name)
        return self._checks(node) if node is not None and node.deactivation.phase is Phase.CHECKING else []

    def node_health(self, name: str) -> Health:
        """A node that is down is an error (`HealthReportFactory.cpp`: FM_NodeDown)."""
        node = self.node(name)
        if node is None:
            raise FabricError("FABRIC_E_HEALTH_ENTITY_NOT_FOUND", f"there is no node {name}")
        return Health.OK if node.up else Health.ERROR

    def partition_health(self, partition: Partition) -> Health:
        """Lost quorum is an error, too few replicas a warning."""
        self.tick()
        if partition.quorum_lost:
            return Health.ERROR
        wanted = max(partition.target, 0)
        return Health.OK if len(partition.running) >= wanted else Health.WARNING

    def health(self) -> Health:
        """The worst of all: no share of nodes or applications may be unhealthy unless a policy says so."""
        found = {self.node_health(node.name) for node in self.nodes()}
        found |= {self.partition_health(partition) for partition in self.placement.partitions.values()}
        return next((state for state in (Health.ERROR, Health.WARNING) if state in found), Health.OK)

    def current_configuration(self) -> Mapping[str, Any]:
        """As Get-ServiceFabricClusterConfiguration answers: the configuration with the nodes that are there now."""
        self.require_quorum()
        live = sorted(self.nodes(), key=lambda node: node.name)
        return self.configuration.with_nodes(
            NodeEntry(node.name, node.address, node.type, node.fault_domain, node.upgrade_domain) for node in live
        )

    # What happens to machines

    def prepare(self, address: str) -> None:
        """The machine at the address is up, and its scripts have made it ready for Service Fabric."""
        self.tick()
        self._machines.add(address)

    def lose(self, address: str) -> None:
        """The machine ended or cannot be reached: its node is down once the lease has run out."""
        self.tick()
        self._machines.discard(address)
        self._starting = {name: start for name, start in self._starting.items() if start.node.address != address}
        for node in self._nodes.values():
            if node.address == address and node.up:
                self._losing.setdefault(node.name, self._now + self.timings.lease)

    def start_node(self, name: str, address: str, version: str, *, empty: bool = False) -> None:
        """The runtime of a node that the cluster knows starts (again), with its data root or with an `empty` one.

        Raises `FabricError` for a name, address or version that is not this node's.
        """
        self.tick()
        node = self._nodes.get(name) or self._listed(name)
        if node is None or not node.known:
            raise FabricError("FABRIC_E_NODE_NOT_FOUND", f"{name} never joined: it has to be added")
        if node.up and name not in self._losing:
            raise FabricError("FABRIC_E_NODE_IS_UP", f"{name} is up already")
        if node.address != address:
            raise FabricError("FABRIC_E_INVALID_ADDRESS", f"the address of {name} is {node.address}, not {address}")
        self._require(address, version)
        self._starting[name] = Start(node, self._now + self.timings.joining, empty)

    def add_node(
        self, name: str, node_type: str, address: str, upgrade_domain: str, fault_domain: str, version: str
    ) -> None:
        """AddNode.ps1 on a prepared machine. The node comes up after a while, unless its machine ends before.

        A configuration upgrade has to follow: until then the next one has to name exactly the nodes there are.
        Raises `FabricError`.
        """
        self.require_quorum()
        if self.upgrade is not None and self.upgrade.running:
            raise FabricError("FABRIC_E_FABRIC_UPGRADE_IN_PROGRESS", f"{name} cannot join during an upgrade")
        if node_type not in self.configuration.types:
            raise FabricError("E_INVALIDARG", f"{name}: the cluster has no node type {node_type}")
        there = [*self.nodes(), *(start.node for start in self._starting.values())]
        for node in there:
            if node.name.lower() == name.lower():
                raise FabricError("E_INVALIDARG", f"there is a node {node.name} already")
            if node.address == address:
                raise FabricError("E_INVALIDARG", f"{address} is the address of the node {node.name}")
        self._require(address, version)
        node = Node(name, node_type, address, upgrade_domain, fault_domain)
        self._starting[name] = Start(node, self._now + self.timings.joining, True)

    # What can be ordered

    def test_configuration(self, document: Mapping[str, Any]) -> Configuration:
        """TestConfiguration.ps1: the rules, and every machine ready. Raises `FabricError`."""
        self.tick()
        wanted = configuration.parse(document)
        missing = [entry.address for entry in wanted.nodes.values() if entry.address not in self._machines]
        if missing:
            raise FabricError(
                "FABRIC_E_INVALID_CONFIGURATION", f"these machines are not up and prepared: {', '.join(missing)}"
            )
        return wanted

    def form(self, document: Mapping[str, Any], version: str) -> None:
        """CreateServiceFabricCluster.ps1 with the runtime's version. Raises `FabricError`."""
        if self.formed:
            raise FabricError("E_INVALIDARG", "there is a cluster on these machines already")
        wanted = self.test_configuration(document)
        self._configuration, self._seeds, self.code_version = wanted, wanted.seeds(), version
        for entry in wanted.nodes.values():
            node = Node(entry.name, entry.type, entry.address, entry.upgrade_domain, entry.fault_domain)
            self._starting[entry.name] = Start(node, self._now + self.timings.forming, True)

    def deactivate(self, name: str, wanted: str | int) -> None:
        """Begins, or strengthens, the deactivation of a node: an intent rises and never falls.

        As in the product, a name without a node is noted as an unknown node. Raises `FabricError`.
        """
        self.require_quorum()
        aim = intent(wanted)
        node = self._nodes.setdefault(name, Node(name, known=False, since=self._now))
        if aim > node.deactivation.intent:
            idle = aim is Intent.PAUSE or not (node.up or aim.removes)
            node.deactivation = (
                Deactivation(aim, Phase.COMPLETED)
                if idle
                else Deactivation(aim, Phase.CHECKING, self._now + self.timings.safety_check)
            )
        self._react()

    def activate(self, name: str) -> None:
        """Ends the deactivation of a node; nothing to do is no error. Raises `FabricError`."""
        self.require_quorum()
        node = self._nodes.get(name)
        if node is None or not node.deactivation.active:
            return
        node.deactivation = (
            Deactivation(phase=Phase.ACTIVATING, due=self._now + self.timings.activate) if node.up else Deactivation()
        )
        self._react()

    def remove_state(self, name: str) -> None:
        """The cluster forgets a node that is down for good, its replicas included; a second time changes nothing.

        Its deactivation is remembered: a node that joins under the same name is still deactivated. A seed node stays
        one of the seed nodes that a quorum is counted of. Raises `FabricError` for a node that is up or unheard of.
        """
        self.require_quorum()
        node = self._nodes.get(name)
        if node is None:
            raise FabricError("FABRIC_E_NODE_NOT_FOUND", f"there is no node {name}")
        if node.up:
            raise FabricError("FABRIC_E_NODE_IS_UP", f"node {name} is up: its state can be removed once it is down")
        if node.removed is None:
            self.placement.forget(name)
            node.removed = self._now
        self._react()

    def start_configuration_upgrade(self, document: Mapping[str, Any], max_unhealthy: int = 0) -> None:
        """Begins to change the cluster's configuration. Raises `FabricError` when the change is not accepted."""
        self.require_quorum()
        if self.upgrade is not None and self.upgrade.running:
            raise FabricError(changes.CODE, "FabricException: a cluster configuration upgrade is already in progress")
        target = configuration.parse(document, changes.CODE)
        removed = changes.judge(self.configuration, target, self.code_version, self.nodes())
        self.upgrade = Upgrade(
            target,
            self.manifest_version + 1,
            self._now,
            tuple(sorted({node.upgrade_domain for node in self.nodes()})),
            removed,
            max_unhealthy,
        )
        for name in removed:
            if (node := self._nodes.get(name)) is not None and node.up and name not in self._seeds:
                self.deactivate(name, Intent.REMOVE_NODE)
        self._react()

    def upgrade_application(self, application_id: str, order: application_upgrade.Order) -> None:
        """Begins to change an application to another version of its type. Raises `FabricError`."""
        self.require_quorum()
        found = self.applications.require(application_id)
        domains = sorted({node.upgrade_domain for node in self.nodes()})
        application_upgrade.start(self.applications, found, order, self._now, self.timings.upgrade_domain, domains)

    def _timers(self) -> Iterator[tuple[float, Callable[[], None]]]:
        yield from super()._timers()
        if not self._lost():
            yield from application_upgrade.timers(self.applications, self._nodes, self.timings.upgrade_domain)

    def _require(self, address: str, version: str) -> None:
        if address not in self._machines:
            raise FabricError("FABRIC_E_INVALID_ADDRESS", f"the machine at {address} is not up and prepared")
        if version != self.code_version:
            raise FabricError(
                "FABRIC_E_FABRIC_VERSION_NOT_FOUND",
                f"the runtime on {address} is {version}, and the cluster's is {self.code_version}",
            )

    def _listed(self, name: str) -> Node | None:
        entry = self.configuration.nodes.get(name)
        if entry is None:
            return None
        return Node(entry.name, entry.type, entry.address, entry.upgrade_domain, entry.fault_domain)
