"""Topics on a real broker that checks MSK's IAM tokens with the emulated AWS."""

import base64
import json

import pytest
from botocore.exceptions import ClientError

from envs import toolchain
from envs.sandbox import broker
from services import kafka as clients
from tests.envs.sandbox.aws.broker_stage import Stage, encoded

pytestmark = [pytest.mark.xdist_group("broker"), pytest.mark.timeout(300)]


def on_the_broker(stage: Stage) -> dict[str, int]:
    admin = clients.admin(broker.client_config(stage.aws.state_dir))
    return {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=15).topics.items()}


def test_a_topic_is_made_on_the_broker_and_described_as_asked_for(stage: Stage) -> None:
    kafka = stage.aws.client("kafka")
    asked = {"min.insync.replicas": 2, "retention.ms": 3600000, "cleanup.policy": "delete"}
    made = kafka.create_topic(
        ClusterArn=stage.cluster, TopicName="telemetry", PartitionCount=6, ReplicationFactor=3, Configs=encoded(asked)
    )
    assert made["TopicArn"] == stage.cluster.replace(":cluster/", ":topic/") + "/telemetry"
    assert on_the_broker(stage)["telemetry"] == 6

    told = kafka.describe_topic(ClusterArn=stage.cluster, TopicName="telemetry")
    assert (told["PartitionCount"], told["ReplicationFactor"], told["Status"]) == (6, 3, "ACTIVE")
    configs = json.loads(base64.b64decode(told["Configs"]))
    assert configs["min.insync.replicas"] == "2"
    assert configs["retention.ms"] == "3600000"
    assert configs["max.message.bytes"]
    listed = kafka.list_topics(ClusterArn=stage.cluster, TopicNameFilter="tele")["Topics"]
    assert [(each["TopicName"], each["PartitionCount"]) for each in listed] == [("telemetry", 6)]


def test_a_topic_is_changed_and_deleted(stage: Stage) -> None:
    kafka = stage.aws.client("kafka")
    topic = {"ClusterArn": stage.cluster, "TopicName": "changing"}
    stage.create_topic("changing", 2, {"retention.ms": "1000"})
    kafka.update_topic(**topic, PartitionCount=4)
    kafka.update_topic(**topic, Configs=encoded({"segment.ms": "60000"}))
    told = kafka.describe_topic(**topic)
    configs = json.loads(base64.b64decode(told["Configs"]))
    assert (told["PartitionCount"], configs["segment.ms"]) == (4, "60000")
    assert configs["retention.ms"] != "1000"
    for change, said in (
        ({"PartitionCount": 3}, "would not be an increase"),
        ({}, "either configs or partitionCount"),
        ({"PartitionCount": 9, "Configs": encoded({})}, "either configs or partitionCount"),
    ):
        with pytest.raises(ClientError, match=said):
            kafka.update_topic(**topic, **change)
    kafka.delete_topic(**topic)
    assert "changing" not in on_the_broker(stage)
    for call in (kafka.describe_topic, kafka.delete_topic):
        with pytest.raises(kafka.exceptions.NotFoundException):
            call(**topic)


def test_what_the_broker_refuses_is_refused(stage: Stage) -> None:
    stage.create_topic("taken")
    with pytest.raises(ClientError, match="already exists") as error:
        stage.create_topic("taken")
    assert error.value.response["Error"]["Code"] == "TopicExistsException"
    with pytest.raises(ClientError, match=r"no\.such\.setting"):
        stage.create_topic("odd", 1, {"no.such.setting": "1"})
    with pytest.raises(ClientError, match="more than the replication factor 3"):
        stage.create_topic("odd", 1, {"min.insync.replicas": "4"})
    assert "odd" not in on_the_broker(stage)


def test_a_topic_that_outlived_its_account_is_adopted_once(stage: Stage) -> None:
    from confluent_kafka.admin import NewTopic  # pyright: ignore[reportPrivateImportUsage]

    admin = clients.admin(broker.client_config(stage.aws.state_dir))
    for name in ("survivor", "grown"):
        admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)
    survivors = stage.aws.state_dir / "kafka" / "survivors.json"
    survivors.write_text(json.dumps(["survivor", "grown"]))

    with pytest.raises(ClientError, match="outlived its account with 2 partitions, 5 are asked for"):
        stage.create_topic("grown", 5)
    stage.create_topic("survivor", 2, {"retention.ms": "5000"})
    assert json.loads(survivors.read_text()) == ["grown"]
    told = stage.aws.client("kafka").describe_topic(ClusterArn=stage.cluster, TopicName="survivor")
    assert json.loads(base64.b64decode(told["Configs"]))["retention.ms"] == "5000"
    with pytest.raises(ClientError, match="already exists"):
        stage.create_topic("survivor", 2)


def test_a_broker_that_ended_is_told_at_once_and_found_again(stage: Stage) -> None:
    kafka = stage.aws.client("kafka")
    stage.create_topic("lasting", 2)
    broker.stop(stage.aws.state_dir)
    with pytest.raises(ClientError, match="no broker answers on port") as error:
        kafka.describe_topic(ClusterArn=stage.cluster, TopicName="lasting")
    assert error.value.response["Error"]["Code"] == "ClusterConnectivityException"
    broker.start(stage.aws.state_dir, stage.aws.account.kafka_port, {}, toolchain.find())
    told = kafka.describe_topic(ClusterArn=stage.cluster, TopicName="lasting")
    assert (told["PartitionCount"], told["ReplicationFactor"]) == (2, 3)
