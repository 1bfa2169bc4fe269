"""The contract with Microsoft's clients: sfctl and azure-servicefabric understand the gateway, and it them."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from envs.sandbox.fabric.gateway import Gateway, TlsFiles
from envs.sandbox.fabric.model import Cluster
from tests.envs.sandbox.fabric.certificates import authority
from tests.envs.sandbox.fabric.clients import Clients, connected, environment
from tests.envs.sandbox.fabric.clusters import (
    PACE,
    VERSION,
    Clock,
    address,
    certificates,
    formed,
    join,
    next_configuration,
)
from tests.envs.sandbox.fabric.package import guest

# One gateway and one process of the clients for all of them.
pytestmark = pytest.mark.xdist_group("fabric-clients")


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def cluster(clock: Clock) -> Cluster:
    found = formed(clock)
    join(found, clock, *range(4))
    return found


@pytest.fixture(scope="module")
def gateway(cluster: Cluster) -> Iterator[Gateway]:
    found = Gateway(cluster, page_size=4)
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def clients(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    with connected(tmp_path_factory.mktemp("home"), gateway.url) as found:
        assert found.sfctl("cluster", "select", "--endpoint", gateway.url) is None
        yield found


def test_the_command_itself_selects_a_cluster(gateway: Gateway, tmp_path: Path) -> None:
    ended = subprocess.run(
        [environment() / "bin" / "sfctl", "cluster", "select", "--endpoint", gateway.url],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert gateway.url in (tmp_path / ".sfctl" / "config").read_text()


def test_sfctl_shows_the_cluster(clients: Clients, cluster: Cluster) -> None:
    health = clients.sfctl("cluster", "health")
    assert health["aggregatedHealthState"] == "Ok"
    assert {item["name"] for item in health["nodeHealthStates"]} == {node.name for node in cluster.nodes()}
    manifest = clients.sfctl("cluster", "manifest")["manifest"]
    assert 'NodeName="seed-4"' in manifest
    assert 'IsSeedNode="true"' in manifest
    progress = clients.sfctl("cluster", "upgrade-status")
    assert (progress["upgradeState"], progress["codeVersion"]) == ("RollingForwardCompleted", VERSION)


def test_sfctl_pages_through_the_nodes(clients: Clients) -> None:
    names, token = [], ""
    while True:
        more = ["--continuation-token", token] if token else []
        page = clients.sfctl("node", "list", *more)
        assert len(page["items"]) <= 4
        names += [item["name"] for item in page["items"]]
        token = page["continuationToken"]
        if not token:
            break
    assert sorted(names) == [*(f"seed-{n}" for n in range(5)), *(f"worker-{n}" for n in range(4))]


def test_sfctl_takes_a_node_out_of_the_cluster(clients: Clients, cluster: Cluster, clock: Clock) -> None:
    info = clients.sfctl("node", "info", "--node-name", "worker-3")
    assert (info["nodeStatus"], info["isSeedNode"], info["type"]) == ("Up", False, "Worker")
    assert clients.sfctl("node", "health", "--node-name", "worker-3")["aggregatedHealthState"] == "Ok"
    clients.sfctl("node", "disable", "--node-name", "worker-3", "--deactivation-intent", "Pause")
    assert clients.sfctl("node", "info", "--node-name", "worker-3")["nodeStatus"] == "Disabled"
    clients.sfctl("node", "enable", "--node-name", "worker-3")
    clock.passes(PACE.activate)
    clients.sfctl("node", "disable", "--node-name", "worker-3", "--deactivation-intent", "RemoveNode")
    info = clients.sfctl("node", "info", "--node-name", "worker-3")
    assert info["nodeStatus"] == "Disabling"
    assert info["nodeDeactivationInfo"]["nodeDeactivationIntent"] == "RemoveNode"
    assert "FABRIC_E_NODE_IS_UP" in clients.sfctl_fails("node", "remove-state", "--node-name", "worker-3")
    clock.passes(PACE.safety_check + PACE.deactivate)
    info = clients.sfctl("node", "info", "--node-name", "worker-3")
    assert info["nodeDeactivationInfo"]["nodeDeactivationStatus"] == "Completed"
    cluster.lose(address("worker-3"))
    clock.passes(PACE.lease)
    assert clients.sfctl("node", "health", "--node-name", "worker-3")["aggregatedHealthState"] == "Error"
    clients.sfctl("node", "remove-state", "--node-name", "worker-3")
    assert clients.sfctl("node", "info", "--node-name", "worker-3") is None


def test_sfctl_deploys_a_guest_executable(clients: Clients, clock: Clock, tmp_path: Path) -> None:
    folder = guest(tmp_path / "Consumer")
    clients.sfctl("application", "upload", "--path", str(folder))
    assert [item["storeRelativePath"] for item in clients.sfctl("store", "root-info")["storeFolders"]] == ["Consumer"]
    clients.sfctl("application", "provision", "--application-type-build-path", "Consumer")
    assert [item["version"] for item in clients.sfctl("application", "type-list")["items"]] == ["1.0.0"]
    clients.sfctl(
        *("application", "create", "--app-name", "fabric:/Consumer", "--app-type", "ConsumerType"),
        *("--app-version", "1.0.0", "--parameters", json.dumps({"Instances": "2"})),
    )
    clock.passes(PACE.replica)
    assert [item["id"] for item in clients.sfctl("application", "list")["items"]] == ["Consumer"]
    info = clients.sfctl("application", "info", "--application-id", "Consumer")
    assert (info["status"], info["healthState"]) == ("Ready", "Ok")
    services = clients.sfctl("service", "list", "--application-id", "Consumer")["items"]
    assert [(item["name"], item["serviceKind"]) for item in services] == [("fabric:/Consumer/Service", "Stateless")]
    clients.sfctl("store", "delete", "--content-path", "Consumer")
    assert "APPLICATION_TYPE_IN_USE" in clients.sfctl_fails(
        *("application", "unprovision", "--application-type-name", "ConsumerType"),
        *("--application-type-version", "1.0.0"),
    )
    clients.sfctl("application", "delete", "--application-id", "Consumer")
    clients.sfctl(
        *("application", "unprovision", "--application-type-name", "ConsumerType"),
        *("--application-type-version", "1.0.0"),
    )
    assert clients.sfctl("application", "type-list")["items"] == []


def test_sfctl_says_what_the_gateway_does_not_know(clients: Clients) -> None:
    assert "GET /Nodes/seed-0/$/GetLoadInformation" in clients.sfctl_fails("node", "load", "--node-name", "seed-0")


def test_the_library_reads_nodes_and_refusals(clients: Clients) -> None:
    assert clients.call("get_node_info", node_name="nobody") is None
    assert clients.call("get_node_info", node_name="seed-0")["is_seed_node"] is True
    assert clients.refused("remove_node_state", node_name="nobody") == "FABRIC_E_NODE_NOT_FOUND"
    assert clients.refused("remove_node_state", node_name="seed-0") == "FABRIC_E_NODE_IS_UP"
    assert clients.call("get_cluster_version")["version"] == VERSION
    page = clients.call("get_node_info_list", max_results=3)
    assert (len(page["items"]), page["continuation_token"]) == (3, page["items"][-1]["id"]["id"])
    clients.call("disable_node", node_name="seed-0", deactivation_intent="RemoveNode")


def test_the_library_changes_the_configuration(clients: Clients, cluster: Cluster, clock: Clock) -> None:
    clients.call("enable_node", node_name="seed-0")
    shown = clients.call("get_cluster_configuration", configuration_api_version="06-2023")["cluster_configuration"]
    assert "worker-0" in {node["NodeName"] for node in json.loads(shown)["Nodes"]}
    description = {"cluster_config": json.dumps(next_configuration(cluster))}
    model = ("ClusterConfigurationUpgradeDescription", description)
    clients.call("start_cluster_configuration_upgrade", model=model)
    assert clients.call("get_cluster_configuration_upgrade_status")["upgrade_state"] == "RollingForwardInProgress"
    assert clients.refused("start_cluster_configuration_upgrade", model=model) == "FABRIC_E_CONFIG_UPGRADE_FAILED"
    assert [item["state"] for item in clients.call("get_cluster_upgrade_progress")["upgrade_domains"]] == [
        "InProgress",
        *["Pending"] * 4,
    ]
    clock.passes(5 * PACE.upgrade_domain)
    told = clients.call("get_cluster_configuration_upgrade_status")
    assert (told["upgrade_state"], told["config_version"]) == ("RollingForwardCompleted", "1.0.1")


def test_sfctl_shows_a_certificate(clock: Clock, tmp_path: Path) -> None:
    ours = authority(tmp_path / "tls")
    # sfctl compares the gateway's address with the names in its certificate.
    shown = ours.issue("drill-node", "127.0.0.1")
    secured = Gateway(formed(clock, security=certificates()), tls=TlsFiles(shown, shown, ours.path))
    secured.start()
    try:
        with connected(tmp_path, secured.url, ours.path) as clients:
            select = ("cluster", "select", "--endpoint", secured.url, "--pem")
            clients.sfctl(*select, str(ours.issue("drill-client")))
            clients.sfctl("node", "disable", "--node-name", "seed-0", "--deactivation-intent", "Pause")
            clients.sfctl(*select, str(ours.issue("drill-reader")))
            assert clients.sfctl("node", "info", "--node-name", "seed-0")["nodeStatus"] == "Disabled"
            assert "E_ACCESSDENIED" in clients.sfctl_fails("node", "enable", "--node-name", "seed-0")
            assert "403" in clients.sfctl_fails(*select, str(ours.issue("somebody")))
    finally:
        secured.stop()
