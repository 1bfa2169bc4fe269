"""What the gateway shows of a cluster, in the REST API's own field names."""

from datetime import UTC, datetime
from typing import Any, Final

from envs.sandbox.fabric.applications import Application, Service
from envs.sandbox.fabric.model import Cluster
from envs.sandbox.fabric.nodes import Health, Node, Phase, SafetyCheck
from envs.sandbox.fabric.packages import ApplicationType, ServiceType
from envs.sandbox.fabric.upgrade import Upgrade, UpgradeState

_NEVER: Final = "0001-01-01T00:00:00.000Z"
_FOR_EVER: Final = "P10675199DT02H48M05.4775807S"


def node(cluster: Cluster, found: Node) -> dict[str, Any]:
    """NodeInfo."""
    seconds = str(int(cluster.now - found.since))
    shown = found.removed is None and found.known
    return {
        "Name": found.name,
        "IpAddressOrFQDN": found.address,
        "Type": found.type,
        "CodeVersion": found.version,
        "ConfigVersion": found.config_version,
        "NodeStatus": found.status,
        "NodeUpTimeInSeconds": seconds if found.up else "0",
        "NodeDownTimeInSeconds": "0" if found.up else seconds,
        "NodeUpAt": _time(found.since) if found.up else _NEVER,
        "NodeDownAt": _NEVER if found.up else _time(found.since),
        "HealthState": cluster.node_health(found.name) if shown else "Unknown",
        "IsSeedNode": cluster.is_seed(found.name),
        "UpgradeDomain": found.upgrade_domain,
        "FaultDomain": found.fault_domain,
        "Id": {"Id": found.id},
        "InstanceId": str(found.instance),
        "NodeDeactivationInfo": _deactivation(cluster, found),
        "IsStopped": False,
        "NodeTags": [],
        "IsNodeByNodeUpgradeInProgress": False,
        "InfrastructurePlacementID": "",
    }


def node_health(cluster: Cluster, found: Node) -> dict[str, Any]:
    """NodeHealth, with the Failover Manager's report."""
    health = cluster.node_health(found.name)
    text = "Fabric node is up." if found.up else "Fabric node is down."
    return {
        "Name": found.name,
        "AggregatedHealthState": health,
        "HealthEvents": [_event("System.FM", "State", health, text, found.since, found.instance)],
        "UnhealthyEvaluations": [] if health is Health.OK else [_evaluation("Event", health, text)],
        "HealthStatistics": {"HealthStateCountList": []},
    }


def cluster_health(cluster: Cluster) -> dict[str, Any]:
    """ClusterHealth."""
    nodes = [
        {"Name": found.name, "Id": {"Id": found.id}, "AggregatedHealthState": cluster.node_health(found.name)}
        for found in cluster.nodes()
    ]
    applications = [
        {"Name": found.name, "AggregatedHealthState": application_state(cluster, found)}
        for found in cluster.applications.applications.values()
    ]
    states = {
        "Node": [item["AggregatedHealthState"] for item in nodes],
        "Application": [item["AggregatedHealthState"] for item in applications],
    }
    return {
        "AggregatedHealthState": cluster.health(),
        "HealthEvents": [],
        "UnhealthyEvaluations": [
            _evaluation(f"{kind}s", cluster.health(), f"Unhealthy {kind.lower()}s: {bad} of {len(found)}.")
            for kind, found in states.items()
            if (bad := sum(state is not Health.OK for state in found))
        ],
        "HealthStatistics": {
            "HealthStateCountList": [
                {
                    "EntityKind": kind,
                    "HealthStateCount": {
                        "OkCount": found.count(Health.OK),
                        "WarningCount": found.count(Health.WARNING),
                        "ErrorCount": found.count(Health.ERROR),
                    },
                }
                for kind, found in states.items()
            ]
        },
        "NodeHealthStates": nodes,
        "ApplicationHealthStates": applications,
    }


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


def application_state(cluster: Cluster, found: Application) -> Health:
    """The worst of an application's services."""
    states = {cluster.partition_health(service.partition) for service in found.services.values()}
    return next((state for state in (Health.ERROR, Health.WARNING) if state in states), Health.OK)


