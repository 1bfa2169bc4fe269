"""Rules of the configuration as a whole, and of its nodes."""

import ipaddress
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from services.fabric.rules.rule import MODEL, NODE, STANDALONE, VALIDATOR, Book, Found
from services.fabric.rules.view import (
    flag,
    get,
    node_types,
    nodes,
    parameter,
    primary_types,
    properties,
    repeated,
    shares_machines,
    text,
)

API_VERSIONS: Final = ("2016-09-26", "01-2017", "04-2017", "05-2017", "08-2017", "10-2017", "06-2018", "06-2023")
"""Forms of a configuration: the table in StandAloneInstallerJSONModelBase.cs, and what came after it was published
(Azure-Samples/service-fabric-dotnet-standalone-cluster-configuration)."""
LEAST_NODES: Final = 3
MOST_NODES: Final = 1000
LEAST_DOMAINS: Final = 3
RELIABILITY: Final = {"Iron": 1, "Bronze": 3, "Silver": 5, "Gold": 7, "Platinum": 9}
"""Seeds that each level needs (ReliabilityLevelExtension.cs)."""

_NODE_FIELDS: Final = ("nodeName", "iPAddress", "nodeTypeRef", "faultDomain", "upgradeDomain")
_NOT_IN_FILE_NAMES: Final = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"(?=.{{1,254}}$){_LABEL}(\.{_LABEL})*\.?", re.IGNORECASE)

_book = Book()


@_book.rule("shape", MODEL)
def _shape(configuration: Any) -> Found:
    if not isinstance(configuration, Mapping):
        yield "", "the configuration is no JSON object"
        return
    wanted: dict[str, type] = {"nodes": list, "properties": dict}
    for name, kind in wanted.items():
        if (value := get(configuration, name)) is not None and not isinstance(value, kind):
            yield name, f"is no {'list' if kind is list else 'object'}"
    inside: dict[str, type] = {"nodeTypes": list, "fabricSettings": list, "security": dict, "diagnosticsStore": dict}
    for name, kind in inside.items():
        value = get(properties(configuration), name)
        if value is not None and not isinstance(value, kind):
            yield f"properties.{name}", f"is no {'list' if kind is list else 'object'}"
    for place, found in (("nodes", configuration), ("properties.nodeTypes", properties(configuration))):
        value = get(found, place.rpartition(".")[2])
        for at, item in enumerate(value if isinstance(value, list) else ()):
            if not isinstance(item, Mapping):
                yield f"{place}[{at}]", "is no object"


@_book.rule("required", MODEL)
def _required(configuration: Any) -> Found:
    for name in ("name", "apiVersion", "clusterConfigurationVersion"):
        if not text(configuration, name):
            yield name, "is missing or empty"
    if properties(configuration) is None:
        yield "properties", "is missing"


@_book.rule("api-version", MODEL)
def _api_version(configuration: Any) -> Found:
    found = text(configuration, "apiVersion")
    if found and found not in API_VERSIONS:
        yield "apiVersion", f"{found!r} is not one of {', '.join(API_VERSIONS)}"


@_book.rule("nodes-present", MODEL)
def _nodes_present(configuration: Any) -> Found:
    if not nodes(configuration):
        yield "nodes", "there is no node"


@_book.rule("node-fields", NODE)
def _node_fields(configuration: Any) -> Found:
    for at, node in enumerate(nodes(configuration)):
        for name in _NODE_FIELDS:
            if not text(node, name):
                yield f"nodes[{at}].{name}", "is missing or empty"


@_book.rule("node-name", NODE)
def _node_name(configuration: Any) -> Found:
    for at, node in enumerate(nodes(configuration)):
        if odd := _NOT_IN_FILE_NAMES.search(text(node, "nodeName")):
            yield f"nodes[{at}].nodeName", f"{text(node, 'nodeName')!r} has {odd[0]!r}, which no file name may have"


