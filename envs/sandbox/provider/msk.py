"""Kafka clusters."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging, When
from envs.sandbox.provider.schema import block, boolean, integer, text, unordered
from envs.sandbox.provider.translate import answer, request

_SOURCE: Final = "internal/service/kafka/cluster.go"
_MINUTES: Final = 120
"""The official provider's time limit for all operations on a cluster."""

_AUTHENTICATION: Final = block(
    {
        "sasl": block({"iam": boolean(api="Iam.Enabled"), "scram": boolean(api="Scram.Enabled")}),
        "tls": block({"certificateAuthorityArns": unordered(text(), api="CertificateAuthorityArnList")}),
        "unauthenticated": boolean(api="Unauthenticated.Enabled"),
    }
)
_FROM_VPCS: Final = block(
    {
        "clientAuthentication": block(
            {
                "sasl": block(
                    {
                        "iam": boolean(computed=True, api="Iam.Enabled"),
                        "scram": boolean(computed=True, api="Scram.Enabled"),
                    },
                    computed=True,
                ),
                "tls": boolean(computed=True, api="Tls.Enabled"),
            },
            computed=True,
        )
    },
    computed=True,
)
_CONNECTIVITY: Final = block(
    {"publicAccess": block({"type": text(computed=True)}, computed=True), "vpcConnectivity": _FROM_VPCS},
    computed=True,
)
_THROUGHPUT: Final = block({"enabled": boolean(), "volumeThroughput": integer()})
_VOLUME: Final = block({"provisionedThroughput": _THROUGHPUT, "volumeSize": integer()})
_EXPORTER: Final = block({"enabledInBroker": boolean(required=True)}, computed=True)
_CLUSTER: Final = {
    "brokerNodeGroupInfo": block(
        {
            "azDistribution": text(default="DEFAULT", api="BrokerAZDistribution"),
            "clientSubnets": unordered(text(), required=True),
            "connectivityInfo": _CONNECTIVITY,
            "instanceType": text(required=True),
            "securityGroups": unordered(text(), required=True),
            "storageInfo": block({"ebsStorageInfo": _VOLUME}, computed=True),
        },
        required=True,
    ),
    "clientAuthentication": _AUTHENTICATION,
    "clusterName": text(computed=True),
    "configurationInfo": block({"arn": text(required=True), "revision": integer(required=True)}, computed=True),
    "encryptionInfo": block(
        {
            "encryptionAtRestKmsKeyArn": text(computed=True, api="EncryptionAtRest.DataVolumeKMSKeyId"),
            "encryptionInTransit": block(
                {"clientBroker": text(default="TLS"), "inCluster": boolean(default=True)}, computed=True
            ),
        },
        computed=True,
    ),
    "enhancedMonitoring": text(default="DEFAULT"),
    "kafkaVersion": text(required=True),
    "loggingInfo": block(
        {
            "brokerLogs": block(
                {
                    "cloudwatchLogs": block(
                        {"enabled": boolean(required=True), "logGroup": text()}, computed=True, api="CloudWatchLogs"
                    ),
                    "firehose": block({"deliveryStream": text(), "enabled": boolean(required=True)}, computed=True),
                    "s3": block(
                        {"bucket": text(), "enabled": boolean(required=True), "prefix": text()}, computed=True
                    ),
                },
                required=True,
            )
        },
        computed=True,
    ),
    "numberOfBrokerNodes": integer(required=True),
    "openMonitoring": block(
        {"prometheus": block({"jmxExporter": _EXPORTER, "nodeExporter": _EXPORTER}, required=True)}, computed=True
    ),
    "storageMode": text(computed=True),
}
_BROKERS: Final = {
    "bootstrapBrokers": "BootstrapBrokerString",
    "bootstrapBrokersIpv6": "BootstrapBrokerStringIpv6",
    "bootstrapBrokersPublicSaslIam": "BootstrapBrokerStringPublicSaslIam",
    "bootstrapBrokersPublicSaslScram": "BootstrapBrokerStringPublicSaslScram",
    "bootstrapBrokersPublicTls": "BootstrapBrokerStringPublicTls",
    "bootstrapBrokersSaslIam": "BootstrapBrokerStringSaslIam",
    "bootstrapBrokersSaslIamIpv6": "BootstrapBrokerStringSaslIamIpv6",
    "bootstrapBrokersSaslScram": "BootstrapBrokerStringSaslScram",
    "bootstrapBrokersSaslScramIpv6": "BootstrapBrokerStringSaslScramIpv6",
    "bootstrapBrokersTls": "BootstrapBrokerStringTls",
    "bootstrapBrokersTlsIpv6": "BootstrapBrokerStringTlsIpv6",
    "bootstrapBrokersVpcConnectivitySaslIam": "BootstrapBrokerStringVpcConnectivitySaslIam",
    "bootstrapBrokersVpcConnectivitySaslScram": "BootstrapBrokerStringVpcConnectivitySaslScram",
    "bootstrapBrokersVpcConnectivityTls": "BootstrapBrokerStringVpcConnectivityTls",
}


