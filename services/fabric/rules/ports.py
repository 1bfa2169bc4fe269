"""Rules of node types: their names, their ports, and what they may share on one machine."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations
from typing import Any, Final

from services.fabric.rules.rule import MODEL, NODE_TYPES, VALIDATOR, Book, Found
from services.fabric.rules.view import get, node_types, nodes, number, repeated, text

LEAST_PORT: Final = 1
MOST_PORT: Final = 65535
EPHEMERAL_PORTS: Final = 255
"""By how much the end is above the start; a shorter range would not change the machine's (StandAloneCluster.cs,
GenerateSettings)."""

_ENDPOINTS: Final = ("clientConnectionEndpointPort", "httpGatewayEndpointPort")
_OPTIONAL: Final = (
    "reverseProxyEndpointPort",
    "clusterConnectionEndpointPort",
    "leaseDriverEndpointPort",
    "serviceConnectionEndpointPort",
)
_RANGES: Final = ("applicationPorts", "ephemeralPorts")

_book = Book()


def _each(configuration: Any) -> list[tuple[str, Mapping[str, Any]]]:
    return [(f"properties.nodeTypes[{at}]", each) for at, each in enumerate(node_types(configuration))]


@_book.rule("node-types-present", NODE_TYPES)
def _present(configuration: Any) -> Found:
    if not node_types(configuration):
        yield "properties.nodeTypes", "there is no node type"


@_book.rule("node-type-names", NODE_TYPES)
def _names(configuration: Any) -> Found:
    for path, each in _each(configuration):
        if not text(each, "name"):
            yield f"{path}.name", "is missing or empty"
    for name in repeated([text(each, "name").lower() for each in node_types(configuration)]):
        if name:
            yield "properties.nodeTypes", f"the name {name!r} is there twice, upper and lower case being the same"


@_book.rule("node-type-known", NODE_TYPES)
def _known(configuration: Any) -> Found:
    names = {text(each, "name") for each in node_types(configuration)}
    for at, node in enumerate(nodes(configuration)):
        reference = text(node, "nodeTypeRef")
        if reference and reference not in names:
            yield f"nodes[{at}].nodeTypeRef", f"there is no node type {reference!r}"


@_book.rule("endpoint-ports", VALIDATOR)
def _endpoints(configuration: Any) -> Found:
    for path, each in _each(configuration):
        for name in (*_ENDPOINTS, *(name for name in _OPTIONAL if get(each, name) is not None)):
            if not _in_range(number(each, name)):
                yield f"{path}.{name}", _not_a_port(text(each, name))


@_book.rule("application-ports", VALIDATOR)
def _application_ports(configuration: Any) -> Found:
    for path, each in _each(configuration):
        if get(each, "applicationPorts") is None:
            yield f"{path}.applicationPorts", "is missing"
        else:
            yield from _range(f"{path}.applicationPorts", get(each, "applicationPorts"))


@_book.rule("ephemeral-ports", VALIDATOR)
def _ephemeral_ports(configuration: Any) -> Found:
    for path, each in _each(configuration):
        if (found := get(each, "ephemeralPorts")) is None:
            continue
        broken = list(_range(f"{path}.ephemeralPorts", found))
        yield from broken
        first, last = number(found, "startPort"), number(found, "endPort")
        if not broken and first is not None and last is not None and last - first < EPHEMERAL_PORTS:
            yield (
                f"{path}.ephemeralPorts",
                f"from {first} to {last}: the end must be at least {EPHEMERAL_PORTS} above the start",
            )


@_book.rule("ports-apart", MODEL)
def _apart(configuration: Any) -> Found:
    """Nodes that share a machine share no port."""
    types = {text(each, "name"): each for each in node_types(configuration)}
    machines = defaultdict(set)
    for node in nodes(configuration):
        if (name := text(node, "nodeTypeRef")) in types:
            machines[text(node, "iPAddress")].add(name)
    for address, names in machines.items():
        for one, other in combinations(sorted(names), 2):
            for shared in _shared(types[one], types[other]):
                yield "properties.nodeTypes", f"{one} and {other} are both on {address} with the same {shared}"


def _shared(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    found = [
        name
        for name in (*_ENDPOINTS, *_OPTIONAL)
        if number(one, name) is not None and number(one, name) == number(other, name)
    ]
    for name in _RANGES:
        ends = [number(get(each, name), end) for each in (one, other) for end in ("startPort", "endPort")]
        if None not in ends and ends[0] <= ends[3] and ends[1] >= ends[2]:  # type: ignore[operator]
            found.append(name)
    return found


def _range(path: str, found: Any) -> Found:
    first, last = number(found, "startPort"), number(found, "endPort")
    for name, value in (("startPort", first), ("endPort", last)):
        if not _in_range(value):
            yield f"{path}.{name}", _not_a_port(text(found, name))
    if first is not None and last is not None and first > last:
        yield path, f"starts at {first}, after its end {last}"


def _in_range(port: int | None) -> bool:
    return port is not None and LEAST_PORT <= port <= MOST_PORT


def _not_a_port(found: str) -> str:
    return f"{found!r} is no port from {LEAST_PORT} to {MOST_PORT}" if found else "is missing"


RULES: Final = tuple(_book.rules)
