"""What the gateway shows of applications and their services, in the REST API's own field names."""

from typing import Any

from envs.sandbox.fabric.answers import NEVER, application_state, timestamp
from envs.sandbox.fabric.applications import Application, Service
from envs.sandbox.fabric.model import Cluster
from envs.sandbox.fabric.nodes import Health
from envs.sandbox.fabric.packages import ApplicationType, ServiceType
from envs.sandbox.fabric.upgrade import UpgradeState


def application_health(cluster: Cluster, found: Application) -> dict[str, Any]:
    """ApplicationHealth."""
    return {
        "Name": found.name,
        "AggregatedHealthState": application_state(cluster, found),
        "HealthEvents": [],
        "UnhealthyEvaluations": [],
        "HealthStatistics": {"HealthStateCountList": []},
        "ServiceHealthStates": [
            {"ServiceName": service.name, "AggregatedHealthState": cluster.partition_health(service.partition)}
            for service in found.services.values()
        ],
        "DeployedApplicationHealthStates": [],
    }


def application_upgrade(cluster: Cluster, found: Application) -> dict[str, Any]:
    """ApplicationUpgradeProgressInfo; of an application that never was upgraded, what it is now."""
    upgrade = found.upgrade
    shown = {
        "Name": found.name,
        "TypeName": found.type.name,
        "TargetApplicationTypeVersion": found.type.version,
        "UpgradeDomains": [],
        "UpgradeState": UpgradeState.DONE,
        "NextUpgradeDomain": "",
        "RollingUpgradeMode": "UnmonitoredAuto",
        "UpgradeDurationInMilliseconds": "0",
        "StartTimestampUtc": NEVER,
        "FailureReason": "None",
        "IsNodeByNode": False,
    }
    if upgrade is None:
        return shown
    domains = [{"Name": name, "State": upgrade.domain_state(index)} for index, name in enumerate(upgrade.domains)]
    end = cluster.now if upgrade.ended is None else upgrade.ended
    return shown | {
        "TargetApplicationTypeVersion": upgrade.target.version,
        "UpgradeDomains": domains,
        "UpgradeState": upgrade.state,
        "NextUpgradeDomain": next((item["Name"] for item in domains if item["State"] == "Pending"), ""),
        "RollingUpgradeMode": upgrade.mode,
        "UpgradeDurationInMilliseconds": str(int((end - upgrade.started) * 1000)),
        "StartTimestampUtc": timestamp(upgrade.started),
    }


def application_type(found: ApplicationType) -> dict[str, Any]:
    """ApplicationTypeInfo."""
    return {
        "Name": found.name,
        "Version": found.version,
        "DefaultParameterList": _parameters(found.parameters.items()),
        "Status": "Available",
        "StatusDetails": "",
        "ApplicationTypeDefinitionKind": "ServiceFabricApplicationPackage",
    }


def service_type(found: ServiceType) -> dict[str, Any]:
    """ServiceTypeInfo."""
    return {
        "ServiceTypeDescription": {
            "Kind": "Stateful" if found.stateful else "Stateless",
            "IsStateful": found.stateful,
            "ServiceTypeName": found.name,
            "PlacementConstraints": found.constraints,
            **({"HasPersistedState": found.persisted} if found.stateful else {}),
        },
        "ServiceManifestName": found.manifest,
        "ServiceManifestVersion": found.manifest_version,
        "IsServiceGroup": False,
    }


def application(cluster: Cluster, found: Application) -> dict[str, Any]:
    """ApplicationInfo."""
    return {
        "Id": found.id,
        "Name": found.name,
        "TypeName": found.type.name,
        "TypeVersion": found.type.version,
        "Status": "Upgrading" if found.upgrade is not None and found.upgrade.running else "Ready",
        "Parameters": _parameters(found.parameters.items()),
        "HealthState": application_state(cluster, found),
        "ApplicationDefinitionKind": "ServiceFabricApplicationDescription",
    }


def service(cluster: Cluster, found: Service) -> dict[str, Any]:
    """StatefulServiceInfo or StatelessServiceInfo."""
    return {
        "Id": found.id,
        "ServiceKind": "Stateful" if found.type.stateful else "Stateless",
        "Name": found.name,
        "TypeName": found.type.name,
        "ManifestVersion": found.type.manifest_version,
        "HealthState": cluster.partition_health(found.partition),
        "ServiceStatus": "Active",
        "IsServiceGroup": False,
        **({"HasPersistedState": found.type.persisted} if found.type.stateful else {}),
    }


def partition(cluster: Cluster, found: Service) -> dict[str, Any]:
    """StatefulServicePartitionInfo or StatelessServicePartitionInfo."""
    place = found.partition
    numbers = (
        {"TargetReplicaSetSize": place.target, "MinReplicaSetSize": place.minimum}
        if place.stateful
        else {"InstanceCount": place.target}
    )
    ready = bool(place.running) and not place.quorum_lost
    return {
        "ServiceKind": "Stateful" if place.stateful else "Stateless",
        "HealthState": cluster.partition_health(place),
        "PartitionStatus": "InQuorumLoss" if place.quorum_lost else "Ready" if ready else "NotReady",
        "PartitionInformation": {"ServicePartitionKind": "Singleton", "Id": place.id},
        **numbers,
    }


def replicas(found: Service) -> list[dict[str, Any]]:
    """StatefulServiceReplicaInfo or StatelessServiceInstanceInfo."""
    place = found.partition
    return [
        {
            "ServiceKind": "Stateful" if place.stateful else "Stateless",
            "ReplicaStatus": "Ready" if replica.up else "Down",
            "HealthState": Health.OK if replica.up else Health.WARNING,
            "NodeName": replica.node,
            "Address": "",
            "LastInBuildDurationInSeconds": "0",
            **(
                {
                    "ReplicaId": str(replica.number),
                    "ReplicaRole": "Primary" if replica.primary else "ActiveSecondary",
                }
                if place.stateful
                else {"InstanceId": str(replica.number)}
            ),
        }
        for replica in sorted(place.replicas.values(), key=lambda replica: replica.number)
    ]


def _parameters(items: Any) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in items]
