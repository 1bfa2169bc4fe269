"""The gateway's client: what it asks, what it makes of answers, what it asks again, and whom it trusts."""

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.fabric.authority import Issued, facts, issue, read_pfx
from services.fabric.client import Gateway, Node, Patience
from services.fabric.credentials import parse
from services.fabric.errors import (
    FabricServiceError,
    GatewayRefusedError,
    GatewayUnreachableError,
    GatewayUntrustedError,
    InvalidConfigurationError,
    NodeIsUpError,
    NodeNotFoundError,
    UpgradeInProgressError,
)
from tests.services.fabric.gateway_stage import Answer, Script, refusal, running

SEED = {
    "Name": "seed-0",
    "IpAddressOrFQDN": "10.0.0.4",
    "Type": "Seed",
    "CodeVersion": "10.1.2493.9590",
    "ConfigVersion": "1",
    "NodeStatus": "Up",
    "NodeUpTimeInSeconds": "90",
    "HealthState": "Ok",
    "IsSeedNode": True,
    "UpgradeDomain": "UD0",
    "FaultDomain": "fd:/eu-central-1a/0",
    "Id": {"Id": "a1"},
    "InstanceId": "133400000000000000",
    "NodeDeactivationInfo": {
        "NodeDeactivationIntent": "Invalid",
        "NodeDeactivationStatus": "None",
        "NodeDeactivationTask": [],
        "PendingSafetyChecks": [],
    },
    "IsStopped": False,
}
LEAVING = {
    **SEED,
    "NodeStatus": "Disabling",
    "NodeDeactivationInfo": {
        "NodeDeactivationIntent": "RemoveNode",
        "NodeDeactivationStatus": "SafetyCheckInProgress",
        "PendingSafetyChecks": [{"SafetyCheck": {"Kind": "EnsureSeedNodeQuorum"}}],
    },
}
OK = Answer(200, {})


@pytest.fixture(scope="module")
def issued() -> Issued:
    return issue("fleet")


@pytest.fixture(scope="module")
def other() -> Issued:
    return issue("fleet")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, issued: Issued) -> Iterator[Script]:
    with running(tmp_path_factory.mktemp("gateway"), issued) as script:
        yield script


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def gateway(server: Script, issued: Issued, pauses: list[float]) -> Gateway:
    return Gateway(server.url, issued.client, sleep=pauses.append)


def test_nodes_of_all_pages(server: Script, gateway: Gateway) -> None:
    server.will(
        Answer(body={"ContinuationToken": "seed-0", "Items": [SEED]}),
        Answer(body={"ContinuationToken": "", "Items": [LEAVING]}),
    )
    first, second = gateway.nodes()
    assert first == Node(
        name="seed-0",
        address="10.0.0.4",
        type="Seed",
        status="Up",
        is_seed=True,
        instance_id="133400000000000000",
        health="Ok",
        upgrade_domain="UD0",
        fault_domain="fd:/eu-central-1a/0",
    )
    assert (second.status, second.intent, second.deactivation) == ("Disabling", "RemoveNode", "SafetyCheckInProgress")
    assert second.pending_checks == ("EnsureSeedNodeQuorum",)
    assert [one.query.get("ContinuationToken") for one in server.requests] == [None, "seed-0"]
    assert {one.query["api-version"] for one in server.requests} == {"6.3"}
    assert {one.client for one in server.requests} == {"fleet-client"}


def test_pages_without_an_end_are_an_error(server: Script, gateway: Gateway) -> None:
    server.will(Answer(body={"ContinuationToken": "again", "Items": []}))
    with pytest.raises(FabricServiceError, match="does not end"):
        gateway.nodes()


def test_a_node_that_is_unknown_is_none(server: Script, gateway: Gateway) -> None:
    server.will(Answer(204))
    assert gateway.node("no such/node") is None
    assert server.paths == ["GET /Nodes/no%20such%2Fnode"]
    server.will(Answer(body=SEED))
    found = gateway.node("seed-0")
    assert found is not None
    assert not found.zombie


@pytest.mark.parametrize("status", ["Down", "Invalid", "Unknown"])
def test_zombies_have_three_names(server: Script, gateway: Gateway, status: str) -> None:
    server.will(Answer(body={**SEED, "NodeStatus": status}))
    found = gateway.node("seed-0")
    assert found is not None
    assert found.zombie


def test_what_is_told_to_a_node(server: Script, gateway: Gateway) -> None:
    server.will(OK)
    gateway.deactivate("worker-1")
    gateway.activate("worker-1")
    gateway.remove_state("worker-1")
    assert server.paths == [
        "POST /Nodes/worker-1/$/Deactivate",
        "POST /Nodes/worker-1/$/Activate",
        "POST /Nodes/worker-1/$/RemoveNodeState",
    ]
    assert server.requests[0].body == {"DeactivationIntent": "RemoveNode"}
    assert {one.query["api-version"] for one in server.requests} == {"6.0"}


