"""The cluster manifest (XML) that follows from a standalone cluster's configuration."""

from collections.abc import Mapping
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from envs.sandbox.fabric.configuration import Configuration

_NAMESPACE: Final = "http://schemas.microsoft.com/2011/01/fabric"
_ENDPOINTS: Final = {
    "ClientConnectionEndpoint": "ClientConnectionEndpointPort",
    "LeaseDriverEndpoint": "LeaseDriverEndpointPort",
    "ClusterConnectionEndpoint": "ClusterConnectionEndpointPort",
    "HttpGatewayEndpoint": "HttpGatewayEndpointPort",
    "HttpApplicationGatewayEndpoint": "ReverseProxyEndpointPort",
    "ServiceConnectionEndpoint": "ServiceConnectionEndpointPort",
}


def render(configuration: Configuration, seeds: tuple[str, ...], version: int) -> str:
    """As GetClusterManifest answers: a node is in it as long as the configuration lists it."""
    root = Element("ClusterManifest", xmlns=_NAMESPACE, Name=configuration.name, Version=str(version))
    types = SubElement(root, "NodeTypes")
    for node_type in configuration.types.values():
        item = SubElement(types, "NodeType", Name=node_type.name)
        endpoints = SubElement(item, "Endpoints")
        for element, key in _ENDPOINTS.items():
            if key in node_type.ports:
                endpoint = SubElement(endpoints, element, Port=str(node_type.ports[key]))
                if "Http" in element:
                    endpoint.set("Protocol", "https" if configuration.secured else "http")
        for element, ports in (
            ("ApplicationEndpoints", node_type.application_ports),
            ("EphemeralEndpoints", node_type.ephemeral_ports),
        ):
            if ports is not None:
                SubElement(endpoints, element, StartPort=str(ports[0]), EndPort=str(ports[1]))
    infrastructure = SubElement(root, "Infrastructure")
    nodes = SubElement(SubElement(infrastructure, "WindowsServer", IsScaleMin="false"), "NodeList")
    for entry in configuration.nodes.values():
        SubElement(
            nodes,
            "Node",
            NodeName=entry.name,
            IPAddressOrFQDN=entry.address,
            IsSeedNode="true" if entry.name in seeds else "false",
            NodeTypeRef=entry.type,
            FaultDomain=entry.fault_domain,
            UpgradeDomain=entry.upgrade_domain,
        )
    _settings(SubElement(root, "FabricSettings"), configuration)
    indent(root)
    return tostring(root, "unicode", xml_declaration=True)


def _settings(parent: Element, configuration: Configuration) -> None:
    properties = configuration.document["Properties"]
    security = properties.get("Security") or {}
    credentials = {key: security.get(key, "None") for key in ("ClusterCredentialType", "ServerCredentialType")}
    _section(parent, "Security", credentials)
    certificates = security.get("CertificateInformation") or {}
    for section, names in (
        (
            "Security/ClusterX509Names",
            (certificates.get("ClusterCertificateCommonNames") or {}).get("CommonNames", ()),
        ),
        ("Security/ServerX509Names", (certificates.get("ServerCertificateCommonNames") or {}).get("CommonNames", ())),
        ("Security/AdminClientX509Names", [name for name in _clients(certificates) if name["IsAdmin"]]),
        ("Security/ClientX509Names", [name for name in _clients(certificates) if not name["IsAdmin"]]),
    ):
        if names:
            _section(
                parent,
                section,
                {name["CertificateCommonName"]: name.get("CertificateIssuerThumbprint") or "" for name in names},
            )
    for section in properties.get("FabricSettings") or ():
        _section(parent, section["Name"], {item["Name"]: item["Value"] for item in section.get("Parameters") or ()})


def _section(parent: Element, name: str, parameters: Mapping[str, Any]) -> None:
    section = SubElement(parent, "Section", Name=name)
    for key, value in parameters.items():
        SubElement(section, "Parameter", Name=key, Value=str(value))


def _clients(certificates: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(certificates.get("ClientCertificateCommonNames") or ())