def _add_tags(aws: Aws, identifier: str, _: Args, tags: dict[str, str]) -> None:
    aws.client("kafka").tag_resource(ResourceArn=identifier, Tags=tags)


def _remove_tags(aws: Aws, identifier: str, _: Args, keys: list[str]) -> None:
    aws.client("kafka").untag_resource(ResourceArn=identifier, TagKeys=keys)


def _cluster(aws: Aws, identifier: str) -> dict[str, Any] | None:
    describe = aws.client("kafka").describe_cluster
    return find(lambda: describe(ClusterArn=identifier)["ClusterInfo"], "NotFoundException")


def _create(aws: Aws, args: Args) -> str:
    wanted = request(_CLUSTER, args)
    # "When creating a cluster, all vpcConnectivity auth schemes must be disabled": they are switched on afterwards.
    wanted["BrokerNodeGroupInfo"].get("ConnectivityInfo", {}).pop("VpcConnectivity", None)
    tags = {"Tags": args["tagsAll"]} if args.get("tagsAll") else {}
    return aws.client("kafka").create_cluster(**wanted, **tags)["ClusterArn"]


def _finish(aws: Aws, identifier: str, args: Args) -> None:
    _wait_active(aws, identifier)
    connectivity = (args["brokerNodeGroupInfo"].get("connectivityInfo") or {}).get("vpcConnectivity")
    if connectivity:
        wanted = request(_CONNECTIVITY.fields, {"vpcConnectivity": connectivity})
        _operate(aws, identifier, "update_connectivity", ConnectivityInfo=wanted)


def _wait_active(aws: Aws, identifier: str) -> None:
    def active() -> bool:
        found = _cluster(aws, identifier)
        if found is None or found["State"] == "FAILED":
            why = (found or {}).get("StateInfo", {}).get("Message", "it is gone")
            raise ProviderError(f"cluster {identifier} failed: {why}")
        return found["State"] == "ACTIVE"

    aws.wait(f"cluster {identifier} becomes ACTIVE", active, _MINUTES)


def _operate(aws: Aws, identifier: str, operation: str, **wanted: Any) -> None:
    """One change to a cluster, which needs its current version, and the wait until it is made."""
    kafka = aws.client("kafka")
    version = (_cluster(aws, identifier) or {}).get("CurrentVersion", "")
    told = getattr(kafka, operation)(ClusterArn=identifier, CurrentVersion=version, **wanted)
    arn = told["ClusterOperationArn"]

    def completed() -> bool:
        found = kafka.describe_cluster_operation(ClusterOperationArn=arn)["ClusterOperationInfo"]
        if found["OperationState"] == "UPDATE_FAILED":
            why = found.get("ErrorInfo", {}).get("ErrorString", "no reason was told")
            raise ProviderError(f"{operation} of cluster {identifier} failed: {why}")
        return found["OperationState"] == "UPDATE_COMPLETE"

    aws.wait(f"{operation} of cluster {identifier}", completed, _MINUTES)


