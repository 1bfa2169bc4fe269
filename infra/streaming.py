"""The stream: a Kafka cluster (MSK) that takes TLS and IAM only, and its topics."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.keys import DataKey, DataKeyArgs
from infra.network import HTTPS
from infra.policies import Statement, document
from infra.sections import ZONES
from infra.sections import Streaming as StreamingSettings

IAM_PORT: Final = 9098
"""Where brokers take TLS with IAM (MSK Developer Guide, "Port information")."""

REPLICAS: Final = ZONES
IN_SYNC: Final = 2
"""Replicas that must have a message before it counts as taken: one zone may be away without stopping producers."""


def server_properties(settings: StreamingSettings) -> str:
    """The brokers' configuration: only keys that MSK lets one set ("Custom Amazon MSK configurations")."""
    properties: dict[str, object] = {
        # Topics are resources of this program: a misspelled name is an error, not a new topic.
        "auto.create.topics.enable": False,
        "delete.topic.enable": True,
        # A replica that missed messages never becomes leader: better to wait than to lose what was acknowledged.
        "unclean.leader.election.enable": False,
        "default.replication.factor": REPLICAS,
        "min.insync.replicas": IN_SYNC,
        # Kafka's own topics follow the same rules, or a lost zone would take offsets or transactions with it.
        "offsets.topic.replication.factor": REPLICAS,
        "transaction.state.log.replication.factor": REPLICAS,
        "transaction.state.log.min.isr": IN_SYNC,
        # IAM decides who may do what; a listener without IAM would find every door shut, not open.
        "allow.everyone.if.no.acl.found": False,
        "num.partitions": settings.partitions.telemetry,
        "log.retention.hours": settings.retention_hours,
        # Consumers read from the replica in their own zone when they say which one that is.
        "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
    }
    return "".join(f"{key}={json.dumps(value).strip(chr(34))}\n" for key, value in sorted(properties.items()))


@dataclass(frozen=True, kw_only=True)
class StreamingArgs:
    """The cluster's size and place, who may reach it, and its topics with their partitions."""

    settings: StreamingSettings
    topics: Mapping[str, int]
    account: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    """One subnet in each zone that has brokers."""
    endpoint_group_id: pulumi.Input[str]
    s3_prefix_list_id: pulumi.Input[str]
    log_retention_days: int
    key_alias: str
    key_deletion_days: int
    protect: bool


