"""A standalone cluster's configuration (ClusterConfig.json), read and judged as the product's installer does.

The rules are those of `StandaloneSettingsValidator.cs` and `SettingsValidator.cs` (microsoft/service-fabric). The
product stops at the first broken one; here all are told at once. Keys may begin with a small letter, as in
Microsoft's samples; they are shown as the product writes them, with a capital.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from envs.sandbox.fabric.errors import FabricError

_LEVELS: Final = ((9, "Platinum"), (7, "Gold"), (5, "Silver"), (3, "Bronze"), (1, "Iron"))
"""Seed nodes and reliability by the number of primary nodes (`ReliabilityLevel.cs`)."""
_PORTS: Final = (
    "ClientConnectionEndpointPort",
    "ClusterConnectionEndpointPort",
    "LeaseDriverEndpointPort",
    "ServiceConnectionEndpointPort",
    "HttpGatewayEndpointPort",
)
_LEAST_EPHEMERAL: Final = 255
_MOST_NODES: Final = 1000
_NAME: Final = re.compile(r'[^<>:"/\\|?*\x00-\x1f]{1,}')
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


@dataclass(frozen=True)
class NodeEntry:
    """One node as the configuration lists it."""

    name: str
    address: str
    type: str
    fault_domain: str
    upgrade_domain: str


@dataclass(frozen=True)
class NodeType:
    """One node type; ports by the name the configuration gives them."""

    name: str
    primary: bool
    ports: Mapping[str, int]
    application_ports: tuple[int, int] | None
    ephemeral_ports: tuple[int, int] | None


@dataclass(frozen=True)
class ClientName:
    """A client certificate that is accepted by its common name; without thumbprints any trusted issuer will do."""

    common_name: str
    issuers: frozenset[str]
    admin: bool


@dataclass(frozen=True)
class Configuration:
    """A configuration that keeps the rules."""

    name: str
    version: str
    nodes: Mapping[str, NodeEntry]
    types: Mapping[str, NodeType]
    secured: bool
    clients: tuple[ClientName, ...]
    cluster_names: tuple[str, ...]
    """Common names of the nodes' own certificate, which is an administrator's as well."""
    to_remove: tuple[str, ...]
    """The parameter NodesToBeRemoved of the section Setup."""
    code_version: str
    document: Mapping[str, Any]

    @property
    def primary(self) -> NodeType:
        """The node type whose nodes carry the seeds and the system services."""
        return next(node_type for node_type in self.types.values() if node_type.primary)

    @property
    def reliability(self) -> str:
        """Computed from the primary nodes, never set."""
        return self._level()[1]

    def seeds(self) -> tuple[str, ...]:
        """The seed nodes: as many primary nodes as the reliability asks for, spread over the fault domains."""
        waiting: dict[str, list[str]] = {}
        for entry in self.nodes.values():
            if self.types[entry.type].primary:
                waiting.setdefault(entry.fault_domain, []).append(entry.name)
        chosen: list[str] = []
        while any(waiting.values()):
            chosen += [names.pop(0) for names in waiting.values() if names]
        return tuple(chosen[: self._level()[0]])

    def with_nodes(self, entries: Iterable[NodeEntry]) -> Mapping[str, Any]:
        """The document with other nodes, in the product's spelling."""
        nodes = [
            {
                "NodeName": entry.name,
                "NodeTypeRef": entry.type,
                "IPAddress": entry.address,
                "FaultDomain": entry.fault_domain,
                "UpgradeDomain": entry.upgrade_domain,
            }
            for entry in entries
        ]
        return {**self.document, "Nodes": nodes}

    def _level(self) -> tuple[int, str]:
        primary = sum(self.types[entry.type].primary for entry in self.nodes.values())
        return next(level for level in _LEVELS if primary >= level[0])


def parse(document: Mapping[str, Any], code: str = "FABRIC_E_INVALID_CONFIGURATION") -> Configuration:
    """The configuration, once it keeps every rule. Raises `FabricError` with all that are broken."""
    spelled = _spell(document)
    broken = list(_shape(spelled))
    if not broken:
        broken = [*_nodes(spelled), *_types(spelled), *_security(spelled)]
    if broken:
        raise FabricError(code, "ValidationException: Model validation error. " + " ".join(broken))
    properties = spelled["Properties"]
    security = properties.get("Security") or {}
    certificates = security.get("CertificateInformation") or {}
    return Configuration(
        name=spelled["Name"],
        version=str(spelled["ClusterConfigurationVersion"]),
        nodes={entry.name: entry for entry in _entries(spelled)},
        types={node_type.name: node_type for node_type in _node_types(spelled)},
        secured=_is_secured(security),
        clients=tuple(_clients(certificates)),
        cluster_names=tuple(
            item["CertificateCommonName"]
            for item in (certificates.get("ClusterCertificateCommonNames") or {}).get("CommonNames", ())
        ),
        to_remove=_to_remove(properties),
        code_version=str(spelled.get("ClusterCodeVersion") or properties.get("ClusterCodeVersion") or ""),
        document=spelled,
    )


