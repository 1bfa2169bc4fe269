"""MSK: requests in, answers out. Parameters and results have the names of botocore's model of the service."""

from typing import Any

from moto.core.responses import ActionResult, BaseResponse, EmptyResult
from moto.kafka.models import kafka_backends

from envs.sandbox.aws.kafka import MskBackend
from envs.sandbox.aws.kafka_models import Cluster
from envs.sandbox.aws.kafka_rules import SUPPORTED_VERSIONS, MskError, refuse


class MskResponse(BaseResponse):
    """Handler for MSK requests and responses."""

    def __init__(self) -> None:
        super().__init__(service_name="kafka")
        self.automated_parameter_parsing = True

    @property
    def backend(self) -> MskBackend:
        backend = kafka_backends[self.current_account][self.region]
        assert isinstance(backend, MskBackend)  # noqa: S101 (for the type checker; `install` sees to it)
        return backend

    def _given(self) -> dict[str, Any]:
        return dict(self.params)

    # Configurations

    def create_configuration(self) -> ActionResult:
        made = self.backend.create_configuration(
            self._get_param("Name"),
            self._get_param("Description"),
            self._get_param("KafkaVersions"),
            self._get_param("ServerProperties"),
        )
        return ActionResult(
            {
                "Arn": made.arn,
                "Name": made.name,
                "CreationTime": made.created,
                "LatestRevision": made.latest(),
                "State": "ACTIVE",
            }
        )

    def describe_configuration(self) -> ActionResult:
        return ActionResult(self.backend.configuration(self._get_param("Arn")).describe())

    def describe_configuration_revision(self) -> ActionResult:
        arn = self._get_param("Arn")
        return ActionResult({"Arn": arn, **self.backend.revision(arn, int(self._get_param("Revision")))})

    def update_configuration(self) -> ActionResult:
        found = self.backend.update_configuration(
            self._get_param("Arn"), self._get_param("Description"), self._get_param("ServerProperties")
        )
        return ActionResult({"Arn": found.arn, "LatestRevision": found.latest()})

    def delete_configuration(self) -> ActionResult:
        arn = self._get_param("Arn")
        self.backend.delete_configuration(arn)
        return ActionResult({"Arn": arn, "State": "DELETING"})

    def list_configurations(self) -> ActionResult:
        found = self.backend.configurations.values()
        return ActionResult({"Configurations": [each.describe() for each in found]})

    def list_configuration_revisions(self) -> ActionResult:
        revisions = self.backend.configuration(self._get_param("Arn")).revisions
        return ActionResult(
            {"Revisions": [{k: v for k, v in each.items() if k != "ServerProperties"} for each in revisions]}
        )

    def list_kafka_versions(self) -> ActionResult:
        return ActionResult({"KafkaVersions": [{"Version": each, "Status": "ACTIVE"} for each in SUPPORTED_VERSIONS]})

    # Clusters

    def create_cluster(self) -> ActionResult:
        made = self.backend.create_msk_cluster(self._get_param("ClusterName"), self._given(), self._get_param("Tags"))
        return ActionResult({"ClusterArn": made.arn, "ClusterName": made.name, "State": made.state})

    def create_cluster_v2(self) -> ActionResult:
        request = self._get_param("Provisioned")
        if not request:
            raise refuse("The emulated MSK has provisioned clusters only.", "serverless")
        made = self.backend.create_msk_cluster(self._get_param("ClusterName"), request, self._get_param("Tags"))
        return ActionResult(
            {"ClusterArn": made.arn, "ClusterName": made.name, "State": made.state, "ClusterType": "PROVISIONED"}
        )

    def describe_cluster(self) -> ActionResult:
        return ActionResult({"ClusterInfo": self._v1(self.backend.cluster(self._get_param("ClusterArn")))})

    def describe_cluster_v2(self) -> ActionResult:
        return ActionResult({"ClusterInfo": self._v2(self.backend.cluster(self._get_param("ClusterArn")))})

    def list_clusters(self) -> ActionResult:
        return ActionResult({"ClusterInfoList": [self._v1(each) for each in self._listed()]})

    def list_clusters_v2(self) -> ActionResult:
        return ActionResult({"ClusterInfoList": [self._v2(each) for each in self._listed()]})

    def delete_cluster(self) -> ActionResult:
        found = self.backend.delete_msk_cluster(self._get_param("ClusterArn"), self._get_param("CurrentVersion"))
        return ActionResult({"ClusterArn": found.arn, "State": found.state})

    def get_bootstrap_brokers(self) -> ActionResult:
        found = self.backend.cluster(self._get_param("ClusterArn"))
        if found.state in ("CREATING", "DELETING"):
            raise MskError("ConflictException", f"The cluster is in the {found.state} state.", "clusterArn")
        # Each name stands for a listener that the broker has: the sandbox's has the one for IAM.
        broker = f"localhost:{self.backend.host.account.kafka_port}"
        offered = {}
        if "iam" in found.schemes:
            offered["BootstrapBrokerStringSaslIam"] = broker
        if "iam" in found.vpc_schemes:
            offered["BootstrapBrokerStringVpcConnectivitySaslIam"] = broker
        return ActionResult(offered)

    # Updates

    def update_connectivity(self) -> ActionResult:
        found = self.backend.cluster(self._get_param("ClusterArn"))
        wanted = self._get_param("ConnectivityInfo") or {}
        connectivity = {**found.nodes["ConnectivityInfo"], **wanted}
        nodes = {**found.nodes, "ConnectivityInfo": connectivity}
        return self._update("UPDATE_CONNECTIVITY", {"BrokerNodeGroupInfo": nodes})

    def update_cluster_configuration(self) -> ActionResult:
        return self._update("UPDATE_CLUSTER_CONFIGURATION", {}, self._get_param("ConfigurationInfo"))

    def update_security(self) -> ActionResult:
        found = self.backend.cluster(self._get_param("ClusterArn"))
        change: dict[str, Any] = {}
        if authentication := self._get_param("ClientAuthentication"):
            change["ClientAuthentication"] = {**found.info["ClientAuthentication"], **authentication}
        if encryption := self._get_param("EncryptionInfo"):
            in_transit = {
                **found.info["EncryptionInfo"]["EncryptionInTransit"],
                **encryption.get("EncryptionInTransit", {}),
            }
            change["EncryptionInfo"] = {**found.info["EncryptionInfo"], "EncryptionInTransit": in_transit}
        return self._update("UPDATE_SECURITY", change)

    def update_monitoring(self) -> ActionResult:
        names = ("EnhancedMonitoring", "OpenMonitoring", "LoggingInfo")
        change = {name: value for name in names if (value := self._get_param(name)) is not None}
        return self._update("UPDATE_MONITORING", change)

    def update_broker_count(self) -> ActionResult:
        return self._update(
            "INCREASE_BROKER_COUNT", {"NumberOfBrokerNodes": self._get_param("TargetNumberOfBrokerNodes")}
        )

    def update_broker_type(self) -> ActionResult:
        found = self.backend.cluster(self._get_param("ClusterArn"))
        nodes = {**found.nodes, "InstanceType": self._get_param("TargetInstanceType")}
        return self._update("UPDATE_BROKER_TYPE", {"BrokerNodeGroupInfo": nodes})

    def update_broker_storage(self) -> ActionResult:
        found = self.backend.cluster(self._get_param("ClusterArn"))
        size = max(each["VolumeSizeGB"] for each in self._get_param("TargetBrokerEBSVolumeInfo"))
        volume = found.nodes["StorageInfo"]["EbsStorageInfo"]
        if size <= volume["VolumeSize"]:
            raise refuse("The storage of brokers can only be increased.", "volumeSizeGB")
        nodes = {**found.nodes, "StorageInfo": {"EbsStorageInfo": {**volume, "VolumeSize": size}}}
        return self._update("UPDATE_BROKER_STORAGE", {"BrokerNodeGroupInfo": nodes})

    def describe_cluster_operation(self) -> ActionResult:
        return ActionResult({"ClusterOperationInfo": self.backend.operation(self._get_param("ClusterOperationArn"))})

    def describe_cluster_operation_v2(self) -> ActionResult:
        found = self.backend.operation(self._get_param("ClusterOperationArn"))
        found["StartTime"] = found.pop("CreationTime")
        return ActionResult({"ClusterOperationInfo": {**found, "ClusterType": "PROVISIONED"}})

    # Policies, topics, tags

    def put_cluster_policy(self) -> ActionResult:
        version = self.backend.put_msk_policy(
            self._get_param("ClusterArn"), self._get_param("Policy"), self._get_param("CurrentVersion")
        )
        return ActionResult({"CurrentVersion": version})

    def get_cluster_policy(self) -> ActionResult:
        document, version = self.backend.msk_policy(self._get_param("ClusterArn"))
        return ActionResult({"CurrentVersion": version, "Policy": document})

    def delete_cluster_policy(self) -> ActionResult:
        arn = self._get_param("ClusterArn")
        self.backend.msk_policy(arn)
        self.backend.cluster(arn).policy = None
        return EmptyResult()

    def create_topic(self) -> ActionResult:
        name = self._get_param("TopicName")
        arn = self.backend.create_topic(
            self._get_param("ClusterArn"),
            name,
            self._get_param("PartitionCount"),
            self._get_param("ReplicationFactor"),
            self._get_param("Configs"),
        )
        return ActionResult({"TopicArn": arn, "TopicName": name, "Status": "CREATING"})

    def describe_topic(self) -> ActionResult:
        return ActionResult(self.backend.describe_topic(self._get_param("ClusterArn"), self._get_param("TopicName")))

    def list_topics(self) -> ActionResult:
        found = self.backend.list_topics(self._get_param("ClusterArn"), self._get_param("TopicNameFilter") or "")
        return ActionResult({"Topics": found})

    def update_topic(self) -> ActionResult:
        name = self._get_param("TopicName")
        arn = self.backend.update_topic(
            self._get_param("ClusterArn"), name, self._get_param("PartitionCount"), self._get_param("Configs")
        )
        return ActionResult({"TopicArn": arn, "TopicName": name, "Status": "UPDATING"})

    def delete_topic(self) -> ActionResult:
        name = self._get_param("TopicName")
        arn = self.backend.delete_topic(self._get_param("ClusterArn"), name)
        return ActionResult({"TopicArn": arn, "TopicName": name, "Status": "DELETING"})

    def tag_resource(self) -> ActionResult:
        self.backend.tag_resource(self._tagged(), self._get_param("Tags"))
        return EmptyResult()

    def untag_resource(self) -> ActionResult:
        self.backend.untag_resource(self._tagged(), self._get_param("TagKeys"))
        return EmptyResult()

    def list_tags_for_resource(self) -> ActionResult:
        return ActionResult({"Tags": self.backend.list_tags_for_resource(self._tagged())})

    def _tagged(self) -> str:
        return self.backend.cluster(self._get_param("ResourceArn")).arn

    def _listed(self) -> list[Cluster]:
        prefix = self._get_param("ClusterNameFilter") or ""
        return [each for each in self.backend.list_msk_clusters() if each.name.startswith(prefix)]

    def _update(self, kind: str, change: dict[str, Any], configuration: dict[str, Any] | None = None) -> ActionResult:
        arn = self._get_param("ClusterArn")
        operation = self.backend.update(arn, self._get_param("CurrentVersion"), kind, change, configuration)
        return ActionResult({"ClusterArn": arn, "ClusterOperationArn": operation})

    def _common(self, found: Cluster) -> dict[str, Any]:
        return {
            "ClusterArn": found.arn,
            "ClusterName": found.name,
            "CreationTime": found.created,
            "CurrentVersion": found.version,
            "State": self.backend.look(found),
            "Tags": self.backend.list_tags_for_resource(found.arn),
        }

    def _v1(self, found: Cluster) -> dict[str, Any]:
        return {**self._common(found), **_shown(found)}

    def _v2(self, found: Cluster) -> dict[str, Any]:
        return {**self._common(found), "ClusterType": "PROVISIONED", "Provisioned": _shown(found)}


def _shown(found: Cluster) -> dict[str, Any]:
    return {key: value for key, value in found.info.items() if value is not None} | {"CustomerActionStatus": "NONE"}