def test_a_state_that_is_gone_already_is_as_good_as_removed(server: Script, gateway: Gateway) -> None:
    server.will(refusal("FABRIC_E_NODE_NOT_FOUND", 404))
    gateway.remove_state("worker-1")


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("FABRIC_E_NODE_IS_UP", 500, NodeIsUpError),
        ("FABRIC_E_NODE_IS_UP", 409, NodeIsUpError),
        ("FABRIC_E_FABRIC_UPGRADE_IN_PROGRESS", 409, UpgradeInProgressError),
        ("FABRIC_E_INVALID_CONFIGURATION", 400, InvalidConfigurationError),
        ("E_SOMETHING_ELSE", 503, GatewayRefusedError),
    ],
)
def test_the_code_decides_not_the_status(
    server: Script, gateway: Gateway, code: str, status: int, error: type[GatewayRefusedError]
) -> None:
    server.will(refusal(code, status))
    with pytest.raises(error) as raised:
        gateway.remove_state("worker-1")
    assert (raised.value.code, raised.value.status, len(server.requests)) == (code, status, 1)
    assert "it says why" in str(raised.value)


def test_a_node_that_is_unknown_cannot_be_deactivated(server: Script, gateway: Gateway) -> None:
    server.will(refusal("FABRIC_E_NODE_NOT_FOUND", 404))
    with pytest.raises(NodeNotFoundError):
        gateway.deactivate("worker-1")


@pytest.mark.parametrize(
    "trouble",
    [
        refusal("FABRIC_E_TIMEOUT", 504),
        refusal("FABRIC_E_NOT_READY", 503),
        Answer(502, b"<html>bad gateway</html>"),
        Answer(500),
        Answer(429),
        Answer(hang_up=True),
    ],
)
def test_what_passes_is_asked_again(server: Script, gateway: Gateway, pauses: list[float], trouble: Answer) -> None:
    server.will(trouble, trouble, OK)
    gateway.deactivate("worker-1")
    assert len(server.requests) == 3
    assert 0 < pauses[0] < pauses[1] < 3


def test_patience_ends(server: Script, gateway: Gateway, pauses: list[float]) -> None:
    server.will(refusal("FABRIC_E_TIMEOUT", 504))
    with pytest.raises(GatewayUnreachableError, match="not now: FABRIC_E_TIMEOUT it says why"):
        gateway.nodes()
    assert (len(server.requests), len(pauses)) == (4, 3)


def test_a_configuration_upgrade_is_never_sent_twice(server: Script, gateway: Gateway) -> None:
    server.will(Answer(hang_up=True))
    with pytest.raises(GatewayUnreachableError):
        gateway.start_configuration_upgrade({"name": "fleet"})
    assert len(server.requests) == 1
    server.will(Answer(202))
    gateway.start_configuration_upgrade({"name": "fleet"})
    assert json.loads(server.requests[0].body["ClusterConfig"]) == {"name": "fleet"}


