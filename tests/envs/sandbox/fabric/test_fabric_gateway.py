"""The gateway over HTTP: who is let in, what is refused and how, pages, faults."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3
from urllib3.util import parse_url

from envs.errors import FleetstreamError
from envs.sandbox.fabric.faults import PATH, Control, Fault, Faults
from envs.sandbox.fabric.gateway import Gateway, TlsFiles
from envs.sandbox.fabric.model import Cluster
from tests.envs.sandbox.fabric.certificates import Authority, authority
from tests.envs.sandbox.fabric.clusters import PACE, Clock, address, certificates, formed, join


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cluster(clock: Clock) -> Cluster:
    return formed(clock)


@pytest.fixture
def gateway(cluster: Cluster) -> Iterator[Gateway]:
    found = Gateway(cluster)
    found.start()
    yield found
    found.stop()


Told = tuple[int, Any]


def ask(
    gateway: Gateway,
    method: str,
    path: str,
    body: Any = None,
    *,
    pool: urllib3.PoolManager | None = None,
    query: dict[str, str] | None = None,
) -> Told:
    told = (pool or urllib3.PoolManager()).request(
        method,
        f"{gateway.url}{path}?{urlencode({'api-version': '6.3'} | (query or {}))}",
        body=json.dumps(body) if body is not None else None,
        retries=False,
        timeout=10,
    )
    return told.status, told.json() if told.data else None


def code(told: Told) -> tuple[int, str]:
    return told[0], told[1]["Error"]["Code"]


def test_an_unknown_node_is_no_content_and_an_unknown_path_is_refused_by_name(gateway: Gateway) -> None:
    assert ask(gateway, "GET", "/Nodes/nobody") == (204, None)
    told = ask(gateway, "POST", "/Nodes/seed-0/$/Restart", {})
    assert code(told) == (501, "E_NOTIMPL")
    assert "POST /Nodes/seed-0/$/Restart" in told[1]["Error"]["Message"]


@pytest.mark.parametrize("version", ["", "six", "11.0"])
def test_a_version_of_the_interface_that_the_cluster_does_not_have_is_refused(gateway: Gateway, version: str) -> None:
    assert code(ask(gateway, "GET", "/Nodes", query={"api-version": version})) == (400, "E_INVALIDARG")


@pytest.mark.parametrize("body", [None, [], {"DeactivationIntent": "Gone"}, {}])
def test_a_body_that_makes_no_sense_is_refused(gateway: Gateway, body: Any) -> None:
    assert code(ask(gateway, "POST", "/Nodes/seed-0/$/Deactivate", body)) == (400, "E_INVALIDARG")


def test_refusals_carry_service_fabrics_code_and_status(gateway: Gateway) -> None:
    assert code(ask(gateway, "POST", "/Nodes/seed-0/$/RemoveNodeState")) == (500, "FABRIC_E_NODE_IS_UP")
    assert code(ask(gateway, "POST", "/Nodes/nobody/$/RemoveNodeState")) == (404, "FABRIC_E_NODE_NOT_FOUND")
    assert code(ask(gateway, "GET", "/Nodes/nobody/$/GetHealth")) == (404, "FABRIC_E_HEALTH_ENTITY_NOT_FOUND")
    assert code(ask(gateway, "GET", "/Applications/a/$/GetServices")) == (404, "FABRIC_E_APPLICATION_NOT_FOUND")


def test_a_cluster_without_quorum_answers_nothing(gateway: Gateway, cluster: Cluster, clock: Clock) -> None:
    for number in range(3):
        cluster.lose(address(f"seed-{number}"))
    clock.passes(PACE.lease)
    told = ask(gateway, "GET", "/Nodes")
    assert code(told) == (503, "FABRIC_E_NO_WRITE_QUORUM")
    assert "2 of 5 seed nodes are up" in told[1]["Error"]["Message"]


def test_a_gateway_before_the_cluster_is_formed_is_not_ready(clock: Clock) -> None:
    found = Gateway(Cluster(clock, PACE))
    found.start()
    try:
        assert code(ask(found, "GET", "/Nodes"))[0] == 503
    finally:
        found.stop()


@pytest.mark.parametrize("size", [1, 2, 3, 9, 10])
def test_pages_hold_every_node_once(gateway: Gateway, cluster: Cluster, clock: Clock, size: int) -> None:
    join(cluster, clock, *range(4))
    names: list[str] = []
    query = {"MaxResults": str(size)}
    while True:
        status, page = ask(gateway, "GET", "/Nodes", query=query)
        assert status == 200
        assert 0 < len(page["Items"]) <= size
        names += [item["Name"] for item in page["Items"]]
        if not page["ContinuationToken"]:
            break
        query["ContinuationToken"] = page["ContinuationToken"]
    assert sorted(names) == sorted(node.name for node in cluster.nodes())
    assert code(ask(gateway, "GET", "/Nodes", query={"MaxResults": "many"})) == (400, "E_INVALIDARG")


def test_removed_and_unknown_nodes_are_shown_to_who_asks_for_them(
    gateway: Gateway, cluster: Cluster, clock: Clock
) -> None:
    join(cluster, clock, 0)
    cluster.deactivate("worker-9", "RemoveNode")
    cluster.lose(address("worker-0"))
    clock.passes(PACE.lease)
    cluster.remove_state("worker-0")

    def names(status: str) -> set[str]:
        return {
            item["Name"] for item in ask(gateway, "GET", "/Nodes", query={"NodeStatusFilter": status})[1]["Items"]
        }

    assert names("default") == {f"seed-{number}" for number in range(5)}
    assert names("removed") == {"worker-0"}
    assert names("unknown") == {"worker-9"}
    assert names("all") == names("default") | {"worker-0", "worker-9"}
    assert code(ask(gateway, "GET", "/Nodes", query={"NodeStatusFilter": "gone"})) == (400, "E_INVALIDARG")


def test_a_held_seed_shows_the_safety_check_that_holds_it(gateway: Gateway) -> None:
    assert ask(gateway, "POST", "/Nodes/seed-0/$/Deactivate", {"DeactivationIntent": "RemoveNode"}) == (200, None)
    info = ask(gateway, "GET", "/Nodes/seed-0")[1]
    assert info["NodeStatus"] == "Disabling"
    assert info["NodeDeactivationInfo"]["NodeDeactivationStatus"] == "SafetyCheckInProgress"
    assert info["NodeDeactivationInfo"]["PendingSafetyChecks"] == [{"SafetyCheck": {"Kind": "EnsureSeedNodeQuorum"}}]


def test_a_file_may_arrive_in_chunks(gateway: Gateway) -> None:
    told = urllib3.PoolManager().request(
        "PUT",
        f"{gateway.url}/ImageStore/App/a%20b.bin?api-version=6.1",
        body=iter([b"ab", b"cde"]),
        chunked=True,
    )
    assert told.status == 200
    content = ask(gateway, "GET", "/ImageStore/App")[1]
    assert [(item["StoreRelativePath"], item["FileSize"]) for item in content["StoreFiles"]] == [("App/a b.bin", "5")]


def test_an_address_that_is_taken_is_named(gateway: Gateway, cluster: Cluster) -> None:
    port = parse_url(gateway.url).port
    assert port is not None
    with pytest.raises(FleetstreamError, match=str(port)):
        Gateway(cluster, port=port).start()


# With certificates


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls") / "theirs")


@pytest.fixture
def secured(clock: Clock, ours: Authority, theirs: Authority, tmp_path: Path) -> Iterator[Gateway]:
    """Trusts clients of both authorities; the administrator's certificate has to be from ours."""
    shown = ours.issue("drill-node")
    both = tmp_path / "both.pem"
    both.write_bytes(ours.path.read_bytes() + theirs.path.read_bytes())
    cluster = formed(clock, security=certificates(ours.thumbprint.upper()))
    found = Gateway(cluster, tls=TlsFiles(shown, shown, both))
    found.start()
    yield found
    found.stop()


