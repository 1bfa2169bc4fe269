"""What the gateway shows of a cluster, in the REST API's own field names."""

from datetime import UTC, datetime
from typing import Any, Final

from envs.sandbox.fabric.applications import Application
from envs.sandbox.fabric.model import Cluster
from envs.sandbox.fabric.nodes import Health, Node, Phase, SafetyCheck
from envs.sandbox.fabric.upgrade import Upgrade, UpgradeState

NEVER: Final = "0001-01-01T00:00:00.000Z"
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
        "NodeUpAt": timestamp(found.since) if found.up else NEVER,
        "NodeDownAt": NEVER if found.up else timestamp(found.since),
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
        "StartTimestampUtc": timestamp(upgrade.started) if upgrade is not None else NEVER,
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
        "SourceUtcTimestamp": timestamp(at),
        "LastModifiedUtcTimestamp": timestamp(at),
        "LastOkTransitionAt": timestamp(at) if health is Health.OK else NEVER,
        "LastWarningTransitionAt": NEVER,
        "LastErrorTransitionAt": timestamp(at) if health is Health.ERROR else NEVER,
    }


def _evaluation(kind: str, health: Health, text: str) -> dict[str, Any]:
    return {"HealthEvaluation": {"Kind": kind, "AggregatedHealthState": health, "Description": text}}


def timestamp(seconds: float) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
