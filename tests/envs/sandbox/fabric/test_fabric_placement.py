"""Replicas: where they are placed, how they leave a node, and that no order takes a partition's quorum."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.model import Cluster
from envs.sandbox.fabric.nodes import Health, Intent, Phase, Status
from envs.sandbox.fabric.placement import Partition
from tests.envs.sandbox.fabric.clusters import PACE, VERSION, Clock, address, formed, join, next_configuration


def serve(
    cluster: Cluster, clock: Clock, *, target: int = 3, minimum: int = 2, stateful: bool = True, name: str = "svc"
) -> Partition:
    """A service on the workers, with all its replicas."""
    partition = Partition(f"fabric:/app/{name}", stateful, target, minimum, types=frozenset({"Worker"}))
    cluster.tick()
    cluster.placement.partitions[partition.service] = partition
    cluster.placement.react({node.name: node for node in cluster.nodes()}, cluster.now)
    clock.passes(PACE.replica)
    cluster.tick()
    return partition


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cluster(clock: Clock) -> Cluster:
    found = formed(clock)
    join(found, clock, *range(4))
    return found


def primary(partition: Partition) -> str:
    return next(replica.node for replica in partition.replicas.values() if replica.primary)


def test_replicas_are_spread_over_nodes_and_fault_domains(cluster: Cluster, clock: Clock) -> None:
    partition = serve(cluster, clock)
    assert len(partition.replicas) == 3
    nodes = [node for node in cluster.nodes() if node.name in partition.replicas]
    assert {node.type for node in nodes} == {"Worker"}
    assert len({node.fault_domain for node in nodes}) == 3
    assert sum(replica.primary for replica in partition.replicas.values()) == 1


def test_of_two_nodes_the_one_in_a_fault_domain_of_its_own_is_chosen(cluster: Cluster, clock: Clock) -> None:
    beside = cluster.node("worker-0")
    assert beside is not None
    cluster.prepare("10.0.3.1")
    cluster.add_node("worker-0-beside", "Worker", "10.0.3.1", "UD9", beside.fault_domain, VERSION)
    clock.passes(PACE.joining)
    assert sorted(serve(cluster, clock, target=2).replicas) == ["worker-0", "worker-1"]


def test_a_node_that_dies_while_it_is_drained_is_not_done_before_its_replica_may_go(
    cluster: Cluster, clock: Clock
) -> None:
    partition = serve(cluster, clock, target=4, minimum=4)
    cluster.deactivate("worker-0", "RemoveNode")
    cluster.lose(address("worker-0"))
    clock.passes(PACE.lease + PACE.safety_check)
    node = cluster.node("worker-0")
    assert node is not None
    assert (node.status, node.deactivation.phase) == (Status.DOWN, Phase.CHECKING)
    assert [check.partition for check in cluster.pending_checks("worker-0")] == [partition.id]
    join(cluster, clock, 4)
    clock.passes(PACE.replica)
    cluster.tick()
    assert node.deactivation.phase is Phase.COMPLETED


def test_a_replica_leaves_a_node_once_its_successor_is_built(cluster: Cluster, clock: Clock) -> None:
    partition = serve(cluster, clock)
    leaving = primary(partition)
    cluster.deactivate(leaving, "RemoveNode")
    clock.passes(PACE.safety_check + PACE.replica - 1)
    assert [check.kind for check in cluster.pending_checks(leaving)] == ["EnsurePartitionQuorum"]
    assert len(partition.running) == 3
    clock.passes(1)
    cluster.tick()
    assert leaving not in partition.replicas
    assert len(partition.running) == 3
    assert primary(partition) != leaving
    clock.passes(PACE.deactivate)
    node = cluster.node(leaving)
    assert node is not None
    assert node.status is Status.DISABLED


def test_without_room_a_replica_goes_only_while_enough_others_are_up(cluster: Cluster, clock: Clock) -> None:
    partition = serve(cluster, clock, target=4, minimum=3)
    names = sorted(partition.replicas)
    cluster.deactivate(names[0], "RemoveNode")
    clock.passes(PACE.safety_check + PACE.replica)
    cluster.tick()
    assert sorted(partition.replicas) == names[1:]
    cluster.deactivate(names[1], "RemoveNode")
    clock.passes(1e5)
    assert [(check.kind, check.partition) for check in cluster.pending_checks(names[1])] == [
        ("EnsurePartitionQuorum", partition.id)
    ]
    assert len(partition.running) == 3
    join(cluster, clock, 4)
    clock.passes(PACE.replica)
    assert cluster.pending_checks(names[1]) == []


def test_an_instance_of_a_stateless_service_goes_in_any_case(cluster: Cluster, clock: Clock) -> None:
    partition = serve(cluster, clock, target=-1, stateful=False)
    assert len(partition.replicas) == 4
    cluster.deactivate("worker-0", "RemoveData")
    clock.passes(PACE.safety_check + PACE.replica + PACE.deactivate)
    node = cluster.node("worker-0")
    assert node is not None
    assert node.status is Status.DISABLED
    assert "worker-0" not in partition.replicas
    join(cluster, clock, 4)
    clock.passes(PACE.replica)
    cluster.tick()
    assert "worker-4" in partition.replicas


def test_a_restart_waits_for_the_primary_to_be_elsewhere_and_keeps_the_quorum(cluster: Cluster, clock: Clock) -> None:
    partition = serve(cluster, clock)
    first = primary(partition)
    cluster.deactivate(first, "Restart")
    clock.passes(PACE.safety_check)
    assert [check.kind for check in cluster.pending_checks(first)] == ["WaitForPrimarySwap"]
    clock.passes(PACE.replica + PACE.deactivate)
    cluster.tick()
    assert primary(partition) != first
    assert len(partition.running) == 2
    second = primary(partition)
    cluster.deactivate(second, "Restart")
    clock.passes(PACE.safety_check)
    assert [check.kind for check in cluster.pending_checks(second)] == ["EnsurePartitionQuorum"]
    cluster.activate(first)
    clock.passes(PACE.activate)
    cluster.tick()
    assert len(partition.running) == 3


def test_a_node_that_dies_hands_over_its_primary_and_is_replaced_when_it_stays_away(
    cluster: Cluster, clock: Clock
) -> None:
    partition = serve(cluster, clock)
    lost = primary(partition)
    cluster.lose(address(lost))
    clock.passes(PACE.lease)
    cluster.tick()
    assert primary(partition) != lost
    assert cluster.partition_health(partition) is Health.WARNING
    clock.passes(PACE.replica_restart_wait + PACE.replica)
    cluster.tick()
    assert lost not in partition.replicas
    assert len(partition.running) == 3


def test_a_node_that_comes_back_in_time_brings_its_replica_and_an_empty_one_does_not(
    cluster: Cluster, clock: Clock
) -> None:
    for empty, kept in ((False, True), (True, False)):
        partition = serve(cluster, clock, target=4, name=f"svc-{empty}")
        cluster.lose(address("worker-0"))
        clock.passes(PACE.lease)
        cluster.prepare(address("worker-0"))
        cluster.start_node("worker-0", address("worker-0"), VERSION, empty=empty)
        clock.passes(PACE.joining)
        cluster.tick()
        assert ("worker-0" in partition.replicas) is kept
        clock.passes(PACE.replica)
        cluster.tick()
        assert len(partition.running) == 4


def test_a_partition_that_lost_its_quorum_is_an_error_and_does_not_move(cluster: Cluster, clock: Clock) -> None:
    partition = serve(cluster, clock)
    spare = ({f"worker-{n}" for n in range(4)} - set(partition.replicas)).pop()
    lost = sorted(partition.replicas, key=lambda name: name != primary(partition))[:2]
    for name in lost:
        cluster.lose(address(name))
    clock.passes(PACE.lease + 1e5)
    cluster.tick()
    assert partition.quorum_lost
    assert not any(replica.primary for replica in partition.running)
    assert cluster.health() is Health.ERROR
    assert spare not in partition.replicas
    for name in lost:
        cluster.remove_state(name)
    assert not partition.quorum_lost
    clock.passes(PACE.replica)
    cluster.tick()
    assert spare in partition.replicas


class Fleet(RuleBasedStateMachine):
    """Machines come and go, nodes are deactivated, activated, removed and upgraded in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cluster = formed(self.clock)
        join(self.cluster, self.clock, 0, 1, 2, 3)
        self.partition = serve(self.cluster, self.clock)
        self.intents: dict[str, Intent] = {}
        self.instances: dict[str, int] = {}

    names = st.sampled_from([*(f"seed-{n}" for n in range(5)), *(f"worker-{n}" for n in range(6))])

    def order(self, code: str, *allowed: str) -> None:
        assert code in allowed

    @rule(seconds=st.sampled_from([0.5, 1, 3, 10, 100]))
    def time_passes(self, seconds: float) -> None:
        self.clock.passes(seconds)

    @rule(name=names, wanted=st.sampled_from(list(Intent)[1:]))
    def deactivate(self, name: str, wanted: Intent) -> None:
        if self.cluster.node(name) is not None and not self.cluster.lost:
            self.cluster.deactivate(name, wanted)

    @rule(name=names)
    def activate(self, name: str) -> None:
        if not self.cluster.lost:
            self.cluster.activate(name)
            self.intents.pop(name, None)

    @rule(name=names)
    def lose(self, name: str) -> None:
        self.cluster.lose(address(name))

    @rule(name=names, empty=st.booleans())
    def come_back(self, name: str, empty: bool) -> None:
        self.cluster.prepare(address(name))
        try:
            self.cluster.start_node(name, address(name), VERSION, empty=empty)
        except FabricError as error:
            self.order(error.code, "FABRIC_E_NODE_IS_UP", "FABRIC_E_NODE_NOT_FOUND")

    @rule(number=st.integers(0, 5))
    def add(self, number: int) -> None:
        try:
            join(self.cluster, self.clock, number)
        except FabricError as error:
            self.order(error.code, "E_INVALIDARG", "FABRIC_E_NO_WRITE_QUORUM", "FABRIC_E_FABRIC_UPGRADE_IN_PROGRESS")

    @rule(name=names)
    def remove_state(self, name: str) -> None:
        node = self.cluster.node(name)
        up = node is not None and node.up
        try:
            self.cluster.remove_state(name)
        except FabricError as error:
            allowed = "FABRIC_E_NODE_IS_UP" if up else "FABRIC_E_NODE_NOT_FOUND"
            self.order(error.code, allowed, "FABRIC_E_NO_WRITE_QUORUM")
        else:
            assert not up
            assert self.cluster.node(name) is None
            self.intents.pop(name, None)

    @precondition(lambda self: not self.cluster.lost)
    @rule()
    def upgrade(self) -> None:
        try:
            self.cluster.start_configuration_upgrade(next_configuration(self.cluster))
        except FabricError as error:
            self.order(error.code, "FABRIC_E_CONFIG_UPGRADE_FAILED")

    @invariant()
    def a_seed_is_never_disabled_for_removal(self) -> None:
        for node in self.cluster.nodes():
            if self.cluster.is_seed(node.name) and node.deactivation.intent is Intent.REMOVE_NODE:
                assert node.deactivation.phase is Phase.CHECKING or not node.up

    @invariant()
    def an_intent_never_falls(self) -> None:
        for node in self.cluster.nodes():
            assert node.deactivation.intent >= self.intents.get(node.name, Intent.INVALID)
            self.intents[node.name] = node.deactivation.intent

    @invariant()
    def instances_rise(self) -> None:
        for node in self.cluster.nodes():
            assert node.instance >= self.instances.get(node.name, 0)
            self.instances[node.name] = node.instance

    @invariant()
    def a_node_disabled_for_removal_has_no_replica(self) -> None:
        for node in self.cluster.nodes():
            if node.status is Status.DISABLED and node.deactivation.intent.removes:
                assert node.name not in self.partition.replicas

    @invariant()
    def replicas_are_on_nodes_that_are_remembered_and_one_is_primary(self) -> None:
        nodes = {node.name: node for node in self.cluster.nodes()}
        for replica in self.partition.replicas.values():
            assert not replica.up or nodes[replica.node].up
            assert replica.node in nodes
        if not self.partition.quorum_lost and self.partition.running and not self.cluster.lost:
            assert sum(replica.primary for replica in self.partition.replicas.values()) == 1


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