class Streaming(pulumi.ComponentResource):
    """The cluster, the two security groups around it, and its topics."""

    cluster_arn: pulumi.Output[str]
    topics: dict[str, aws.msk.Topic]
    client_group_id: pulumi.Output[str]
    """Security group of whoever produces or consumes inside the VPC."""
    delivery_policy: aws.msk.ClusterPolicy
    """Lets Firehose connect: a delivery stream cannot be made before it."""

    def __init__(self, name: str, args: StreamingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:streaming:Streaming", name, None, opts)
        self._name = name
        self._args = args
        broker_group_id, self.client_group_id = self._groups()
        self._cluster = self._make_cluster(broker_group_id)
        self.cluster_arn = self._cluster.arn
        self.delivery_policy = aws.msk.ClusterPolicy(
            f"{name}-delivery",
            cluster_arn=self.cluster_arn,
            policy=document(
                # Firehose Developer Guide, "Grant Firehose access to your private Amazon MSK cluster".
                Statement(
                    sid="DeliveryStreams",
                    actions=["kafka:CreateVpcConnection"],
                    principals={"Service": "firehose.amazonaws.com"},
                    resources=[self.cluster_arn],
                    conditions={"StringEquals": {"aws:SourceAccount": args.account}},
                )
            ),
            opts=self._child(),
        )
        self.topics = {topic: self._topic(topic, partitions) for topic, partitions in args.topics.items()}
        self.register_outputs({"cluster_arn": self.cluster_arn, "client_group_id": self.client_group_id})

    def writing(self, *topics: str) -> tuple[Statement, ...]:
        """What an idempotent producer to some topics may do, beside what lets it sign in."""
        return (
            Statement(sid="WriteOnce", actions=["kafka-cluster:WriteDataIdempotently"], resources=[self.cluster_arn]),
            Statement(
                sid="WriteTopics",
                actions=["kafka-cluster:DescribeTopic", "kafka-cluster:WriteData"],
                resources=[self.topics[topic].arn for topic in topics],
            ),
        )

    def reading(self, group: str, *topics: str) -> tuple[Statement, ...]:
        """What a consumer of some topics may do, as a member of one group (MSK Developer Guide, "Semantics of IAM
        authorization policy actions and resources")."""
        groups = self.cluster_arn.apply(lambda arn: f"{arn.replace(':cluster/', ':group/', 1)}/{group}")
        return (
            Statement(sid="SignInToKafka", actions=["kafka-cluster:Connect"], resources=[self.cluster_arn]),
            Statement(
                sid="ReadTopic",
                actions=["kafka-cluster:DescribeTopic", "kafka-cluster:ReadData"],
                resources=[self.topics[topic].arn for topic in topics],
            ),
            Statement(
                sid="KeepOffsets",
                actions=["kafka-cluster:AlterGroup", "kafka-cluster:DescribeGroup"],
                resources=[groups],
            ),
        )

    def _child(self, protect: bool | None = None) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, protect=protect)

    def _groups(self) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        """Brokers listen to clients and to nobody else; clients speak to brokers, AWS's APIs inside, and S3."""
        name = self._name
        brokers, clients = (
            aws.ec2.SecurityGroup(
                f"{name}-{role}",
                description=description,
                vpc_id=self._args.vpc_id,
                tags={"Name": f"{name}-{role}"},
                opts=self._child(),
            ).id
            for role, description in (("brokers", "Kafka brokers"), ("clients", "Kafka clients inside the VPC"))
        )
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-brokers-from-clients",
            security_group_id=brokers,
            description="Kafka over TLS with IAM",
            referenced_security_group_id=clients,
            ip_protocol="tcp",
            from_port=IAM_PORT,
            to_port=IAM_PORT,
            opts=self._child(),
        )
        for role, description, port, group, prefix_list in (
            ("brokers", "Kafka over TLS with IAM", IAM_PORT, brokers, None),
            ("endpoints", "AWS APIs inside the VPC", HTTPS, self._args.endpoint_group_id, None),
            ("s3", "S3 through its gateway endpoint", HTTPS, None, self._args.s3_prefix_list_id),
        ):
            aws.vpc.SecurityGroupEgressRule(
                f"{name}-clients-to-{role}",
                security_group_id=clients,
                description=description,
                referenced_security_group_id=group,
                prefix_list_id=prefix_list,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                opts=self._child(),
            )
        return brokers, clients

    def _make_cluster(self, group_id: pulumi.Input[str]) -> aws.msk.Cluster:
        name, args = self._name, self._args
        key = DataKey(
            name,
            DataKeyArgs(
                description="Kafka messages on the brokers' disks",
                alias=args.key_alias,
                deletion_days=args.key_deletion_days,
                protect=args.protect,
            ),
            opts=self._child(),
        )
        logs = aws.cloudwatch.LogGroup(
            f"{name}-broker-logs", retention_in_days=args.log_retention_days, opts=self._child()
        )
        configuration = aws.msk.Configuration(
            f"{name}-configuration",
            description="Nothing acknowledged is lost, nothing is open",
            kafka_versions=[args.settings.kafka_version],
            server_properties=server_properties(args.settings),
            opts=self._child(),
        )
        return aws.msk.Cluster(
            f"{name}-cluster",
            kafka_version=args.settings.kafka_version,
            number_of_broker_nodes=args.settings.brokers,
            broker_node_group_info=aws.msk.ClusterBrokerNodeGroupInfoArgs(
                instance_type=args.settings.instance_type,
                client_subnets=args.subnet_ids,
                security_groups=[group_id],
                storage_info=aws.msk.ClusterBrokerNodeGroupInfoStorageInfoArgs(
                    ebs_storage_info=aws.msk.ClusterBrokerNodeGroupInfoStorageInfoEbsStorageInfoArgs(
                        volume_size=args.settings.storage_gb
                    )
                ),
                connectivity_info=_connectivity(),
            ),
            client_authentication=aws.msk.ClusterClientAuthenticationArgs(
                sasl=aws.msk.ClusterClientAuthenticationSaslArgs(iam=True), unauthenticated=False
            ),
            encryption_info=aws.msk.ClusterEncryptionInfoArgs(
                encryption_at_rest_kms_key_arn=key.arn,
                encryption_in_transit=aws.msk.ClusterEncryptionInfoEncryptionInTransitArgs(
                    client_broker="TLS", in_cluster=True
                ),
            ),
            configuration_info=aws.msk.ClusterConfigurationInfoArgs(
                arn=configuration.arn, revision=configuration.latest_revision
            ),
            enhanced_monitoring=args.settings.monitoring,
            logging_info=aws.msk.ClusterLoggingInfoArgs(
                broker_logs=aws.msk.ClusterLoggingInfoBrokerLogsArgs(
                    cloudwatch_logs=aws.msk.ClusterLoggingInfoBrokerLogsCloudwatchLogsArgs(
                        enabled=True, log_group=logs.name
                    )
                )
            ),
            opts=self._child(protect=args.protect),
        )

    def _topic(self, topic: str, partitions: int) -> aws.msk.Topic:
        configs = {
            "cleanup.policy": "delete",
            # The broker's clock, so that time spent in the stream is measured by one clock and retention by arrival.
            "message.timestamp.type": "LogAppendTime",
            "min.insync.replicas": str(IN_SYNC),
            "retention.ms": str(self._args.settings.retention_hours * 3_600_000),
        }
        return aws.msk.Topic(
            f"{self._name}-{topic}",
            # Producers, consumers and the delivery stream know a topic by its name.
            name=topic,
            cluster_arn=self.cluster_arn,
            partition_count=partitions,
            replication_factor=REPLICAS,
            configs=json.dumps(configs, sort_keys=True),
            opts=self._child(protect=self._args.protect),
        )


def _connectivity() -> aws.msk.ClusterBrokerNodeGroupInfoConnectivityInfoArgs:
    """Private connections with IAM from other VPCs: how Firehose reaches the brokers. Public access stays off."""
    return aws.msk.ClusterBrokerNodeGroupInfoConnectivityInfoArgs(
        public_access=aws.msk.ClusterBrokerNodeGroupInfoConnectivityInfoPublicAccessArgs(type="DISABLED"),
        vpc_connectivity=aws.msk.ClusterBrokerNodeGroupInfoConnectivityInfoVpcConnectivityArgs(
            client_authentication=aws.msk.ClusterBrokerNodeGroupInfoConnectivityInfoVpcConnectivityClientAuthenticationArgs(
                sasl=aws.msk.ClusterBrokerNodeGroupInfoConnectivityInfoVpcConnectivityClientAuthenticationSaslArgs(
                    iam=True, scram=False
                ),
                tls=False,
            )
        ),
    )