def _read(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _cluster(aws, identifier)
    if found is None:
        return None
    software = found.get("CurrentBrokerSoftwareInfo", {})
    ready = found["State"] not in ("CREATING", "DELETING", "FAILED")
    brokers = aws.client("kafka").get_bootstrap_brokers(ClusterArn=identifier) if ready else {}
    configured = {"arn": software.get("ConfigurationArn"), "revision": software.get("ConfigurationRevision")}
    return {
        **answer(_CLUSTER, found),
        "configurationInfo": configured if configured["arn"] else None,
        "kafkaVersion": software.get("KafkaVersion"),
        **{name: ",".join(sorted(filter(None, brokers.get(api, "").split(",")))) for name, api in _BROKERS.items()},
        "arn": identifier,
        "clusterUuid": identifier.rpartition("/")[2],
        "currentVersion": found.get("CurrentVersion"),
        "customerActionStatus": found.get("CustomerActionStatus", ""),
        "zookeeperConnectString": found.get("ZookeeperConnectString", ""),
        "zookeeperConnectStringTls": found.get("ZookeeperConnectStringTls", ""),
        "tagsAll": found.get("Tags", {}),
    }


def _update(aws: Aws, identifier: str, old: Args, new: Args, changed: set[str]) -> None:
    brokers, had = new["brokerNodeGroupInfo"], old["brokerNodeGroupInfo"]
    wanted = request(_CLUSTER, new)
    group = wanted["BrokerNodeGroupInfo"]

    def differs(name: str) -> bool:
        return name in brokers and brokers[name] != had.get(name)

    if differs("connectivityInfo"):
        _operate(aws, identifier, "update_connectivity", ConnectivityInfo=group["ConnectivityInfo"])
    if differs("instanceType"):
        _operate(aws, identifier, "update_broker_type", TargetInstanceType=group["InstanceType"])
    if differs("storageInfo"):
        volume = group["StorageInfo"]["EbsStorageInfo"]
        target = {"KafkaBrokerNodeId": "All", "VolumeSizeGB": volume["VolumeSize"]}
        target |= {k: volume[k] for k in ("ProvisionedThroughput",) if k in volume}
        _operate(aws, identifier, "update_broker_storage", TargetBrokerEBSVolumeInfo=[target])
    if "numberOfBrokerNodes" in changed:
        count = wanted["NumberOfBrokerNodes"]
        _operate(aws, identifier, "update_broker_count", TargetNumberOfBrokerNodes=count)
    if changed & {"enhancedMonitoring", "loggingInfo", "openMonitoring"}:
        monitoring = request(_CLUSTER, new, ("enhancedMonitoring", "loggingInfo", "openMonitoring"))
        _operate(aws, identifier, "update_monitoring", **monitoring)
    configuration = request(_CLUSTER, new, ("configurationInfo",)) if "configurationInfo" in changed else {}
    if "kafkaVersion" in changed:
        _operate(
            aws,
            identifier,
            "update_cluster_kafka_version",
            TargetKafkaVersion=new["kafkaVersion"],
            **configuration,
        )
    elif configuration:
        _operate(aws, identifier, "update_cluster_configuration", **configuration)
    if security := changed & {"clientAuthentication", "encryptionInfo"}:
        _operate(aws, identifier, "update_security", **_security(new, security))


def _security(new: Args, changed: set[str]) -> dict[str, Any]:
    wanted = request(_CLUSTER, new, changed)
    # Neither encryption at rest nor between brokers can be changed (`resourceClusterUpdate`).
    encryption = wanted.get("EncryptionInfo", {})
    encryption.pop("EncryptionAtRest", None)
    encryption.get("EncryptionInTransit", {}).pop("InCluster", None)
    return wanted


def _delete(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("NotFoundException"):
        aws.client("kafka").delete_cluster(ClusterArn=identifier)


def _older(old: str, new: str) -> bool:
    """Whether a Kafka version such as ``3.8.x`` is older than another."""
    return _parts(new) < _parts(old)


def _parts(version: str) -> list[int]:
    return [int(part) if part.isdecimal() else 0 for part in version.split(".")]


CLUSTER: Final = Resource(
    type_name="aws:msk/cluster:Cluster",
    inputs=_CLUSTER,
    outputs=(
        "arn",
        *_BROKERS,
        "clusterUuid",
        "currentVersion",
        "customerActionStatus",
        "zookeeperConnectString",
        "zookeeperConnectStringTls",
    ),
    replaces={
        "brokerNodeGroupInfo.azDistribution": _SOURCE,
        "brokerNodeGroupInfo.clientSubnets": _SOURCE,
        "brokerNodeGroupInfo.securityGroups": _SOURCE,
        "clusterName": _SOURCE,
        "encryptionInfo": _SOURCE,
        "encryptionInfo.encryptionAtRestKmsKeyArn": _SOURCE,
        "encryptionInfo.encryptionInTransit.inCluster": _SOURCE,
        "kafkaVersion": When(_SOURCE, _older, ("3.8.x", "3.7.x")),
    },
    create=_create,
    finish=_finish,
    read=_read,
    update=_update,
    delete=_delete,
    tagging=Tagging(_add_tags, _remove_tags),
    name=AutoName("clusterName", longest=64),
    recomputed_by={
        "currentVersion": tuple(_CLUSTER),
        **dict.fromkeys(_BROKERS, ("brokerNodeGroupInfo", "clientAuthentication", "encryptionInfo")),
    },
)

RESOURCES: Final = (CLUSTER,)
