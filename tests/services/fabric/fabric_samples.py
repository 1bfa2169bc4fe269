"""Configurations in the shapes that Microsoft documents, written for these tests."""

import copy
from typing import Any

THUMBPRINT = "d5 ec 42 3b 79 cb e5 07 fd 83 59 3c 56 b9 d5 31 24 25 42 64"


def node_type(name: str, first: int = 0, primary: bool = True) -> dict[str, Any]:
    """A node type with the documented ports, all of them moved by `first`; numbers are text there."""
    return {
        "name": name,
        "clientConnectionEndpointPort": str(19000 + first),
        "clusterConnectionEndpointPort": str(19001 + first),
        "leaseDriverEndpointPort": str(19002 + first),
        "serviceConnectionEndpointPort": str(19003 + first),
        "httpGatewayEndpointPort": str(19080 + first),
        "reverseProxyEndpointPort": str(19081 + first),
        "applicationPorts": {"startPort": str(20001 + 40 * first), "endPort": str(20031 + 40 * first)},
        "isPrimary": primary,
    }


def _named(name: str) -> dict[str, Any]:
    return {"CommonNames": [{"CertificateCommonName": name}], "X509StoreName": "My"}


def _store(name: str) -> list[dict[str, str]]:
    return [{"IssuerCommonName": name, "X509StoreNames": "Root"}]


def multi_machine() -> dict[str, Any]:
    """As ClusterConfig.X509.MultiMachine: three machines, certificates by common name, issuers by store."""
    return {
        "name": "SampleCluster",
        "clusterConfigurationVersion": "1.0.0",
        "apiVersion": "10-2017",
        "nodes": [
            {
                "nodeName": f"vm{number}",
                "iPAddress": f"machine{number + 1}",
                "nodeTypeRef": "NodeType0",
                "faultDomain": f"fd:/dc1/r{number}",
                "upgradeDomain": f"UD{number}",
            }
            for number in range(3)
        ],
        "properties": {
            "diagnosticsStore": {
                "metadata": "a share that all machines reach",
                "dataDeletionAgeInDays": "21",
                "storeType": "FileShare",
                "connectionstring": "\\\\machine1\\DiagnosticsStore",
            },
            "security": {
                "ClusterCredentialType": "X509",
                "ServerCredentialType": "X509",
                "CertificateInformation": {
                    "ClusterCertificateCommonNames": _named("nodes.example"),
                    "ClusterCertificateIssuerStores": _store("authority"),
                    "ServerCertificateCommonNames": _named("nodes.example"),
                    "ServerCertificateIssuerStores": _store("authority"),
                    "ReverseProxyCertificateCommonNames": _named("proxy.example"),
                    "ClientCertificateThumbprints": [
                        {"CertificateThumbprint": THUMBPRINT, "IsAdmin": False},
                        {"CertificateThumbprint": "[Thumbprint]", "IsAdmin": True},
                    ],
                    "ClientCertificateCommonNames": [{"CertificateCommonName": "client.example", "IsAdmin": True}],
                    "ClientCertificateIssuerStores": _store("authority"),
                },
            },
            "nodeTypes": [node_type("NodeType0")],
            "fabricSettings": [
                {
                    "name": "Setup",
                    "parameters": [
                        {"name": "FabricDataRoot", "value": "C:\\ProgramData\\SF"},
                        {"name": "FabricLogRoot", "value": "C:\\ProgramData\\SF\\Log"},
                    ],
                }
            ],
        },
    }


def one_machine() -> dict[str, Any]:
    """As ClusterConfig.X509.DevCluster: three nodes of three types on one machine, certificates by thumbprint."""
    found = multi_machine()
    certificate = {"Thumbprint": THUMBPRINT, "ThumbprintSecondary": THUMBPRINT.upper(), "X509StoreName": "My"}
    found["properties"]["security"]["CertificateInformation"] = {
        "ClusterCertificate": certificate,
        "ServerCertificate": copy.deepcopy(certificate),
        "ClientCertificateThumbprints": [{"CertificateThumbprint": THUMBPRINT, "IsAdmin": True}],
    }
    found["properties"]["nodeTypes"] = [node_type(f"NodeType{n}", 4 * n, primary=n == 0) for n in range(3)]
    for number, node in enumerate(found["nodes"]):
        node.update(iPAddress="localhost", nodeTypeRef=f"NodeType{number}")
    return found


def windows() -> dict[str, Any]:
    """As ClusterConfig.gMSA.Windows.MultiMachine."""
    found = multi_machine()
    found["properties"]["security"] = {
        "ClusterCredentialType": "Windows",
        "ServerCredentialType": "Windows",
        "WindowsIdentities": {
            "ClustergMSAIdentity": "account$@example.com",
            "ClusterSPN": "http/fabric.example.com",
            "ClientIdentities": [{"Identity": "domain\\user", "IsAdmin": True}],
        },
    }
    return found


def unsecure_single() -> dict[str, Any]:
    """As ClusterConfig.Unsecure.OneNode: one node, no security."""
    found = multi_machine()
    del found["properties"]["security"]
    del found["properties"]["diagnosticsStore"]
    found["nodes"] = found["nodes"][:1]
    return found
