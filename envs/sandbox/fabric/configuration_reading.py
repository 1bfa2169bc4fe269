"""A standalone cluster's configuration, read: nodes, node types, certificates. What it says is judged elsewhere."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

PORTS: Final = (
    "ClientConnectionEndpointPort",
    "ClusterConnectionEndpointPort",
    "LeaseDriverEndpointPort",
    "ServiceConnectionEndpointPort",
    "HttpGatewayEndpointPort",
)
"""The endpoints that every node type has."""


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


def spell(value: Any) -> Any:
    """The document with every key's first letter in upper case."""
    if isinstance(value, Mapping):
        return {key[:1].upper() + key[1:]: spell(item) for key, item in value.items()}
    return [spell(item) for item in value] if isinstance(value, list) else value


def is_secured(security: Mapping[str, Any]) -> bool:
    """Whether clients and nodes show certificates."""
    return security.get("ServerCredentialType") == "X509"


def entries(spelled: Mapping[str, Any]) -> Iterator[NodeEntry]:
    """The nodes in their order."""
    for item in spelled["Nodes"]:
        yield NodeEntry(
            item["NodeName"], item["IPAddress"], item["NodeTypeRef"], item["FaultDomain"], item["UpgradeDomain"]
        )


def node_types(spelled: Mapping[str, Any]) -> Iterator[NodeType]:
    """The node types in their order."""
    for item in spelled["Properties"]["NodeTypes"]:
        keys = (*PORTS, *(("ReverseProxyEndpointPort",) if item.get("ReverseProxyEndpointPort") else ()))
        yield NodeType(
            item["Name"],
            item.get("IsPrimary") is True,
            {key: int(item[key]) for key in keys if is_port(item[key])},
            _range(item.get("ApplicationPorts")),
            _range(item.get("EphemeralPorts")),
        )


def clients(certificates: Mapping[str, Any]) -> Iterator[ClientName]:
    """The client certificates that are accepted by common name."""
    for item in certificates.get("ClientCertificateCommonNames") or ():
        issuers = str(item.get("CertificateIssuerThumbprint") or "").replace(" ", "").lower()
        yield ClientName(item["CertificateCommonName"], frozenset(filter(None, issuers.split(","))), item["IsAdmin"])


def to_remove(properties: Mapping[str, Any]) -> tuple[str, ...]:
    """What NodesToBeRemoved of the section Setup names."""
    for section in properties.get("FabricSettings") or ():
        for parameter in section.get("Parameters") or () if section.get("Name", "").lower() == "setup" else ():
            if parameter.get("Name", "").lower() == "nodestoberemoved":
                return tuple(filter(None, (name.strip() for name in parameter["Value"].split(","))))
    return ()


def is_port(value: Any) -> bool:
    """Whether it is a port number, as text or as a number."""
    return str(value).isdigit() and 0 < int(value) < 65536


def _range(ports: Mapping[str, Any] | None) -> tuple[int, int] | None:
    return (int(ports["StartPort"]), int(ports["EndPort"])) if ports else None
