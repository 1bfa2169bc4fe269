"""The product's rules for a standalone cluster's configuration.

Those of `StandaloneSettingsValidator.cs` and `SettingsValidator.cs` (microsoft/service-fabric). The product stops at
the first broken one; here all are told at once.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from envs.sandbox.fabric.configuration_reading import PORTS, NodeType, entries, is_port, is_secured, node_types

_LEAST_EPHEMERAL: Final = 255
_MOST_NODES: Final = 1000
_NAME: Final = re.compile(r'[^<>:"/\\|?*\x00-\x1f]{1,}')
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


def broken(spelled: Mapping[str, Any]) -> list[str]:
    """Every rule that the document breaks."""
    found = list(_shape(spelled))
    return found or [*_nodes(spelled), *_types(spelled), *_security(spelled)]


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
        ("NodeTypes", properties.get("NodeTypes"), ("Name", *PORTS)),
    ):
        for number, item in enumerate(items if isinstance(items, list) else ()):
            missing = [key for key in keys if not isinstance(item, Mapping) or item.get(key) in (None, "")]
            if missing:
                yield f"{place}[{number}] lacks {', '.join(missing)}."


def _nodes(spelled: Mapping[str, Any]) -> Iterator[str]:
    listed = list(entries(spelled))
    if len(listed) == 2 or len(listed) > _MOST_NODES:
        yield f"A cluster has one node or from 3 to {_MOST_NODES}, not {len(listed)}."
    for what, values in (
        ("node name", (entry.name.lower() for entry in listed)),
        ("machine", (entry.address.lower() for entry in listed)),
    ):
        for value in sorted(value for value, count in Counter(values).items() if count > 1):
            yield f"The {what} {value} is used by more than one node."
    types = {node_type["Name"] for node_type in spelled["Properties"]["NodeTypes"]}
    for entry in listed:
        if not _NAME.fullmatch(entry.name):
            yield f"The node name {entry.name} has characters that no file name may have."
        if not _is_address(entry.address):
            yield f"Node {entry.name}: {entry.address} is neither an IP address nor a host name."
        if entry.type not in types:
            yield f"Node {entry.name}: there is no node type {entry.type}."
        if not entry.fault_domain.lower().startswith("fd:/"):
            yield f"Node {entry.name}: the fault domain {entry.fault_domain} does not begin with fd:/."
    if len(listed) > 2:
        for what, domains in (
            ("fault", {entry.fault_domain for entry in listed}),
            ("upgrade", {entry.upgrade_domain for entry in listed}),
        ):
            if len(domains) <= 2:
                yield f"A cluster of more than 2 nodes has more than 2 {what} domains, not {len(domains)}."


def _types(spelled: Mapping[str, Any]) -> Iterator[str]:
    raw = spelled["Properties"]["NodeTypes"]
    for name in sorted(name for name, count in Counter(item["Name"] for item in raw).items() if count > 1):
        yield f"The node type {name} is there more than once."
    for item in raw:
        for key in (*PORTS, *(("ReverseProxyEndpointPort",) if item.get("ReverseProxyEndpointPort") else ())):
            if not is_port(item[key]):
                yield f"Node type {item['Name']}: {key} is {item[key]!r}, which is no port."
        for key in ("ApplicationPorts", "EphemeralPorts"):
            ports = item.get(key)
            if ports and not (is_port(ports.get("StartPort")) and is_port(ports.get("EndPort"))):
                yield f"Node type {item['Name']}: {key} needs StartPort and EndPort."
                return
    types = list(node_types(spelled))
    primary = [node_type.name for node_type in types if node_type.primary]
    if len(primary) != 1:
        yield f"Exactly one node type is primary, not {len(primary)} ({', '.join(primary) or 'none'})."
    else:
        count = sum(entry.type == primary[0] for entry in entries(spelled))
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
    if other := sorted(kinds - {"None", "X509"}):
        yield f"The sandbox knows the credential types None and X509, not {', '.join(other)}."
    if not is_secured(security):
        return
    certificates = security.get("CertificateInformation") or {}
    for role in ("Cluster", "Server"):
        names = (certificates.get(f"{role}CertificateCommonNames") or {}).get("CommonNames")
        if not names and not certificates.get(f"{role}Certificate"):
            yield f"X509 security needs {role}CertificateCommonNames or {role}Certificate."
    for item in certificates.get("ClientCertificateCommonNames") or ():
        if not item.get("CertificateCommonName") or not isinstance(item.get("IsAdmin"), bool):
            yield "Each of ClientCertificateCommonNames has a CertificateCommonName and IsAdmin."


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return bool(_HOST.fullmatch(value)) and not value.replace(".", "").isdigit()
    return True
