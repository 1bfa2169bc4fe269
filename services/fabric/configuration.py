"""Compiles ClusterConfig.json for a standalone cluster, and changes one.

Its shape is that of Azure-Samples/service-fabric-dotnet-standalone-cluster-configuration (X509.MultiMachine) and of
"Configuration settings for a standalone Windows cluster". The level of reliability is left out on purpose: it follows
from the number of seeds.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.fabric import domains
from services.fabric.client import CONFIGURATION_VERSION
from services.fabric.errors import FabricServiceError
from services.fabric.rules.update import TO_BE_REMOVED
from services.fabric.rules.view import get, items, sections, text

SEED: Final = "Seed"
"""The primary node type: nothing but seeds."""
WORKER: Final = "Worker"
"""The other node type: machines that come and go."""
FIRST_VERSION: Final = "1.0.0"
DATA_ROOT: Final = "D:\\SF"
LOG_ROOT: Final = "D:\\SF\\Log"
DIAGNOSTICS: Final = "D:\\SF\\Diagnostics"
_DIAGNOSTICS_DAYS: Final = 21

_PORTS: Final[Mapping[str, Any]] = {
    "clientConnectionEndpointPort": 19000,
    "clusterConnectionEndpointPort": 19001,
    "leaseDriverEndpointPort": 19002,
    "serviceConnectionEndpointPort": 19003,
    "httpGatewayEndpointPort": 19080,
    "reverseProxyEndpointPort": 19081,
    "applicationPorts": {"startPort": 20001, "endPort": 20031},
    "ephemeralPorts": {"startPort": 20606, "endPort": 20861},
}
"""What the nodes' security group lets through (infra/nodes.py)."""


@dataclass(frozen=True)
class Seat:
    """A seed as the configuration names it: the address that its interface keeps, and the zone it stands in."""

    node: str
    address: str
    zone: str


@dataclass(frozen=True)
class Certificates:
    """By which common names nodes and the administrating client are known, and the SHA-1 thumbprint of who issues."""

    node: str
    client: str
    issuer: str


def compiled(
    cluster: str, seats: Iterable[Seat], certificates: Certificates, diagnostics: str = DIAGNOSTICS
) -> dict[str, Any]:
    """The configuration that a cluster is formed with: its seeds, and the type that workers will have."""
    seats = list(seats)
    places = domains.of_seeds({seat.node: seat.zone for seat in seats})
    return {
        "name": cluster,
        "clusterConfigurationVersion": FIRST_VERSION,
        "apiVersion": CONFIGURATION_VERSION,
        "nodes": [node(seat.node, seat.address, SEED, *places[seat.node]) for seat in seats],
        "properties": {
            "diagnosticsStore": {
                "metadata": "Traces of the nodes",
                "dataDeletionAgeInDays": _DIAGNOSTICS_DAYS,
                "storeType": "FileShare",
                "connectionstring": diagnostics,
            },
            "security": {
                "ClusterCredentialType": "X509",
                "ServerCredentialType": "X509",
                "CertificateInformation": _certificates(certificates),
            },
            "nodeTypes": [
                {"name": SEED, **copy.deepcopy(_PORTS), "isPrimary": True},
                {"name": WORKER, **copy.deepcopy(_PORTS), "isPrimary": False},
            ],
            # Microsoft's updates would arrive by themselves, while AddNode is refused during an upgrade.
            "fabricClusterAutoupgradeEnabled": False,
            "fabricSettings": [
                {
                    "name": "Setup",
                    "parameters": [
                        {"name": "FabricDataRoot", "value": DATA_ROOT},
                        {"name": "FabricLogRoot", "value": LOG_ROOT},
                    ],
                }
            ],
        },
    }


def node(name: str, address: str, kind: str, fault_domain: str, upgrade_domain: str) -> dict[str, str]:
    """A node of a configuration."""
    return {
        "nodeName": name,
        "iPAddress": address,
        "nodeTypeRef": kind,
        "faultDomain": fault_domain,
        "upgradeDomain": upgrade_domain,
    }