def _shape(spelled: Mapping[str, Any]) -> Iterator[str]:
    for key, kind in (("Name", str), ("ClusterConfigurationVersion", str), ("ApiVersion", str), ("Nodes", list)):
        if not isinstance(spelled.get(key), kind) or not spelled[key]:
            yield f"{key} is missing or is not a {kind.__name__}."
    properties = spelled.get("Properties")
    if not isinstance(properties, Mapping):
        yield "Properties is missing."
        return
    if not isinstance(properties.get("NodeTypes"), list) or not properties["NodeTypes"]:
        yield "Properties.NodeTypes is missing."
    if not isinstance(properties.get("DiagnosticsStore"), Mapping):
        yield "Properties.DiagnosticsStore is missing."
    if properties.get("ReliabilityLevel"):
        yield "Properties.ReliabilityLevel may not be set: it follows from the number of primary nodes."
    for place, items, keys in (
        ("Nodes", spelled.get("Nodes"), ("NodeName", "IPAddress", "NodeTypeRef", "FaultDomain", "UpgradeDomain")),
        ("NodeTypes", properties.get("NodeTypes"), ("Name", *_PORTS)),
    ):
        for number, item in enumerate(items if isinstance(items, list) else ()):
            missing = [key for key in keys if not isinstance(item, Mapping) or item.get(key) in (None, "")]
            if missing:
                yield f"{place}[{number}] lacks {', '.join(missing)}."


def _nodes(spelled: Mapping[str, Any]) -> Iterator[str]:
    entries = list(_entries(spelled))
    if len(entries) == 2 or len(entries) > _MOST_NODES:
        yield f"A cluster has one node or from 3 to {_MOST_NODES}, not {len(entries)}."
    for what, values in (
        ("node name", (entry.name.lower() for entry in entries)),
        ("machine", (entry.address.lower() for entry in entries)),
    ):
        for value in sorted(value for value, count in Counter(values).items() if count > 1):
            yield f"The {what} {value} is used by more than one node."
    types = {node_type["Name"] for node_type in spelled["Properties"]["NodeTypes"]}
    for entry in entries:
        if not _NAME.fullmatch(entry.name):
            yield f"The node name {entry.name} has characters that no file name may have."
        if not _is_address(entry.address):
            yield f"Node {entry.name}: {entry.address} is neither an IP address nor a host name."
        if entry.type not in types:
            yield f"Node {entry.name}: there is no node type {entry.type}."
        if not entry.fault_domain.lower().startswith("fd:/"):
            yield f"Node {entry.name}: the fault domain {entry.fault_domain} does not begin with fd:/."
    if len(entries) > 2:
        for what, domains in (
            ("fault", {entry.fault_domain for entry in entries}),
            ("upgrade", {entry.upgrade_domain for entry in entries}),
        ):
            if len(domains) <= 2:
                yield f"A cluster of more than 2 nodes has more than 2 {what} domains, not {len(domains)}."


def _types(spelled: Mapping[str, Any]) -> Iterator[str]:
    raw = spelled["Properties"]["NodeTypes"]
    for name in sorted(name for name, count in Counter(item["Name"] for item in raw).items() if count > 1):
        yield f"The node type {name} is there more than once."
    for item in raw:
        for key in (*_PORTS, *(("ReverseProxyEndpointPort",) if item.get("ReverseProxyEndpointPort") else ())):
            if not _is_port(item[key]):
                yield f"Node type {item['Name']}: {key} is {item[key]!r}, which is no port."
        for key in ("ApplicationPorts", "EphemeralPorts"):
            ports = item.get(key)
            if ports and not (_is_port(ports.get("StartPort")) and _is_port(ports.get("EndPort"))):
                yield f"Node type {item['Name']}: {key} needs StartPort and EndPort."
                return
    types = list(_node_types(spelled))
    primary = [node_type.name for node_type in types if node_type.primary]
    if len(primary) != 1:
        yield f"Exactly one node type is primary, not {len(primary)} ({', '.join(primary) or 'none'})."
    else:
        count = sum(entry.type == primary[0] for entry in _entries(spelled))
        if count == 0 or (count < 3 and len(spelled["Nodes"]) > 1):
            yield f"The primary node type {primary[0]} has {count} nodes: a reliable cluster needs at least 3."
    for node_type in types:
        yield from _ranges(node_type)


