"""MSK without its broker's contents: clusters, configurations, policies, and what they refuse."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.emulated import Aws, listening
from tests.envs.sandbox.aws.network import Network, cluster_request, make_network, vpc_connectivity

pytestmark = pytest.mark.xdist_group("aws-kafka")  # one AWS process for all of them

PROPERTIES = b"""
# what the platform sets
auto.create.topics.enable = false
default.replication.factor=3
min.insync.replicas: 2
log.retention.hours=24
"""


@pytest.fixture(scope="module")
def network(aws: Aws) -> Network:
    return make_network(aws.client("ec2"))


@pytest.fixture
def kafka(aws: Aws) -> Iterator[Any]:
    """A client; whatever clusters and configurations a test leaves are gone for the next one."""
    client = aws.client("kafka")
    yield client
    for cluster in client.list_clusters()["ClusterInfoList"]:
        if cluster["State"] != "DELETING":
            client.delete_cluster(ClusterArn=cluster["ClusterArn"])
    for configuration in client.list_configurations()["Configurations"]:
        client.delete_configuration(Arn=configuration["Arn"])


def refusal(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Message"]


def test_a_configuration_is_read_back_revision_by_revision(kafka: Any) -> None:
    made = kafka.create_configuration(
        Name="fleet", Description="first", KafkaVersions=["3.9.x"], ServerProperties=PROPERTIES
    )
    arn = made["Arn"]
    assert arn.startswith("arn:aws:kafka:us-east-1:123456789012:configuration/fleet/")
    assert made["LatestRevision"]["Revision"] == 1

    kafka.update_configuration(Arn=arn, Description="second", ServerProperties=b"num.partitions=6")
    described = kafka.describe_configuration(Arn=arn)
    assert (described["Name"], described["KafkaVersions"], described["State"]) == ("fleet", ["3.9.x"], "ACTIVE")
    assert described["Description"] == "second"
    assert described["LatestRevision"]["Revision"] == 2
    assert kafka.describe_configuration_revision(Arn=arn, Revision=1)["ServerProperties"] == PROPERTIES
    assert kafka.describe_configuration_revision(Arn=arn, Revision=2)["ServerProperties"] == b"num.partitions=6"
    assert [each["Revision"] for each in kafka.list_configuration_revisions(Arn=arn)["Revisions"]] == [1, 2]

    kafka.delete_configuration(Arn=arn)
    with pytest.raises(ClientError, match="Configuration ARN does not exist"):
        kafka.describe_configuration(Arn=arn)


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        (b"listeners=PLAINTEXT://:9092", "Unsupported server property [listeners]"),
        (b"auto.create.topics.enable", "Line 1 of server.properties is not of the form key = value"),
        (b"num.partitions=6\nnum.partitions=7", "sets num.partitions again"),
        (b"num.partitions=six", "Invalid value [six] for server property [num.partitions]"),
        (b"delete.topic.enable=yes", "true or false"),
        (b"replica.lag.time.max.ms=5000", "from 10000 to 30000"),
        (b"log.message.timestamp.type=Sometimes", "CreateTime"),
        (b"log.cleaner.min.cleanable.ratio=1.5", "a number from 0 to 1"),
        (b"\xff\xfe", "not text"),
    ],
)
def test_a_configuration_with_a_mistake_is_refused(kafka: Any, properties: bytes, said: str) -> None:
    with pytest.raises(ClientError) as error:
        kafka.create_configuration(Name="bad", ServerProperties=properties)
    assert said in refusal(error)


def test_a_name_is_taken_once(kafka: Any) -> None:
    kafka.create_configuration(Name="fleet", ServerProperties=b"")
    with pytest.raises(kafka.exceptions.ConflictException):
        kafka.create_configuration(Name="fleet", ServerProperties=b"")


def test_the_life_of_a_cluster_follows_its_broker(aws: Aws, kafka: Any, network: Network) -> None:
    configuration = kafka.create_configuration(Name="c", KafkaVersions=["3.9.x"], ServerProperties=PROPERTIES)["Arn"]
    request = cluster_request(
        network,
        ConfigurationInfo={"Arn": configuration, "Revision": 1},
        EnhancedMonitoring="PER_TOPIC_PER_BROKER",
        Tags={"fleet": "test"},
    )
    made = kafka.create_cluster(**request)
    arn = made["ClusterArn"]
    assert arn.startswith("arn:aws:kafka:us-east-1:123456789012:cluster/fleet/")
    assert arn.endswith("-1")
    assert made["State"] == "CREATING"
    assert kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]["State"] == "CREATING"
    with pytest.raises(kafka.exceptions.ConflictException):
        kafka.get_bootstrap_brokers(ClusterArn=arn)
    with pytest.raises(ClientError, match="in the CREATING state"):
        kafka.list_topics(ClusterArn=arn)

    with listening(aws.account.kafka_port):
        info = kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]
        assert info["State"] == "ACTIVE"
        assert info["Tags"] == {"fleet": "test"}
        assert info["NumberOfBrokerNodes"] == 3
        assert info["EnhancedMonitoring"] == "PER_TOPIC_PER_BROKER"
        assert info["StorageMode"] == "LOCAL"
        assert info["CurrentBrokerSoftwareInfo"] == {
            "KafkaVersion": "3.9.x",
            "ConfigurationArn": configuration,
            "ConfigurationRevision": 1,
        }
        nodes = info["BrokerNodeGroupInfo"]
        assert nodes["ClientSubnets"] == network.subnets
        assert nodes["SecurityGroups"] == [network.group]
        assert nodes["StorageInfo"] == {"EbsStorageInfo": {"VolumeSize": 100}}
        assert nodes["BrokerAZDistribution"] == "DEFAULT"
        assert nodes["ConnectivityInfo"]["PublicAccess"] == {"Type": "DISABLED"}
        assert info["ClientAuthentication"] == {
            "Sasl": {"Scram": {"Enabled": False}, "Iam": {"Enabled": True}},
            "Tls": {"Enabled": False, "CertificateAuthorityArnList": []},
            "Unauthenticated": {"Enabled": False},
        }
        assert info["EncryptionInfo"]["EncryptionInTransit"] == {"ClientBroker": "TLS", "InCluster": True}
        assert info["EncryptionInfo"]["EncryptionAtRest"]["DataVolumeKMSKeyId"].startswith("arn:aws:kms:")
        second = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]
        assert (second["ClusterType"], second["State"]) == ("PROVISIONED", "ACTIVE")
        assert second["Provisioned"]["BrokerNodeGroupInfo"] == nodes
        assert second["CurrentVersion"] == info["CurrentVersion"]

        brokers = kafka.get_bootstrap_brokers(ClusterArn=arn)
        brokers.pop("ResponseMetadata")
        assert brokers == {"BootstrapBrokerStringSaslIam": f"localhost:{aws.account.kafka_port}"}

        with pytest.raises(ClientError, match="in use by one or more clusters"):
            kafka.delete_configuration(Arn=configuration)
        assert kafka.delete_cluster(ClusterArn=arn)["State"] == "DELETING"
        assert kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]["State"] == "DELETING"

    with pytest.raises(kafka.exceptions.NotFoundException):
        kafka.describe_cluster(ClusterArn=arn)
    assert kafka.list_clusters()["ClusterInfoList"] == []


def test_updates_go_one_after_the_other_and_end_when_looked_at(aws: Aws, kafka: Any, network: Network) -> None:
    arn = kafka.create_cluster(**cluster_request(network))["ClusterArn"]
    configuration = kafka.create_configuration(Name="c", ServerProperties=PROPERTIES)["Arn"]
    with listening(aws.account.kafka_port):
        first = kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]["CurrentVersion"]
        operation = kafka.update_connectivity(
            ClusterArn=arn, CurrentVersion=first, ConnectivityInfo=vpc_connectivity()
        )["ClusterOperationArn"]
        with pytest.raises(ClientError, match="UPDATING state"):
            kafka.update_cluster_configuration(
                ClusterArn=arn, CurrentVersion=first, ConfigurationInfo={"Arn": configuration, "Revision": 1}
            )
        states = [
            kafka.describe_cluster_operation_v2(ClusterOperationArn=operation)["ClusterOperationInfo"][
                "OperationState"
            ]
            for _ in range(2)
        ]
        assert states == ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"]
        info = kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]
        assert info["State"] == "ACTIVE"
        assert info["CurrentVersion"] != first
        connectivity = info["BrokerNodeGroupInfo"]["ConnectivityInfo"]
        assert connectivity["VpcConnectivity"]["ClientAuthentication"]["Sasl"]["Iam"]["Enabled"] is True
        assert "BootstrapBrokerStringVpcConnectivitySaslIam" in kafka.get_bootstrap_brokers(ClusterArn=arn)

        with pytest.raises(ClientError, match="not the one you gave"):
            kafka.update_broker_count(ClusterArn=arn, CurrentVersion=first, TargetNumberOfBrokerNodes=6)
        kafka.update_cluster_configuration(
            ClusterArn=arn,
            CurrentVersion=info["CurrentVersion"],
            ConfigurationInfo={"Arn": configuration, "Revision": 1},
        )
        assert kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]["State"] == "UPDATING"
        info = kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]
        assert (info["State"], info["CurrentBrokerSoftwareInfo"]["ConfigurationRevision"]) == ("ACTIVE", 1)


def test_a_policy_needs_connectivity_and_its_own_version(aws: Aws, kafka: Any, network: Network) -> None:
    arn = kafka.create_cluster(**cluster_request(network))["ClusterArn"]
    document = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "firehose.amazonaws.com"},
                    "Action": "kafka:CreateVpcConnection",
                    "Resource": arn,
                }
            ],
        }
    )
    with listening(aws.account.kafka_port):
        version = kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]["CurrentVersion"]
        with pytest.raises(ClientError, match="needs multi-VPC private connectivity"):
            kafka.put_cluster_policy(ClusterArn=arn, Policy=document)
        kafka.update_connectivity(ClusterArn=arn, CurrentVersion=version, ConnectivityInfo=vpc_connectivity())
        kafka.describe_cluster(ClusterArn=arn)
        with pytest.raises(kafka.exceptions.NotFoundException):
            kafka.get_cluster_policy(ClusterArn=arn)
        with pytest.raises(ClientError, match="policy is not valid"):
            kafka.put_cluster_policy(ClusterArn=arn, Policy="{}")
        put = kafka.put_cluster_policy(ClusterArn=arn, Policy=document)["CurrentVersion"]
        got = kafka.get_cluster_policy(ClusterArn=arn)
        assert (json.loads(got["Policy"]), got["CurrentVersion"]) == (json.loads(document), put)
        with pytest.raises(ClientError, match="Current cluster policy version needed for Update"):
            kafka.put_cluster_policy(ClusterArn=arn, Policy=document)
        kafka.put_cluster_policy(ClusterArn=arn, Policy=document, CurrentVersion=put)
        kafka.delete_cluster_policy(ClusterArn=arn)
        with pytest.raises(kafka.exceptions.NotFoundException):
            kafka.get_cluster_policy(ClusterArn=arn)


def test_one_cluster_a_sandbox(kafka: Any, network: Network) -> None:
    kafka.create_cluster(**cluster_request(network))
    with pytest.raises(ClientError, match="This sandbox has one broker, and cluster fleet has it"):
        kafka.create_cluster(**cluster_request(network, ClusterName="other"))


def nodes(network: Network, **changes: Any) -> dict[str, Any]:
    return {"BrokerNodeGroupInfo": cluster_request(network)["BrokerNodeGroupInfo"] | changes}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n: {"ClusterName": "under_score"}, "characters that are not valid"),
        (lambda n: {"KafkaVersion": "1.2.3"}, "Unsupported KafkaVersion [1.2.3]"),
        (lambda n: {"NumberOfBrokerNodes": 4}, "must be a multiple of Availability Zones"),
        (lambda n: nodes(n, ClientSubnets=n.subnets[:1]), "equal to the number of client subnets"),
        (lambda n: nodes(n, ClientSubnets=[n.subnets[0], n.subnets[0]]), "each in its own Availability Zone"),
        (lambda n: nodes(n, ClientSubnets=["subnet-1", "subnet-2"]), "The subnet subnet-1 does not exist"),
        (lambda n: nodes(n, SecurityGroups=["sg-1"]), "The security group sg-1 does not exist"),
        (lambda n: nodes(n, InstanceType="kafka.m1.tiny"), "Unsupported InstanceType"),
        (lambda n: nodes(n, InstanceType="express.m7g.large"), "Standard brokers only"),
        (lambda n: nodes(n, StorageInfo={"EbsStorageInfo": {"VolumeSize": 20000}}), "1 to 16384 GiB"),
        (
            lambda n: nodes(n, ConnectivityInfo=vpc_connectivity()),
            "all vpcConnectivity auth schemes must be disabled",
        ),
        (lambda n: nodes(n, ConnectivityInfo={"PublicAccess": {"Type": "SERVICE_PROVIDED_EIPS"}}), "is DISABLED"),
        (
            lambda n: {"ClientAuthentication": {"Sasl": {"Iam": {"Enabled": False}}}},
            "at least one client authentication",
        ),
        (
            lambda n: {"EncryptionInfo": {"EncryptionInTransit": {"ClientBroker": "PLAINTEXT"}}},
            "needs TLS between clients and brokers",
        ),
        (lambda n: {"EncryptionInfo": {"EncryptionAtRest": {"DataVolumeKMSKeyId": "nope"}}}, "KMS key nope"),
        (lambda n: {"ConfigurationInfo": {"Arn": "arn:nope", "Revision": 1}}, "Configuration ARN does not exist"),
        (
            lambda n: {"LoggingInfo": {"BrokerLogs": {"CloudWatchLogs": {"Enabled": True, "LogGroup": "/nope"}}}},
            "The log group '/nope' does not exist",
        ),
    ],
)
def test_a_cluster_with_a_mistake_is_refused(kafka: Any, network: Network, change: Any, said: str) -> None:
    with pytest.raises(kafka.exceptions.BadRequestException) as error:
        kafka.create_cluster(**cluster_request(network, **change(network)))
    assert said in refusal(error)
    assert kafka.list_clusters()["ClusterInfoList"] == []


def test_a_configuration_fits_the_version_and_has_the_revision(kafka: Any, network: Network) -> None:
    arn = kafka.create_configuration(Name="old", KafkaVersions=["3.6.0"], ServerProperties=b"")["Arn"]
    with pytest.raises(ClientError, match="is for Kafka"):
        kafka.create_cluster(**cluster_request(network, ConfigurationInfo={"Arn": arn, "Revision": 1}))
    with pytest.raises(ClientError, match="revision 2 does not exist"):
        kafka.create_cluster(
            **cluster_request(network, KafkaVersion="3.6.0", ConfigurationInfo={"Arn": arn, "Revision": 2})
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n: nodes(n, InstanceType="kafka.t3.small"), "isn't supported for the kafka.t3.small"),
        (
            lambda n: {"ClientAuthentication": {"Unauthenticated": {"Enabled": True}}},
            "Unauthenticated clusters can't",
        ),
        (lambda n: {"ClientAuthentication": {"Sasl": {"Scram": {"Enabled": True}}}}, "turn these schemes on"),
    ],
)
def test_multi_vpc_connectivity_is_refused(aws: Aws, kafka: Any, network: Network, change: Any, said: str) -> None:
    arn = kafka.create_cluster(**cluster_request(network, **change(network)))["ClusterArn"]
    with listening(aws.account.kafka_port):
        version = kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]["CurrentVersion"]
        with pytest.raises(kafka.exceptions.BadRequestException) as error:
            kafka.update_connectivity(ClusterArn=arn, CurrentVersion=version, ConnectivityInfo=vpc_connectivity())
        assert said in refusal(error)


def test_a_cluster_without_iam_offers_no_address_for_it(aws: Aws, kafka: Any, network: Network) -> None:
    arn = kafka.create_cluster(
        **cluster_request(network, ClientAuthentication={"Sasl": {"Scram": {"Enabled": True}}})
    )["ClusterArn"]
    with listening(aws.account.kafka_port):
        assert "BootstrapBrokerStringSaslIam" not in kafka.get_bootstrap_brokers(ClusterArn=arn)


def test_topics_speak_of_the_broker_that_cannot_be_reached(aws: Aws, kafka: Any, network: Network) -> None:
    """A listener that is no broker: the operation fails with MSK's error, and nothing is remembered."""
    arn = kafka.create_cluster(**cluster_request(network))["ClusterArn"]
    with listening(aws.account.kafka_port):
        with pytest.raises(ClientError, match="larger than available brokers: 3"):
            kafka.create_topic(ClusterArn=arn, TopicName="t", PartitionCount=1, ReplicationFactor=4)
        with pytest.raises(ClientError, match="configs is not base64"):
            kafka.create_topic(ClusterArn=arn, TopicName="t", PartitionCount=1, ReplicationFactor=3, Configs="{}")


def test_tags_of_a_cluster(kafka: Any, network: Network) -> None:
    arn = kafka.create_cluster(**cluster_request(network))["ClusterArn"]
    kafka.tag_resource(ResourceArn=arn, Tags={"a": "1", "b": "2"})
    kafka.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert kafka.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"b": "2"}
