"""The rules of a configuration: Microsoft's shapes pass, each broken rule is named, and all of them at once."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fabric import rules
from services.fabric.errors import FabricServiceError
from tests.services.fabric.fabric_samples import multi_machine, node_type, one_machine, unsecure_single, windows

Change = Callable[[dict[str, Any]], Any]


def certificates(found: dict[str, Any]) -> dict[str, Any]:
    return found["properties"]["security"]["CertificateInformation"]


def setup(found: dict[str, Any]) -> list[dict[str, str]]:
    return found["properties"]["fabricSettings"][0]["parameters"]


def primary(found: dict[str, Any]) -> dict[str, Any]:
    return found["properties"]["nodeTypes"][0]


@pytest.mark.parametrize("sample", [multi_machine, one_machine, windows, unsecure_single])
def test_microsofts_shapes_pass(sample: Callable[[], dict[str, Any]]) -> None:
    assert rules.check(sample()) == []


def test_names_are_read_as_the_product_reads_them() -> None:
    def shouted(value: Any) -> Any:
        if isinstance(value, dict):
            return {key.upper(): shouted(item) for key, item in value.items()}
        return [shouted(item) for item in value] if isinstance(value, list) else value

    assert rules.check(shouted(multi_machine())) == []


def test_values_to_be_filled_in_are_told_apart() -> None:
    assert list(rules.placeholders(multi_machine())) == [
        "properties.security.CertificateInformation.ClientCertificateThumbprints[1].CertificateThumbprint"
    ]


def more_nodes(found: dict[str, Any], count: int) -> None:
    for number in range(count):
        node = {**found["nodes"][0], "nodeName": f"more{number}", "iPAddress": f"10.0.{number // 250}.{number % 250}"}
        found["nodes"].append(node)


BREAKS: list[tuple[str, Change]] = [
    ("shape", lambda c: c.update(nodes="vm0")),
    ("shape", lambda c: c["nodes"].append("vm9")),
    ("shape", lambda c: c["properties"].update(security=[])),
    ("required", lambda c: c.pop("name")),
    ("required", lambda c: c.update(clusterConfigurationVersion="")),
    ("required", lambda c: c.pop("properties")),
    ("api-version", lambda c: c.update(apiVersion="13-2042")),
    ("nodes-present", lambda c: c.update(nodes=[])),
    ("node-fields", lambda c: c["nodes"][0].pop("upgradeDomain")),
    ("node-name", lambda c: c["nodes"][0].update(nodeName="vm:0")),
    ("node-address", lambda c: c["nodes"][0].update(iPAddress="10.0.0.1/24")),
    ("node-names-unique", lambda c: c["nodes"][1].update(nodeName="vm0")),
    ("fault-domain-depth", lambda c: c["nodes"][1].update(faultDomain="fd:/r1")),
    ("one-node-a-machine", lambda c: c["nodes"][1].update(iPAddress="machine1")),
    ("node-types-apart", lambda c: c["nodes"][1].update(iPAddress="machine1")),
    ("cluster-size", lambda c: c["nodes"].pop()),
    ("cluster-size", lambda c: more_nodes(c, 998)),
    ("fault-domains", lambda c: c["nodes"][1].update(faultDomain="fd:/dc1/r0")),
    ("upgrade-domains", lambda c: c["nodes"][1].update(upgradeDomain="UD0")),
    ("one-primary-type", lambda c: c["properties"]["nodeTypes"].append(node_type("other", 8))),
    ("one-primary-type", lambda c: primary(c).update(isPrimary=False)),
    ("primary-nodes", lambda c: c["properties"].update(reliabilityLevel="Silver")),
    ("node-types-present", lambda c: c["properties"].update(nodeTypes=[])),
    ("node-type-names", lambda c: primary(c).update(name="")),
    ("node-type-names", lambda c: c["properties"]["nodeTypes"].append(node_type("NODETYPE0", 8, primary=False))),
    ("node-type-known", lambda c: c["nodes"][0].update(nodeTypeRef="Other")),
    ("endpoint-ports", lambda c: primary(c).update(httpGatewayEndpointPort="0")),
    ("endpoint-ports", lambda c: primary(c).pop("clientConnectionEndpointPort")),
    ("endpoint-ports", lambda c: primary(c).update(reverseProxyEndpointPort=65536)),
    ("application-ports", lambda c: primary(c).pop("applicationPorts")),
    ("application-ports", lambda c: primary(c).update(applicationPorts={"startPort": 9, "endPort": 8})),
    ("ephemeral-ports", lambda c: primary(c).update(ephemeralPorts={"startPort": 20606, "endPort": 20860})),
    ("parameters-unique", lambda c: setup(c).append({"name": "fabricdataroot", "value": "C:\\X"})),
    ("roots", lambda c: setup(c)[0].update(value="SF")),
    ("roots", lambda c: setup(c)[0].update(value="\\\\machine1\\SF")),
    ("roots", lambda c: setup(c)[1].update(value="D:\\" + "x" * 78)),
    ("diagnostics-store", lambda c: c["properties"]["diagnosticsStore"].update(storeType="S3")),
    ("diagnostics-store", lambda c: c["properties"]["diagnosticsStore"].pop("connectionstring")),
    ("diagnostics-encryption", lambda c: c["properties"]["diagnosticsStore"].update(isEncrypted="true")),
    ("client-needs-server", lambda c: certificates(c).pop("ServerCertificateCommonNames")),
    ("thumbprints", lambda c: certificates(c)["ClientCertificateThumbprints"][0].update(CertificateThumbprint="xy")),
    (
        "common-names-given",
        lambda c: certificates(c)["ClientCertificateCommonNames"][0].update(CertificateCommonName=" "),
    ),
    (
        "issuer-thumbprints",
        lambda c: certificates(c)["ClientCertificateCommonNames"][0].update(CertificateIssuerThumbprint="AB,ab"),
    ),
    (
        "issuer-thumbprints",
        lambda c: certificates(c)["ReverseProxyCertificateCommonNames"]["CommonNames"][0].update(
            CertificateIssuerThumbprint="ab"
        ),
    ),
    (
        "common-names-number",
        lambda c: certificates(c)["ServerCertificateCommonNames"]["CommonNames"].extend(
            [{"CertificateCommonName": "b"}, {"CertificateCommonName": "c"}]
        ),
    ),
    (
        "common-names-unique",
        lambda c: certificates(c)["ServerCertificateCommonNames"]["CommonNames"].append(
            {"CertificateCommonName": "nodes.example"}
        ),
    ),
    ("name-or-thumbprint", lambda c: certificates(c).update(ClusterCertificate={"Thumbprint": "ab"})),
    ("issuer-stores", lambda c: certificates(c).pop("ClientCertificateCommonNames")),
    (
        "issuer-stores",
        lambda c: certificates(c).update(ClusterCertificateIssuerStores=3 * [{"X509StoreNames": "My"}]),
    ),
    (
        "issuer-stores",
        lambda c: certificates(c)["ClusterCertificateCommonNames"]["CommonNames"][0].update(
            CertificateIssuerThumbprint="ab"
        ),
    ),
    ("issuer-store-fields", lambda c: certificates(c)["ServerCertificateIssuerStores"][0].pop("IssuerCommonName")),
    (
        "issuer-store-fields",
        lambda c: certificates(c)["ServerCertificateIssuerStores"][0].update(X509StoreNames="My, my"),
    ),
    ("windows-identities", lambda c: c["properties"]["security"].update(ClusterCredentialType="Windows")),
    (
        "directory-needs-certificate",
        lambda c: c["properties"].update(security={"AzureActiveDirectory": {"tenantId": "t"}}),
    ),
]


@pytest.mark.parametrize(("name", "change"), BREAKS, ids=[f"{name}-{at}" for at, (name, _) in enumerate(BREAKS)])
def test_a_broken_rule_is_named_with_its_source(name: str, change: Change) -> None:
    found = multi_machine()
    change(found)
    broken = [one for one in rules.check(found) if one.rule == name]
    assert broken, rules.check(found)
    assert all(one.source.startswith("Microsoft.ServiceFabric.") and one.source.endswith(".cs") for one in broken)


def test_every_rule_has_a_break() -> None:
    """Those of ports that nodes on one machine share, and of Windows accounts, are broken below."""
    elsewhere = {"ports-apart"}
    assert {rule.name for rule in rules.RULES} == {name for name, _ in BREAKS} | elsewhere


def test_nodes_on_one_machine_share_no_port() -> None:
    found = one_machine()
    assert rules.check(found) == []
    found["properties"]["nodeTypes"][1]["applicationPorts"] = primary(found)["applicationPorts"]
    found["properties"]["nodeTypes"][2]["leaseDriverEndpointPort"] = 19002
    assert sorted(one.message for one in rules.check(found)) == [
        "NodeType0 and NodeType1 are both on localhost with the same applicationPorts",
        "NodeType0 and NodeType2 are both on localhost with the same leaseDriverEndpointPort",
    ]


@pytest.mark.parametrize(
    ("kind", "identities", "wrong"),
    [
        ("Windows", {"ClustergMSAIdentity": "a"}, "ClusterSPN"),
        ("None", {"ClustergMSAIdentity": "a", "ClusterSPN": "b"}, "ClustergMSAIdentity"),
    ],
)
def test_accounts_of_windows_are_whole(kind: str, identities: dict[str, str], wrong: str) -> None:
    found = windows()
    found["properties"]["security"].update(ClusterCredentialType=kind, WindowsIdentities=identities)
    assert [one.path for one in rules.check(found)] == [f"properties.security.WindowsIdentities.{wrong}"]


def test_all_broken_rules_are_told_at_once() -> None:
    found = multi_machine()
    found["nodes"][0]["iPAddress"] = "no address"
    found["nodes"][2]["upgradeDomain"] = "UD1"
    found["properties"]["nodeTypes"][0]["ephemeralPorts"] = {"startPort": 1, "endPort": 2}
    setup(found)[0]["value"] = "here"
    assert [one.rule for one in rules.check(found)] == ["node-address", "upgrade-domains", "ephemeral-ports", "roots"]


def test_bad_json_is_named_with_its_place() -> None:
    with pytest.raises(FabricServiceError, match=r"mine\.json: line 2, column 3: no JSON"):
        rules.parse('{\n  name: "x"}', "mine.json")


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert rules.parse('\N{ZERO WIDTH NO-BREAK SPACE}{"a": 1}', "x") == {"a": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, item in children for path in paths(item, (*at, key)))]


@given(st.sampled_from(paths(multi_machine())[1:]), JSON)
def test_whatever_stands_there_is_judged_and_never_trips_a_rule(path: tuple[Any, ...], value: Any) -> None:
    found = multi_machine()
    place: Any = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    rules.check(found)
    rules.check(value)
    rules.check_update(multi_machine(), found)
    rules.check_update(found, multi_machine())


def update_of(change: Change, before: Callable[[], dict[str, Any]] = multi_machine) -> list[str]:
    new = copy.deepcopy(before())
    new["clusterConfigurationVersion"] = "1.0.1"
    change(new)
    return [one.rule for one in rules.check_update(before(), new)]


def removing(found: dict[str, Any]) -> None:
    found["nodes"].pop()
    setup(found).append({"name": "NodesToBeRemoved", "value": "vm2"})


def adding(found: dict[str, Any]) -> None:
    found["nodes"].append({**found["nodes"][0], "nodeName": "vm3", "iPAddress": "machine4"})


def test_a_change_that_the_cluster_takes() -> None:
    assert update_of(lambda c: setup(c).append({"name": "X", "value": "1"})) == []
    assert update_of(adding) == []
    assert update_of(removing) == []
    assert update_of(lambda c: (removing(c), adding(c))) == []


def by_thumbprint(*values: str) -> Change:
    certificate = dict(zip(("Thumbprint", "ThumbprintSecondary"), values, strict=False))
    return lambda c: certificates(c).update(ClusterCertificate=certificate)


UPDATES: list[tuple[str, Change, Callable[[], dict[str, Any]]]] = [
    ("name-stays", lambda c: c.update(name="Other"), multi_machine),
    ("version-changes", lambda c: c.update(clusterConfigurationVersion="1.0.0"), multi_machine),
    ("node-types-stay", lambda c: primary(c).update(name="Other"), multi_machine),
    ("node-types-stay", lambda c: primary(c).update(isPrimary=False), multi_machine),
    ("node-types-stay", lambda c: primary(c).update(httpGatewayEndpointPort="19090"), multi_machine),
    ("nodes-stay", lambda c: c["nodes"][0].update(iPAddress="machine9"), multi_machine),
    ("nodes-stay", lambda c: c["nodes"].append({**c["nodes"][0], "nodeName": "vm9"}), multi_machine),
    ("removed-nodes-named", lambda c: c["nodes"].pop(), multi_machine),
    ("removed-nodes-named", lambda c: setup(c).append({"name": "NodesToBeRemoved", "value": ""}), multi_machine),
    ("add-or-remove", lambda c: (removing(c), adding(c)), windows),
    ("security-stays", lambda c: c["properties"].pop("security"), multi_machine),
    ("security-stays", lambda c: c["properties"].pop("security"), windows),
    ("certificates-overlap", by_thumbprint("aa", "bb"), one_machine),
    (
        "certificates-overlap",
        lambda c: certificates(c)["ClusterCertificateCommonNames"].update(
            CommonNames=[{"CertificateCommonName": "a"}, {"CertificateCommonName": "b"}]
        ),
        multi_machine,
    ),
    (
        "issuer-stores-overlap",
        lambda c: certificates(c).update(ClusterCertificateIssuerStores=[{"IssuerCommonName": "other"}]),
        multi_machine,
    ),
    (
        "issuer-stores-overlap",
        lambda c: certificates(c)["ClusterCertificateIssuerStores"][0].update(X509StoreNames="My"),
        multi_machine,
    ),
]


@pytest.mark.parametrize(
    ("name", "change", "before"), UPDATES, ids=[f"{name}-{at}" for at, (name, _, _) in enumerate(UPDATES)]
)
def test_a_change_that_the_cluster_refuses(name: str, change: Change, before: Callable[[], dict[str, Any]]) -> None:
    assert name in update_of(change, before)


def test_issuers_overlap() -> None:
    def pinned(issuers: str) -> Callable[[], dict[str, Any]]:
        def sample() -> dict[str, Any]:
            found = multi_machine()
            del certificates(found)["ClusterCertificateIssuerStores"]
            name = certificates(found)["ClusterCertificateCommonNames"]["CommonNames"][0]
            name["CertificateIssuerThumbprint"] = issuers
            return found

        return sample

    def to(issuers: str) -> Change:
        return lambda c: certificates(c)["ClusterCertificateCommonNames"]["CommonNames"][0].update(
            CertificateIssuerThumbprint=issuers
        )

    assert update_of(to("AA,bb"), pinned("aa")) == []
    assert update_of(to("bb"), pinned("aa")) == ["issuers-overlap"]


def test_what_cannot_be_taken_away_or_chosen() -> None:
    def managed() -> dict[str, Any]:
        found = multi_machine()
        found["properties"].update(addonFeatures=["RepairManager"], fabricClusterAutoupgradeEnabled=True)
        return found

    assert update_of(lambda c: c["properties"].pop("addonFeatures"), managed) == ["repair-manager-stays"]
    assert update_of(lambda c: c["properties"].update(codeVersion="9.1.1"), managed) == ["code-version"]
    assert update_of(lambda c: c["properties"].update(codeVersion="*"), managed) == []


def test_every_rule_of_changes_has_a_break() -> None:
    elsewhere = {"issuers-overlap", "repair-manager-stays", "code-version"}
    assert {rule.name for rule in rules.UPDATE_RULES} == {name for name, _, _ in UPDATES} | elsewhere