def _ranges(node_type: NodeType) -> Iterator[str]:
    ephemeral, application = node_type.ephemeral_ports, node_type.application_ports
    if ephemeral and ephemeral[1] - ephemeral[0] + 1 < _LEAST_EPHEMERAL:
        yield f"Node type {node_type.name}: the ephemeral range has fewer than {_LEAST_EPHEMERAL} ports."
    if application and application[1] < application[0]:
        yield f"Node type {node_type.name}: the application range ends before it starts."
    if ephemeral and application and ephemeral[0] <= application[1] and application[0] <= ephemeral[1]:
        yield f"Node type {node_type.name}: the application range and the ephemeral range overlap."
    for port, count in Counter(node_type.ports.values()).items():
        if count > 1:
            yield f"Node type {node_type.name}: port {port} is used for more than one endpoint."
    for key, port in node_type.ports.items():
        for what, span in (("application", application), ("ephemeral", ephemeral)):
            if span and span[0] <= port <= span[1]:
                yield f"Node type {node_type.name}: {key} {port} is inside the {what} range."


def _security(spelled: Mapping[str, Any]) -> Iterator[str]:
    security = spelled["Properties"].get("Security") or {}
    kinds = {security.get(key, "None") for key in ("ClusterCredentialType", "ServerCredentialType")}
    if kinds - {"None", "X509"}:
        yield f"The sandbox knows the credential types None and X509, not {', '.join(sorted(kinds))}."
    if not _is_secured(security):
        return
    certificates = security.get("CertificateInformation") or {}
    for role in ("Cluster", "Server"):
        names = (certificates.get(f"{role}CertificateCommonNames") or {}).get("CommonNames")
        if not names and not certificates.get(f"{role}Certificate"):
            yield f"X509 security needs {role}CertificateCommonNames or {role}Certificate."
    for item in certificates.get("ClientCertificateCommonNames") or ():
        if not item.get("CertificateCommonName") or not isinstance(item.get("IsAdmin"), bool):
            yield "Each of ClientCertificateCommonNames has a CertificateCommonName and IsAdmin."


def _is_secured(security: Mapping[str, Any]) -> bool:
    return security.get("ServerCredentialType") == "X509"


def _entries(spelled: Mapping[str, Any]) -> Iterator[NodeEntry]:
    for item in spelled["Nodes"]:
        yield NodeEntry(
            item["NodeName"], item["IPAddress"], item["NodeTypeRef"], item["FaultDomain"], item["UpgradeDomain"]
        )


def _node_types(spelled: Mapping[str, Any]) -> Iterator[NodeType]:
    for item in spelled["Properties"]["NodeTypes"]:
        keys = (*_PORTS, *(("ReverseProxyEndpointPort",) if item.get("ReverseProxyEndpointPort") else ()))
        yield NodeType(
            item["Name"],
            item.get("IsPrimary") is True,
            {key: int(item[key]) for key in keys if _is_port(item[key])},
            _range(item.get("ApplicationPorts")),
            _range(item.get("EphemeralPorts")),
        )


def _range(ports: Mapping[str, Any] | None) -> tuple[int, int] | None:
    return (int(ports["StartPort"]), int(ports["EndPort"])) if ports else None


def _clients(certificates: Mapping[str, Any]) -> Iterator[ClientName]:
    for item in certificates.get("ClientCertificateCommonNames") or ():
        issuers = str(item.get("CertificateIssuerThumbprint") or "").replace(" ", "").lower()
        yield ClientName(item["CertificateCommonName"], frozenset(filter(None, issuers.split(","))), item["IsAdmin"])


def _to_remove(properties: Mapping[str, Any]) -> tuple[str, ...]:
    for section in properties.get("FabricSettings") or ():
        for parameter in section.get("Parameters") or () if section.get("Name", "").lower() == "setup" else ():
            if parameter.get("Name", "").lower() == "nodestoberemoved":
                return tuple(filter(None, (name.strip() for name in parameter["Value"].split(","))))
    return ()


def _is_port(value: Any) -> bool:
    return str(value).isdigit() and 0 < int(value) < 65536


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return bool(_HOST.fullmatch(value)) and not value.replace(".", "").isdigit()
    return True


def _spell(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key[:1].upper() + key[1:]: _spell(item) for key, item in value.items()}
    return [_spell(item) for item in value] if isinstance(value, list) else value
