"""A standalone cluster's configuration (ClusterConfig.json), as the product's installer accepts it.

Keys may begin with a small letter, as in Microsoft's samples; they are shown as the product writes them: with a
capital.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from envs.sandbox.fabric.configuration_reading import (
    ClientName,
    NodeEntry,
    NodeType,
    clients,
    entries,
    is_secured,
    node_types,
    spell,
    to_remove,
)
from envs.sandbox.fabric.configuration_rules import broken
from envs.sandbox.fabric.errors import FabricError

_LEVELS: Final = ((9, "Platinum"), (7, "Gold"), (5, "Silver"), (3, "Bronze"), (1, "Iron"))
"""Seed nodes and reliability by the number of primary nodes (`ReliabilityLevel.cs`)."""


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
    spelled = spell(document)
    if found := broken(spelled):
        raise FabricError(code, "ValidationException: Model validation error. " + " ".join(found))
    properties = spelled["Properties"]
    security = properties.get("Security") or {}
    certificates = security.get("CertificateInformation") or {}
    return Configuration(
        name=spelled["Name"],
        version=str(spelled["ClusterConfigurationVersion"]),
        nodes={entry.name: entry for entry in entries(spelled)},
        types={node_type.name: node_type for node_type in node_types(spelled)},
        secured=is_secured(security),
        clients=tuple(clients(certificates)),
        cluster_names=tuple(
            item["CertificateCommonName"]
            for item in (certificates.get("ClusterCertificateCommonNames") or {}).get("CommonNames", ())
        ),
        to_remove=to_remove(properties),
        code_version=str(spelled.get("ClusterCodeVersion") or properties.get("ClusterCodeVersion") or ""),
        document=spelled,
    )
