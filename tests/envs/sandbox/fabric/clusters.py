"""Clusters for tests: a configuration as the fleet has it, and a clock that is set by hand."""

from typing import Any

from envs.sandbox.fabric.model import Cluster
from envs.sandbox.fabric.timings import Timings

VERSION = "10.1.2175.9590"
PACE = Timings(
    forming=10,
    joining=5,
    lease=3,
    safety_check=1,
    replica=4,
    deactivate=2,
    activate=2,
    replica_restart_wait=60,
    upgrade_domain=10,
    health_retry=30,
    removed_keep=1000,
)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


def entry(name: str, number: int, node_type: str = "Seed") -> dict[str, Any]:
    return {
        "nodeName": name,
        "iPAddress": f"10.0.{1 if node_type == 'Seed' else 2}.{number + 10}",
        "nodeTypeRef": node_type,
        "faultDomain": f"fd:/zone{number % 3}/{number}",
        "upgradeDomain": f"UD{number % 5}",
    }


def node_type(name: str, *, primary: bool) -> dict[str, Any]:
    return {
        "name": name,
        "clientConnectionEndpointPort": "19000",
        "clusterConnectionEndpointPort": "19001",
        "leaseDriverEndpointPort": "19002",
        "serviceConnectionEndpointPort": "19003",
        "httpGatewayEndpointPort": "19080",
        "reverseProxyEndpointPort": "19081",
        "applicationPorts": {"startPort": "20575", "endPort": "20605"},
        "ephemeralPorts": {"startPort": "20606", "endPort": "20861"},
        "isPrimary": primary,
    }


def certificates(authority: str = "") -> dict[str, Any]:
    names = {"CommonNames": [{"CertificateCommonName": "drill-node"}], "X509StoreName": "My"}
    return {
        "ClusterCredentialType": "X509",
        "ServerCredentialType": "X509",
        "CertificateInformation": {
            "ClusterCertificateCommonNames": names,
            "ServerCertificateCommonNames": names,
            "ClientCertificateCommonNames": [
                {
                    "CertificateCommonName": "drill-client",
                    "CertificateIssuerThumbprint": authority,
                    "IsAdmin": True,
                },
                {"CertificateCommonName": "drill-reader", "IsAdmin": False},
            ],
        },
    }


def document(seeds: int = 5, *, security: dict[str, Any] | None = None) -> dict[str, Any]:
    """ClusterConfig.json in the spelling of Microsoft's samples."""
    return {
        "name": "drill",
        "clusterConfigurationVersion": "1.0.0",
        "apiVersion": "06-2023",
        "nodes": [entry(f"seed-{number}", number) for number in range(seeds)],
        "properties": {
            "diagnosticsStore": {
                "metadata": "Diagnostics",
                "dataDeletionAgeInDays": "21",
                "storeType": "FileShare",
                "connectionstring": "C:\\ProgramData\\SF\\DiagnosticsStore",
            },
            **({"security": security} if security else {}),
            "nodeTypes": [node_type("Seed", primary=True), node_type("Worker", primary=False)],
            "fabricSettings": [
                {
                    "name": "Setup",
                    "parameters": [
                        {"name": "FabricDataRoot", "value": "D:\\SF"},
                        {"name": "FabricLogRoot", "value": "D:\\SF\\Log"},
                    ],
                }
            ],
        },
    }


def address(name: str) -> str:
    kind, number = name.split("-")
    return entry(name, int(number), "Seed" if kind == "seed" else "Worker")["iPAddress"]


def formed(clock: Clock, seeds: int = 5, *, security: dict[str, Any] | None = None) -> Cluster:
    """A cluster of seed nodes that are all up."""
    cluster = Cluster(clock, PACE)
    for number in range(seeds):
        cluster.prepare(address(f"seed-{number}"))
    cluster.form(document(seeds, security=security), VERSION)
    clock.passes(PACE.forming)
    return cluster


def join(cluster: Cluster, clock: Clock, *numbers: int) -> None:
    """Workers join, and are up."""
    for number in numbers:
        name = f"worker-{number}"
        place = entry(name, number, "Worker")
        cluster.prepare(place["iPAddress"])
        cluster.add_node(name, "Worker", place["iPAddress"], place["upgradeDomain"], place["faultDomain"], VERSION)
    clock.passes(PACE.joining)


def next_configuration(cluster: Cluster, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The cluster's current configuration as the next one, with the nodes that have left it named."""
    found = dict(cluster.current_configuration())
    major, minor, patch = cluster.configuration.version.split(".")
    found["ClusterConfigurationVersion"] = f"{major}.{minor}.{int(patch) + 1}"
    found["Nodes"] = [node for node in found["Nodes"] if node["NodeName"] not in without]
    there = {node["NodeName"] for node in found["Nodes"]}
    gone = sorted(name for name in cluster.configuration.nodes if name not in there)
    parameters = [{"Name": "FabricDataRoot", "Value": "D:\\SF"}, {"Name": "FabricLogRoot", "Value": "D:\\SF\\Log"}]
    if gone:
        parameters.append({"Name": "NodesToBeRemoved", "Value": ",".join(gone)})
    settings = [{"Name": "Setup", "Parameters": parameters}]
    found["Properties"] = {**found["Properties"], "FabricSettings": settings}
    return found