def test_a_configuration_upgrade_that_was_never_sent_may_be(issued: Issued, pauses: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    gateway = Gateway(f"https://127.0.0.1:{port}", issued.client, sleep=pauses.append)
    with pytest.raises(GatewayUnreachableError, match=f"127.0.0.1:{port} does not answer.*inside the VPC"):
        gateway.start_configuration_upgrade({})
    assert len(pauses) == 3


def test_a_gateway_that_keeps_silent_is_given_up(issued: Issued) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        gateway = Gateway(url, issued.client, Patience(read_s=0.1, connect_s=0.1, attempts=1))
        with pytest.raises(GatewayUnreachableError, match="does not answer"):
            gateway.version()


def test_the_cluster_tells_of_itself(server: Script, gateway: Gateway) -> None:
    evaluations = [{"HealthEvaluation": {"Kind": "Nodes", "Description": "one of 5 nodes is unhealthy"}}]
    nodes = [{"Name": "seed-0", "AggregatedHealthState": "Error"}]
    server.will(
        Answer(
            body={
                "AggregatedHealthState": "Error",
                "UnhealthyEvaluations": evaluations,
                "NodeHealthStates": nodes,
            }
        )
    )
    health = gateway.health()
    assert (health.ok, health.reasons, health.nodes) == (
        False,
        ("one of 5 nodes is unhealthy",),
        {"seed-0": "Error"},
    )
    server.will(Answer(body={"AggregatedHealthState": "Ok", "HealthEvents": []}))
    assert gateway.node_health("seed-0").ok
    server.will(Answer(body={"Version": "10.1.2493.9590"}))
    assert gateway.version() == "10.1.2493.9590"
    assert server.requests[0].query["api-version"] == "6.4"
    server.will(Answer(body={"Manifest": "<ClusterManifest/>"}))
    assert gateway.manifest() == "<ClusterManifest/>"
    server.will(Answer(body={"ClusterConfiguration": '{"Name": "fleet"}'}))
    assert gateway.configuration() == {"Name": "fleet"}
    assert server.requests[0].query["ConfigurationApiVersion"] == "06-2023"


@pytest.mark.parametrize(
    ("state", "running_now", "failed"),
    [
        ("RollingForwardInProgress", True, False),
        ("RollingForwardCompleted", False, False),
        ("RollingBackInProgress", True, False),
        ("RollingBackCompleted", False, True),
        ("Failed", False, True),
        ("Invalid", False, False),
    ],
)
def test_an_upgrade_says_how_far_it_is(
    server: Script, gateway: Gateway, state: str, running_now: bool, failed: bool
) -> None:
    server.will(Answer(body={"UpgradeState": state, "ProgressStatus": 0, "ConfigVersion": "1.0.1", "Details": "d"}))
    status = gateway.upgrade_status()
    assert (status.running, status.failed, status.version, status.details) == (running_now, failed, "1.0.1", "d")


def test_an_answer_that_is_no_gateways(server: Script, gateway: Gateway) -> None:
    server.will(Answer(200, b"hello"))
    with pytest.raises(FabricServiceError, match="is that a gateway"):
        gateway.nodes()


def test_a_client_that_the_cluster_does_not_know(server: Script, gateway: Gateway) -> None:
    server.will(Answer(403))
    with pytest.raises(GatewayRefusedError, match="not one that the cluster lets"):
        gateway.nodes()


def test_a_server_of_another_name_is_not_trusted(server: Script, issued: Issued, pauses: list[float]) -> None:
    server.will(OK)
    stranger = replace(issued.client, server_name="other-node")
    with pytest.raises(GatewayUntrustedError, match="the server is fleet-node, not other-node"):
        Gateway(server.url, stranger, sleep=pauses.append).nodes()
    assert pauses == server.requests == []


def test_a_server_of_another_authority_is_not_trusted(
    server: Script, issued: Issued, other: Issued, pauses: list[float]
) -> None:
    server.will(OK)
    stranger = replace(issued.client, authority=other.client.authority)
    with pytest.raises(GatewayUntrustedError, match="no trust"):
        Gateway(server.url, stranger, sleep=pauses.append).nodes()
    assert pauses == server.requests == []


def test_a_client_of_another_authority_is_not_let_in(server: Script, issued: Issued, other: Issued) -> None:
    server.will(OK)
    stranger = replace(other.client, authority=issued.client.authority)
    with pytest.raises((GatewayUntrustedError, GatewayUnreachableError)):
        Gateway(server.url, stranger, sleep=lambda _: None).nodes()
    assert server.requests == []


def test_the_key_is_on_no_disk_afterwards(
    issued: Issued, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: Issued
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    issued.client.context()
    with pytest.raises(FabricServiceError, match="cannot be used"):
        replace(issued.client, key=other.client.key).context()
    assert list(tmp_path.iterdir()) == []
    assert "PRIVATE" not in repr(issued.client)


def test_the_server_tells_when_its_certificate_ends(server: Script, gateway: Gateway, issued: Issued) -> None:
    assert gateway.server_ends is None
    server.will(OK)
    gateway.health()
    node, _ = read_pfx(issued.nodes, "the secret")
    assert gateway.server_ends == facts(node).ends.timestamp()


def test_without_security_it_speaks_plain_http(tmp_path: Path, issued: Issued) -> None:
    with running(tmp_path, None) as script:
        script.will(Answer(body={"Items": []}))
        assert Gateway(script.url, None).nodes() == []
    with pytest.raises(FabricServiceError, match="belongs to https"):
        Gateway("http://10.0.0.1:19080", issued.client)
    with pytest.raises(FabricServiceError, match="belongs to https"):
        Gateway("https://10.0.0.1:19080", None)


def test_a_function_carries_urllib3_and_nothing_else_for_it() -> None:
    """What a function's artifact has not, the way to the gateway must not need."""
    script = (
        "import sys\n"
        "for name in ('boto3', 'botocore', 'cryptography', 'pydantic', 'tenacity', 'structlog', 'orjson'):\n"
        "    sys.modules[name] = None\n"
        "import services.fabric.client, services.fabric.configuration, services.fabric.domains\n"
        "import services.fabric.fleet, services.fabric.upgrade\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_secret_is_read_whole_or_not_at_all(issued: Issued) -> None:
    whole = vars(issued.client)
    assert parse(json.dumps(whole), "the secret") == issued.client
    with pytest.raises(FabricServiceError, match="the secret lacks key, authority"):
        parse(json.dumps({**whole, "authority": " ", "key": None}), "the secret")
    with pytest.raises(FabricServiceError, match="is no JSON object"):
        parse("PRIVATE", "the secret")