def client(ours: Authority, certificate: Path | None) -> urllib3.PoolManager:
    path = str(certificate) if certificate is not None else None
    # As Service Fabric's clients do: the server's common name counts, not its address.
    return urllib3.PoolManager(ca_certs=str(ours.path), assert_hostname="drill-node", cert_file=path)


def test_the_administrator_reads_and_orders_and_the_reader_only_reads(secured: Gateway, ours: Authority) -> None:
    intent = {"DeactivationIntent": "Pause"}
    for name, ordered in (("drill-client", 200), ("drill-node", 200), ("drill-reader", 403)):
        pool = client(ours, ours.issue(name))
        assert ask(secured, "GET", "/Nodes", pool=pool)[0] == 200
        assert ask(secured, "POST", "/Nodes/seed-0/$/Deactivate", intent, pool=pool)[0] == ordered


def test_who_is_not_named_by_the_configuration_is_refused(
    secured: Gateway, ours: Authority, theirs: Authority
) -> None:
    for certificate in (None, ours.issue("somebody"), theirs.issue("drill-client")):
        assert code(ask(secured, "GET", "/Nodes", pool=client(ours, certificate))) == (403, "E_ACCESSDENIED")
    # No issuer is asked for where the configuration names none.
    assert ask(secured, "GET", "/Nodes", pool=client(ours, theirs.issue("drill-reader")))[0] == 200


