"""The configuration: the installer's rules, what an upgrade may change, and how it goes."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from envs.sandbox.fabric import configuration, manifest
from envs.sandbox.fabric.configuration_reading import spell
from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.model import Cluster
from envs.sandbox.fabric.nodes import Status
from envs.sandbox.fabric.scripts import catching_up
from envs.sandbox.fabric.upgrade import UpgradeState
from tests.envs.sandbox.fabric.clusters import (
    PACE,
    VERSION,
    Clock,
    address,
    certificates,
    document,
    entry,
    formed,
    join,
    next_configuration,
    node_type,
)

ROLLED_OUT = 5 * PACE.upgrade_domain
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def types(found: dict[str, Any]) -> list[dict[str, Any]]:
    return found["properties"]["nodeTypes"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda found: found.pop("name"), "Name is missing"),
        (lambda found: found["properties"].pop("diagnosticsStore"), "DiagnosticsStore"),
        (lambda found: found["properties"].update(reliabilityLevel="Silver"), "ReliabilityLevel may not be set"),
        (lambda found: found["nodes"][0].pop("iPAddress"), r"Nodes\[0\] lacks IPAddress"),
        (lambda found: found["nodes"].__setitem__(slice(2, None), []), "one node or from 3 to 1000, not 2"),
        (lambda found: found["nodes"][1].update(nodeName="SEED-0"), "node name seed-0 is used by more than one"),
        (lambda found: found["nodes"][1].update(iPAddress=address("seed-0")), "machine .* is used by more than one"),
        (lambda found: found["nodes"][1].update(nodeName="a/b"), "characters that no file name may have"),
        (lambda found: found["nodes"][1].update(iPAddress="10.0.0.300"), "neither an IP address nor a host name"),
        (lambda found: found["nodes"][1].update(nodeTypeRef="Gpu"), "there is no node type Gpu"),
        (lambda found: found["nodes"][1].update(faultDomain="zone1"), "does not begin with fd:/"),
        (
            lambda found: [node.update(faultDomain=f"fd:/{n % 2}") for n, node in enumerate(found["nodes"])],
            "more than 2 fault domains, not 2",
        ),
        (
            lambda found: [node.update(upgradeDomain=f"UD{n % 2}") for n, node in enumerate(found["nodes"])],
            "more than 2 upgrade domains, not 2",
        ),
        (lambda found: types(found)[1].update(isPrimary=True), "Exactly one node type is primary, not 2"),
        (lambda found: types(found)[0].update(isPrimary=False), "not 0"),
        (lambda found: types(found).append(node_type("Seed", primary=False)), "Seed is there more than once"),
        (lambda found: types(found)[0].pop("leaseDriverEndpointPort"), "lacks LeaseDriverEndpointPort"),
        (lambda found: types(found)[0].update(leaseDriverEndpointPort="x"), "is no port"),
        (lambda found: types(found)[0].update(leaseDriverEndpointPort="19001"), "more than one endpoint"),
        (lambda found: types(found)[0].update(leaseDriverEndpointPort="20600"), "inside the application range"),
        (lambda found: types(found)[0]["ephemeralPorts"].update(endPort="20859"), "fewer than 255 ports"),
        (lambda found: types(found)[0]["applicationPorts"].update(endPort="20606"), "overlap"),
        (
            lambda found: [node.update(nodeTypeRef="Worker") for node in found["nodes"][2:]],
            "primary node type Seed has 2 nodes",
        ),
        (
            lambda found: found["properties"].update(security={"ServerCredentialType": "X509"}),
            "needs ClusterCertificateCommonNames",
        ),
        (
            lambda found: found["properties"].update(security={"ServerCredentialType": "Windows"}),
            "None and X509, not Windows",
        ),
    ],
)
def test_a_configuration_that_breaks_a_rule_is_refused_with_it(change: Change, told: str) -> None:
    wrong = document()
    change(wrong)
    with pytest.raises(FabricError, match=told):
        configuration.parse(wrong)


def test_every_broken_rule_is_told_at_once() -> None:
    wrong = document()
    wrong["nodes"][0]["nodeTypeRef"] = "Gpu"
    wrong["nodes"][1]["faultDomain"] = "zone1"
    with pytest.raises(FabricError, match=r"Gpu.*fd:/"):
        configuration.parse(wrong)


@pytest.mark.parametrize(
    ("seeds", "level", "chosen"),
    [(1, "Iron", 1), (3, "Bronze", 3), (4, "Bronze", 3), (5, "Silver", 5), (8, "Gold", 7), (11, "Platinum", 9)],
)
def test_reliability_and_seeds_follow_from_the_primary_nodes(seeds: int, level: str, chosen: int) -> None:
    found = configuration.parse(document(seeds))
    assert (found.reliability, len(found.seeds())) == (level, chosen)
    zones = [found.nodes[name].fault_domain for name in found.seeds()]
    assert len(set(zones)) == chosen


def test_a_joined_node_is_followed_by_an_upgrade_that_goes_domain_by_domain(clock: Clock) -> None:
    cluster = formed(clock)
    join(cluster, clock, 0)
    cluster.start_configuration_upgrade(next_configuration(cluster))
    assert cluster.configuration.version == "1.0.0"
    clock.passes(PACE.upgrade_domain * 2)
    cluster.tick()
    assert {node.config_version for node in cluster.nodes()} == {"1", "2"}
    clock.passes(PACE.upgrade_domain * 3)
    cluster.tick()
    assert cluster.upgrade is not None
    assert cluster.upgrade.state is UpgradeState.DONE
    assert cluster.configuration.version == "1.0.1"
    assert "worker-0" in cluster.configuration.nodes
    assert {node.config_version for node in cluster.nodes()} == {"2"}


def test_an_upgrade_keeps_nodes_from_joining_and_other_upgrades_from_starting(clock: Clock) -> None:
    cluster = formed(clock)
    cluster.start_configuration_upgrade(next_configuration(cluster))
    place = entry("worker-0", 0, "Worker")
    cluster.prepare(place["iPAddress"])

    def add() -> None:
        cluster.add_node("worker-0", "Worker", place["iPAddress"], "UD0", "fd:/zone0/0", VERSION)

    with pytest.raises(FabricError, match="FABRIC_E_FABRIC_UPGRADE_IN_PROGRESS"):
        add()
    with pytest.raises(FabricError, match=r"FABRIC_E_CONFIG_UPGRADE_FAILED.*in progress"):
        cluster.start_configuration_upgrade(next_configuration(cluster))
    clock.passes(ROLLED_OUT)
    add()


def test_after_a_join_the_configuration_has_to_list_exactly_the_nodes_there_are(clock: Clock) -> None:
    cluster = formed(clock)
    join(cluster, clock, 0, 1)
    wanted = next_configuration(cluster)
    for nodes in (
        [node for node in wanted["Nodes"] if node["NodeName"] != "worker-1"],
        [
            *wanted["Nodes"],
            spell(entry("worker-2", 2, "Worker")),
        ],
    ):
        with pytest.raises(FabricError, match="exactly its nodes"):
            cluster.start_configuration_upgrade({**wanted, "Nodes": nodes})
    cluster.start_configuration_upgrade(wanted)


def test_a_listed_node_that_never_joined_is_refused(clock: Clock) -> None:
    cluster = formed(clock)
    wanted = next_configuration(cluster)
    wanted["Nodes"].append(spell(entry("worker-2", 2, "Worker")))
    with pytest.raises(FabricError, match="worker-2 is not in the cluster"):
        cluster.start_configuration_upgrade(wanted)


def with_worker(clock: Clock) -> Cluster:
    """A cluster whose configuration lists a worker."""
    cluster = formed(clock)
    join(cluster, clock, 0)
    cluster.start_configuration_upgrade(next_configuration(cluster))
    clock.passes(ROLLED_OUT)
    return cluster


def test_a_node_whose_state_was_removed_has_to_be_named_by_the_next_upgrade(clock: Clock) -> None:
    cluster = with_worker(clock)
    cluster.deactivate("worker-0", "RemoveNode")
    clock.passes(100)
    cluster.lose(address("worker-0"))
    clock.passes(PACE.lease)
    cluster.remove_state("worker-0")
    # What the cluster answers has lost the node, and its manifest has not.
    assert "worker-0" not in str(cluster.current_configuration()["Nodes"])
    assert "worker-0" in manifest.render(cluster.configuration, cluster.seeds, cluster.manifest_version)
    unnamed = dict(cluster.current_configuration()) | {"ClusterConfigurationVersion": "1.0.2"}
    with pytest.raises(FabricError, match=r"NodesToBeRemoved.*worker-0"):
        cluster.start_configuration_upgrade(unnamed)
    cluster.start_configuration_upgrade(next_configuration(cluster))
    clock.passes(ROLLED_OUT)
    cluster.tick()
    assert "worker-0" not in cluster.configuration.nodes
    # The parameter stays in the configuration, and then names a node that is not there to be removed.
    left = dict(cluster.current_configuration()) | {"ClusterConfigurationVersion": "1.0.3"}
    with pytest.raises(FabricError, match="NodesToBeRemoved"):
        cluster.start_configuration_upgrade(left)
    cluster.start_configuration_upgrade(next_configuration(cluster))


def test_one_upgrade_does_not_add_and_remove_nodes(clock: Clock) -> None:
    cluster = with_worker(clock)
    wanted = next_configuration(cluster, without=("worker-0",))
    wanted["Nodes"].append(spell(entry("worker-2", 2, "Worker")))
    with pytest.raises(FabricError, match="added and removed by the same upgrade"):
        cluster.start_configuration_upgrade(wanted)


def test_an_upgrade_that_leaves_out_a_live_node_drains_it_and_then_ends_it(clock: Clock) -> None:
    cluster = with_worker(clock)
    cluster.start_configuration_upgrade(next_configuration(cluster, without=("worker-0",)))
    node = cluster.node("worker-0")
    assert node is not None
    assert node.status is Status.DISABLING
    clock.passes(PACE.safety_check + PACE.deactivate + ROLLED_OUT)
    cluster.tick()
    assert node.status is Status.DOWN
    assert "worker-0" not in cluster.configuration.nodes
    cluster.remove_state("worker-0")


def refuse(cluster: Cluster, change: Change) -> str:
    wanted = copy.deepcopy(next_configuration(cluster))
    change(wanted)
    with pytest.raises(FabricError, match="FABRIC_E_CONFIG_UPGRADE_FAILED: ValidationException") as caught:
        cluster.start_configuration_upgrade(wanted)
    return caught.value.message


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda found: found.update(Name="other"), "name of the cluster"),
        (lambda found: found.update(ClusterConfigurationVersion="1.0.1"), "already"),
        (lambda found: found["Nodes"][0].update(IPAddress="10.9.9.9"), "address and the node type"),
        (lambda found: found["Nodes"][-1].update(NodeTypeRef="Seed"), "address and the node type"),
        (lambda found: found["Nodes"][-1].update(NodeName="worker-9"), "cannot change to worker-9"),
        (lambda found: found["Properties"]["NodeTypes"].pop(0), "no node type Seed"),
        (
            lambda found: found["Properties"]["NodeTypes"][1].update(HttpGatewayEndpointPort="19090"),
            "HttpGatewayEndpointPort of the node type Worker",
        ),
        (lambda found: found["Properties"].update(Security=certificates()), "certificates"),
        (lambda found: found.update(ClusterCodeVersion="11.0.1.9590"), "no package of the version 11"),
        (lambda found: found["Nodes"].pop(), "NodesToBeRemoved"),
    ],
)
def test_what_an_upgrade_may_not_change_is_refused(clock: Clock, change: Change, told: str) -> None:
    assert told in refuse(with_worker(clock), change)


def test_an_upgrade_that_makes_no_healthy_cluster_is_rolled_back(clock: Clock) -> None:
    cluster = with_worker(clock)
    wanted = next_configuration(cluster)
    cluster.start_configuration_upgrade(wanted)
    cluster.lose(address("worker-0"))
    clock.passes(PACE.upgrade_domain + PACE.health_retry - 1)
    cluster.tick()
    assert cluster.upgrade is not None
    assert (cluster.upgrade.running, cluster.upgrade.finished) == (True, 1)
    clock.passes(1)
    cluster.tick()
    assert cluster.upgrade.state is UpgradeState.ROLLED_BACK
    assert (cluster.configuration.version, cluster.manifest_version) == ("1.0.1", 2)
    cluster.start_configuration_upgrade(wanted, max_unhealthy=20)
    clock.passes(ROLLED_OUT)
    cluster.tick()
    assert cluster.configuration.version == "1.0.2"


def test_an_upgrade_goes_on_once_the_cluster_is_healthy_again(clock: Clock) -> None:
    cluster = with_worker(clock)
    cluster.lose(address("worker-0"))
    cluster.start_configuration_upgrade(next_configuration(cluster))
    clock.passes(PACE.upgrade_domain + 5)
    cluster.prepare(address("worker-0"))
    cluster.start_node("worker-0", address("worker-0"), VERSION)
    clock.passes(PACE.joining + ROLLED_OUT)
    cluster.tick()
    assert cluster.configuration.version == "1.0.2"


def test_a_worker_that_joins_after_others_have_left_brings_the_configuration_to_the_nodes_there_are(
    clock: Clock,
) -> None:
    cluster = formed(clock)
    for number in range(2):
        join(cluster, clock, number)
        cluster.start_configuration_upgrade(catching_up(cluster))
        clock.passes(ROLLED_OUT)
        cluster.tick()
        assert f"worker-{number}" in cluster.configuration.nodes
        assert set(cluster.configuration.nodes) == {node.name for node in cluster.nodes()}
        cluster.lose(address(f"worker-{number}"))
        clock.passes(PACE.lease)
        cluster.remove_state(f"worker-{number}")
    assert "worker-1" in cluster.configuration.nodes