def _certificates(certificates: Certificates) -> dict[str, Any]:
    """The issuer is named by its thumbprint: another authority of the same name issues nothing that counts."""
    nodes = {
        "CommonNames": [
            {
                "CertificateCommonName": certificates.node,
                "CertificateIssuerThumbprint": certificates.issuer,
            }
        ],
        "X509StoreName": "My",
    }
    return {
        "ClusterCertificateCommonNames": nodes,
        "ServerCertificateCommonNames": copy.deepcopy(nodes),
        "ClientCertificateCommonNames": [
            {
                "CertificateCommonName": certificates.client,
                "CertificateIssuerThumbprint": certificates.issuer,
                "IsAdmin": True,
            }
        ],
    }


def rendered(configuration: Mapping[str, Any]) -> str:
    """The configuration as its file."""
    return json.dumps(configuration, indent=2) + "\n"


def addresses(configuration: Mapping[str, Any], kind: str | None = None) -> dict[str, str]:
    """The address of each node of a configuration, of one type or of all."""
    return {
        text(each, "nodeName"): text(each, "iPAddress")
        for each in items(configuration, "nodes")
        if kind is None or text(each, "nodeTypeRef") == kind
    }


def following(current: Mapping[str, Any]) -> dict[str, Any]:
    """A copy to be changed, under the version after the current one, and without what only the last upgrade meant."""
    new = copy.deepcopy(dict(current))
    version = text(new, "clusterConfigurationVersion")
    head, _, last = version.rpartition(".")
    if not last.isdigit():
        raise FabricServiceError(f"the configuration's version {version!r} ends in no number to count on from")
    _put(new, "clusterConfigurationVersion", f"{head}.{int(last) + 1}" if head else str(int(last) + 1))
    for section in sections(new):
        parameters = get(section, "parameters") or []
        parameters[:] = [each for each in parameters if text(each, "name").lower() != TO_BE_REMOVED.lower()]
    return new


def with_listed(current: Mapping[str, Any], listed: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """The same configuration, of the same version, with another list of nodes."""
    new = copy.deepcopy(dict(current))
    _put(new, "nodes", [dict(each) for each in listed])
    return new


def with_members(current: Mapping[str, Any], members: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """The configuration after the current one that lists exactly these nodes, as `node` makes them.

    Nodes that it lists already stay as they are there; those that it leaves out are named, as an upgrade wants it.
    """
    new = following(current)
    listed = {text(each, "nodeName"): each for each in items(new, "nodes")}
    wanted = {text(each, "nodeName"): each for each in members}
    _put(new, "nodes", [dict(listed.get(name, each)) for name, each in wanted.items()])
    if gone := sorted(listed.keys() - wanted.keys()):
        new = with_setting(new, "Setup", TO_BE_REMOVED, ",".join(gone))
    return new


def without(current: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The configuration after the current one that leaves nodes out."""
    gone = set(names)
    return with_members(current, [each for each in items(current, "nodes") if text(each, "nodeName") not in gone])


def with_nodes(current: Mapping[str, Any], added: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """The configuration after the current one that has more nodes, which have joined the cluster before."""
    return with_members(current, [*items(current, "nodes"), *added])


def with_setting(configuration: Mapping[str, Any], section: str, name: str, value: str) -> dict[str, Any]:
    """The same configuration with one parameter of fabricSettings set."""
    new = copy.deepcopy(dict(configuration))
    properties = get(new, "properties")
    found = next((each for each in sections(new) if text(each, "name").lower() == section.lower()), None)
    if found is None:
        found = {"name": section, "parameters": []}
        settings = get(properties, "fabricSettings")
        if settings is None:
            settings = properties["fabricSettings"] = []
        settings.append(found)
    parameters = get(found, "parameters")
    same = next((each for each in parameters if text(each, "name").lower() == name.lower()), None)
    if same is None:
        parameters.append({"name": name, "value": value})
    else:
        _put(same, "value", value)
    return new


def with_code_version(configuration: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The same configuration with another version of Service Fabric."""
    new = copy.deepcopy(dict(configuration))
    _put(get(new, "properties"), "codeVersion", version)
    return new


def _put(mapping: dict[str, Any], name: str, value: Any) -> None:
    """Sets a value under the name as it is written there: the product does not tell upper from lower case."""
    mapping[next((key for key in mapping if key.lower() == name.lower()), name)] = value