def test_a_certificate_of_an_unknown_authority_does_not_get_through_the_handshake(
    secured: Gateway, ours: Authority, tmp_path: Path
) -> None:
    strangers = authority(tmp_path / "strangers")
    with pytest.raises(urllib3.exceptions.HTTPError):
        ask(secured, "GET", "/Nodes", pool=client(ours, strangers.issue("drill-client")))


def test_a_health_check_that_only_connects_holds_nobody_up(secured: Gateway, ours: Authority) -> None:
    port = parse_url(secured.url).port
    with socket.create_connection(("127.0.0.1", port or 0)):
        assert ask(secured, "GET", "/Nodes", pool=client(ours, ours.issue("drill-client")))[0] == 200


def test_the_gateway_shows_the_nodes_certificate(secured: Gateway) -> None:
    port = parse_url(secured.url).port
    shown = ssl.get_server_certificate(("127.0.0.1", port or 0))
    assert "BEGIN CERTIFICATE" in shown


# Faults


def test_a_fault_answers_with_its_status_until_it_ends(gateway: Gateway) -> None:
    gateway.faults.begin(Fault("error", 60, 502))
    assert code(ask(gateway, "GET", "/Nodes")) == (502, "E_FAIL")
    gateway.faults.end()
    assert ask(gateway, "GET", "/Nodes")[0] == 200


def test_a_fault_ends_by_itself() -> None:
    now = [0.0]
    faults = Faults(lambda: now[0])
    faults.begin(Fault("error", 60))
    now[0] = 59.9
    assert faults.current() is not None
    now[0] = 60.0
    assert faults.current() is None


def test_a_client_waits_while_the_gateway_hangs(gateway: Gateway) -> None:
    gateway.faults.begin(Fault("hang", 60))
    told: list[Told] = []
    waiting = threading.Thread(target=lambda: told.append(ask(gateway, "GET", "/Nodes")))
    waiting.start()
    waiting.join(0.2)
    assert told == []
    gateway.faults.end()
    waiting.join(10)
    assert told[0][0] == 200


def test_another_process_begins_and_ends_faults(gateway: Gateway) -> None:
    control = Control(gateway.faults)
    control.start()
    try:
        http = urllib3.PoolManager()
        told = http.request("POST", control.url, body=json.dumps({"kind": "error", "seconds": 60, "status": 503}))
        assert told.status == 200
        assert http.request("GET", control.url).json() == {"kind": "error", "seconds": 60, "status": 503}
        assert ask(gateway, "GET", "/Nodes")[0] == 503
        for wrong in ({"kind": "error"}, {"kind": "fire", "seconds": 1}, {"kind": "hang", "seconds": 0}, []):
            assert http.request("POST", control.url, body=json.dumps(wrong)).status == 400
        assert http.request("GET", control.url.replace(PATH, "/")).status == 404
        assert http.request("DELETE", control.url).status == 200
        assert ask(gateway, "GET", "/Nodes")[0] == 200
    finally:
        control.stop()


def test_somebody_is_called_once_after_a_request_was_carried_out_and_before_its_answer(
    gateway: Gateway, cluster: Cluster, clock: Clock
) -> None:
    join(cluster, clock, 0)
    worker = "worker-0"
    control, kept = Control(gateway.faults), threading.Event()
    asked: list[str] = []

    class Called(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            node = next(node for node in gateway.cluster.nodes() if node.name == worker)
            asked.append(f"{self.path} {node.deactivation.intent.label}")
            kept.wait(10)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's name)
            """Says nothing."""

    other = ThreadingHTTPServer(("127.0.0.1", 0), Called)
    for server in (control, threading.Thread(target=other.serve_forever, args=(0.05,))):
        server.start()
    try:
        http = urllib3.PoolManager()
        url = f"http://127.0.0.1:{other.server_port}/kill"
        wanted = {"kind": "call", "method": "POST", "path": "/$/Deactivate", "url": url}
        assert http.request("POST", control.url, body=json.dumps(wanted)).status == 200
        for wrong in (wanted | {"url": "http://example.com/"}, wanted | {"more": 1}, wanted | {"path": ""}):
            assert http.request("POST", control.url, body=json.dumps(wrong)).status == 400
        assert len(http.request("GET", control.url).json()["calls"]) == 1
        told: list[Told] = []
        body = {"DeactivationIntent": "RemoveNode"}
        waiting = threading.Thread(
            target=lambda: told.append(ask(gateway, "POST", f"/Nodes/{worker}/$/Deactivate", body))
        )
        waiting.start()
        waiting.join(0.3)
        assert (told, asked) == ([], ["/kill RemoveNode"])
        kept.set()
        waiting.join(10)
        assert told[0][0] == 200
        assert ask(gateway, "POST", f"/Nodes/{worker}/$/Deactivate", body)[0] == 200
        assert len(asked) == 1
        assert http.request("GET", control.url).json() == {}
    finally:
        kept.set()
        control.stop()
        other.shutdown()
        other.server_close()