def upgrade_progress(cluster: Cluster) -> dict[str, Any]:
    """ClusterUpgradeProgressObject."""
    upgrade = cluster.upgrade
    forward = upgrade is not None and upgrade.state is not UpgradeState.ROLLED_BACK
    version = upgrade.manifest_version if upgrade is not None and forward else cluster.manifest_version
    names = upgrade.domains if upgrade is not None else sorted({found.upgrade_domain for found in cluster.nodes()})
    domains = [
        {"Name": name, "State": upgrade.domain_state(index) if upgrade is not None else "Completed"}
        for index, name in enumerate(names)
    ]
    end = cluster.now if upgrade is None or upgrade.ended is None else upgrade.ended
    return {
        "CodeVersion": cluster.code_version,
        "ConfigVersion": str(version),
        "UpgradeDomains": domains,
        "UpgradeState": upgrade.state if upgrade is not None else UpgradeState.DONE,
        "NextUpgradeDomain": next((item["Name"] for item in domains if item["State"] == "Pending"), ""),
        "RollingUpgradeMode": "Monitored",
        "UpgradeDurationInMilliseconds": str(int((end - upgrade.started) * 1000)) if upgrade is not None else "0",
        "StartTimestampUtc": _time(upgrade.started) if upgrade is not None else _NEVER,
        "FailureReason": (upgrade.failure if upgrade is not None else "") or "None",
        "IsNodeByNode": False,
    }


def configuration_upgrade(cluster: Cluster) -> dict[str, Any]:
    """ClusterConfigurationUpgradeStatusInfo: the configuration's version changes when the upgrade is complete."""
    upgrade: Upgrade | None = cluster.upgrade
    return {
        "UpgradeState": upgrade.state if upgrade is not None else UpgradeState.DONE,
        "ProgressStatus": upgrade.manifest_version if upgrade is not None else cluster.manifest_version,
        "ConfigVersion": cluster.configuration.version,
        "Details": upgrade.failure if upgrade is not None else "",
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
        "StartTimestampUtc": _NEVER,
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
        "StartTimestampUtc": _time(upgrade.started),
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


def _deactivation(cluster: Cluster, found: Node) -> dict[str, Any]:
    state = found.deactivation
    # The API has no name for the way back: the node's status, Enabling, tells it.
    phase = Phase.NONE if state.phase is Phase.ACTIVATING else state.phase
    task = {
        "NodeDeactivationTaskId": {"Id": found.id, "NodeDeactivationTaskType": "Client"},
        "NodeDeactivationIntent": state.intent.label,
    }
    return {
        "NodeDeactivationIntent": state.intent.label,
        "NodeDeactivationStatus": phase,
        "NodeDeactivationTask": [task] if state.active else [],
        "PendingSafetyChecks": [{"SafetyCheck": _check(check)} for check in cluster.pending_checks(found.name)],
    }


def _check(check: SafetyCheck) -> dict[str, Any]:
    return {"Kind": check.kind} | ({"PartitionId": check.partition} if check.partition else {})


def _event(source: str, name: str, health: Health, text: str, at: float, number: int) -> dict[str, Any]:
    return {
        "SourceId": source,
        "Property": name,
        "HealthState": health,
        "TimeToLiveInMilliSeconds": _FOR_EVER,
        "Description": text,
        "SequenceNumber": str(number),
        "RemoveWhenExpired": False,
        "IsExpired": False,
        "SourceUtcTimestamp": _time(at),
        "LastModifiedUtcTimestamp": _time(at),
        "LastOkTransitionAt": _time(at) if health is Health.OK else _NEVER,
        "LastWarningTransitionAt": _NEVER,
        "LastErrorTransitionAt": _time(at) if health is Health.ERROR else _NEVER,
    }


def _evaluation(kind: str, health: Health, text: str) -> dict[str, Any]:
    return {"HealthEvaluation": {"Kind": kind, "AggregatedHealthState": health, "Description": text}}


def _parameters(items: Any) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in items]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