@_book.rule("node-address", NODE)
def _node_address(configuration: Any) -> Found:
    for at, node in enumerate(nodes(configuration)):
        address = text(node, "iPAddress")
        if address and not _is_address(address):
            yield f"nodes[{at}].iPAddress", f"{address!r} is neither an IP address nor a host name"


@_book.rule("node-names-unique", MODEL)
def _node_names_unique(configuration: Any) -> Found:
    for name in repeated([text(node, "nodeName") for node in nodes(configuration)]):
        yield "nodes", f"the name {name!r} is there twice"


@_book.rule("fault-domain-depth", MODEL)
def _fault_domain_depth(configuration: Any) -> Found:
    depths = {at: text(node, "faultDomain").count("/") for at, node in enumerate(nodes(configuration))}
    for at, depth in depths.items():
        if depth != depths[0]:
            yield f"nodes[{at}].faultDomain", "has not as many levels as that of the first node"


@_book.rule("one-node-a-machine", STANDALONE)
def _one_node_a_machine(configuration: Any) -> Found:
    machines = defaultdict(list)
    for node in nodes(configuration):
        machines[text(node, "iPAddress")].append(text(node, "nodeName"))
    if len(machines) < 2 or (parameter(configuration, "Setup", "IsTestCluster") or "").lower() == "true":
        return
    for address, names in machines.items():
        if len(names) > 1:
            yield (
                "nodes",
                f"{', '.join(names)} share the machine {address}: only a cluster on one machine may do that",
            )


@_book.rule("node-types-apart", MODEL)
def _node_types_apart(configuration: Any) -> Found:
    on_machine = defaultdict(list)
    for node in nodes(configuration):
        on_machine[text(node, "iPAddress")].append(text(node, "nodeTypeRef"))
    for address, types in on_machine.items():
        for name in repeated(types):
            yield "nodes", f"several nodes on {address} are of the type {name}: their ports would collide"


@_book.rule("cluster-size", VALIDATOR)
def _cluster_size(configuration: Any) -> Found:
    count = len(nodes(configuration))
    if count > 1 and not LEAST_NODES <= count <= MOST_NODES:
        yield "nodes", f"{count} nodes: a cluster has 1, or {LEAST_NODES} to {MOST_NODES}"


@_book.rule("fault-domains", STANDALONE)
def _fault_domains(configuration: Any) -> Found:
    yield from _domains(configuration, "faultDomain", "fault")


@_book.rule("upgrade-domains", STANDALONE)
def _upgrade_domains(configuration: Any) -> Found:
    yield from _domains(configuration, "upgradeDomain", "upgrade")


def _domains(configuration: Any, field: str, kind: str) -> Found:
    found = {text(node, field) for node in nodes(configuration)}
    if len(nodes(configuration)) > 2 and len(found) < LEAST_DOMAINS:
        yield "nodes", f"{len(found)} {kind} domains: more than two nodes stand in at least {LEAST_DOMAINS}"


@_book.rule("one-primary-type", VALIDATOR)
def _one_primary_type(configuration: Any) -> Found:
    count = sum(flag(each, "isPrimary") for each in node_types(configuration))
    if node_types(configuration) and not shares_machines(configuration) and count != 1:
        yield "properties.nodeTypes", f"{count} node types are primary: exactly one is"


@_book.rule("primary-nodes", VALIDATOR)
def _primary_nodes(configuration: Any) -> Found:
    primary = primary_types(configuration)
    count = sum(text(node, "nodeTypeRef") in primary for node in nodes(configuration))
    level = text(properties(configuration), "reliabilityLevel")
    if primary and nodes(configuration) and not count:
        yield "nodes", f"no node is of the primary type {', '.join(sorted(primary))}"
    elif not shares_machines(configuration) and count < RELIABILITY.get(level, 0):
        wanted = f"{level} needs {RELIABILITY[level]} nodes of the primary type, there are {count}"
        yield "properties.reliabilityLevel", f"{wanted}; leave the level out: it follows from their number"


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return _HOST.fullmatch(value) is not None
    return True


RULES: Final = tuple(_book.rules)
