"""The agent against a real AWS process: what is deployed there runs here."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from envs.sandbox import account, broker, processes
from envs.sandbox.agent import Backoff, survivors
from services import kafka
from services.errors import ServiceError
from tests.envs.sandbox.aws import emulated
from tests.envs.sandbox.aws.network import cluster_request, make_network, vpc_connectivity

pytestmark = [pytest.mark.xdist_group("agent"), pytest.mark.timeout(600)]


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[emulated.Aws]:
    with emulated.running(tmp_path) as found:
        try:
            start_agent(tmp_path)
            yield found
        finally:
            processes.stop(tmp_path, "agent")
            broker.kill(tmp_path)
            processes.end(processes.strays(tmp_path))


def start_agent(state_dir: Path, **variables: str) -> None:
    argv = [sys.executable, "-m", "envs.sandbox.agent", "--state-dir", str(state_dir)]
    processes.spawn(state_dir, "agent", argv, env=variables)


def make_cluster(aws: emulated.Aws, cidr: str = "10.0") -> str:
    """The cluster as the program makes it, with a configuration for three brokers. Returns its ARN."""
    msk = aws.client("kafka")
    properties = b"min.insync.replicas=2\ndefault.replication.factor=3\nlog.retention.hours=24\n"
    configuration = msk.create_configuration(Name=f"fleet-{cidr[-1]}", ServerProperties=properties)
    request = cluster_request(make_network(aws.client("ec2"), cidr))
    request["ConfigurationInfo"] = {"Arn": configuration["Arn"], "Revision": 1}
    return str(msk.create_cluster(**request)["ClusterArn"])


def state(msk: Any, arn: str) -> str:
    try:
        return str(msk.describe_cluster(ClusterArn=arn)["ClusterInfo"]["State"])
    except ClientError as error:
        return str(error.response["Error"]["Code"])


def wait_for(condition: Callable[[], bool], state_dir: Path, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, processes.log_tail(state_dir, "agent", 30)
        time.sleep(0.1)


def create_topic(msk: Any, arn: str, name: str, partitions: int) -> None:
    msk.create_topic(ClusterArn=arn, TopicName=name, PartitionCount=partitions, ReplicationFactor=3)


def test_a_deployed_cluster_serves_iam_clients_until_it_is_deleted(aws: emulated.Aws) -> None:
    msk = aws.client("kafka")
    arn = make_cluster(aws)
    assert state(msk, arn) == "CREATING"
    wait_for(lambda: state(msk, arn) == "ACTIVE", aws.state_dir)
    create_topic(msk, arn, "telemetry", 6)

    servers = kafka.bootstrap_servers(arn, aws.session)
    assert servers == f"localhost:{aws.account.kafka_port}"
    ca = account.environment(aws.state_dir)[kafka.CA_VARIABLE]
    config = kafka.client_config(servers, aws.account.region, ca=ca, session=aws.session)
    producer = Producer({**config, **kafka.LOW_LATENCY_PRODUCER})
    for number in range(20):
        producer.produce("telemetry", b"%d" % number, key=b"device-%d" % (number % 3))
    assert producer.flush(30) == 0
    producer.close()
    assert sum(kafka.end_offsets(config, "telemetry").values()) == 20
    assert sorted(int(value) for value in read(config, "telemetry", 20)) == list(range(20))

    plaintext = {"bootstrap.servers": servers, "broker.address.family": "v4", "log_level": 0}
    with pytest.raises(KafkaException):
        AdminClient(plaintext).list_topics(timeout=3)
    guessed = boto3.Session(aws.account.access_key, "guessed", region_name=aws.account.region)
    with pytest.raises(ServiceError, match="Access denied: the signature does not match"):
        kafka.admin(kafka.client_config(servers, aws.account.region, ca=ca, session=guessed))

    msk.delete_cluster(ClusterArn=arn)
    wait_for(lambda: state(msk, arn) == "NotFoundException", aws.state_dir)
    wait_for(lambda: processes.find(aws.state_dir, broker.ROLE) is None, aws.state_dir)
    wait_for(lambda: not broker.has_logs(aws.state_dir), aws.state_dir)


def test_logs_outlive_the_account_and_a_dead_broker_waits_for_recover(aws: emulated.Aws) -> None:
    state_dir, msk = aws.state_dir, aws.client("kafka")
    arn = make_cluster(aws)
    wait_for(lambda: state(msk, arn) == "ACTIVE", state_dir)
    create_topic(msk, arn, "telemetry", 2)
    create_topic(msk, arn, "canary-1", 1)
    first = process_of(state_dir, broker.ROLE)

    # A dead broker is not brought back behind the user's back ...
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: "the broker died" in processes.log_tail(state_dir, "agent", 40), state_dir)
    time.sleep(2)
    assert not processes.alive(state_dir, broker.ROLE)
    # ... until `recover` has forgotten it.
    processes.stop(state_dir, broker.ROLE)
    wait_for(lambda: processes.log_tail(state_dir, "agent", 1000).count("the broker serves") == 2, state_dir)
    second = process_of(state_dir, broker.ROLE)
    assert second != first

    # The account dies; the logs, and the broker, do not.
    processes.stop(state_dir, "aws")
    restart_aws(aws)
    survivors_file = state_dir / "kafka" / "survivors.json"
    wait_for(survivors_file.exists, state_dir)
    assert json.loads(survivors_file.read_bytes()) == ["canary-1", "telemetry"]
    made_anew = make_cluster(aws, "10.1")
    wait_for(lambda: state(msk, made_anew) == "ACTIVE", state_dir)
    create_topic(msk, made_anew, "telemetry", 2)
    assert json.loads(survivors_file.read_bytes()) == ["canary-1"]
    assert process_of(state_dir, broker.ROLE) == second


def test_delivery_streams_run_as_deployed_and_end_with_the_agent(aws: emulated.Aws) -> None:
    state_dir, msk, firehose = aws.state_dir, aws.client("kafka"), aws.client("firehose")
    arn = make_cluster(aws)
    wait_for(lambda: state(msk, arn) == "ACTIVE", state_dir)
    make_stream(aws, arn, "archive")

    # A stream that crashed is started again.
    first = process_of(state_dir, "delivery-archive")
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: process_of(state_dir, "delivery-archive") != first, state_dir)

    # SIGTERM ends the streams and the agent, not the broker.
    agent = process_of(state_dir, "agent")
    os.kill(agent, signal.SIGTERM)
    psutil.Process(agent).wait(30)
    assert processes.find(state_dir, "delivery-archive") is None
    assert processes.alive(state_dir, broker.ROLE)

    # The next agent takes up what is there, and follows what is deleted.
    serving = process_of(state_dir, broker.ROLE)
    start_agent(state_dir)
    process_of(state_dir, "delivery-archive")
    assert process_of(state_dir, broker.ROLE) == serving
    firehose.delete_delivery_stream(DeliveryStreamName="archive")
    wait_for(lambda: processes.find(state_dir, "delivery-archive") is None, state_dir)
    assert processes.alive(state_dir, broker.ROLE)


def test_a_broker_that_does_not_start_makes_a_failed_cluster_that_can_be_deleted(aws: emulated.Aws) -> None:
    processes.stop(aws.state_dir, "agent")
    start_agent(aws.state_dir, JAVA_TOOL_OPTIONS="-agentlib:missing")
    msk = aws.client("kafka")
    arn = make_cluster(aws)
    wait_for(lambda: state(msk, arn) == "FAILED", aws.state_dir, 60)
    told = msk.describe_cluster(ClusterArn=arn)["ClusterInfo"]["StateInfo"]["Message"]
    assert "not installed: Java" in told
    msk.delete_cluster(ClusterArn=arn)
    wait_for(lambda: state(msk, arn) == "NotFoundException", aws.state_dir, 60)


def test_survivors_are_read_from_the_log_folder(tmp_path: Path) -> None:
    for name in ("telemetry-0", "telemetry-11", "with-dash-3", "__consumer_offsets-0", "old-0.9f3c-delete", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "file-0").touch()
    assert survivors(tmp_path) == ["telemetry", "with-dash"]
    assert survivors(tmp_path / "missing") == []


def test_rests_grow_and_end() -> None:
    now = 0.0
    backoff = Backoff(lambda: now)
    assert not backoff.rests("delivery-archive")
    waited = []
    for _ in range(7):
        backoff.tried("delivery-archive")
        began = now
        while backoff.rests("delivery-archive"):
            now += 0.5
        waited.append(now - began)
    assert waited == [1, 2, 4, 8, 16, 30, 30]

    now += 100
    backoff.tried("delivery-archive")
    assert backoff.rests("delivery-archive")
    now += 1
    assert not backoff.rests("delivery-archive")
    backoff.tried("delivery-archive")
    backoff.forget("delivery-archive")
    assert not backoff.rests("delivery-archive")


def process_of(state_dir: Path, role: str) -> int:
    """The pid of a role's live process; waits for it."""
    wait_for(lambda: processes.alive(state_dir, role), state_dir)
    record = processes.find(state_dir, role)
    assert record is not None
    return record.pid


def make_stream(aws: emulated.Aws, cluster: str, name: str) -> None:
    """A delivery stream from the topic of its name into the bucket of its name, with all that Firehose asks for."""
    msk = aws.client("kafka")
    version = msk.describe_cluster(ClusterArn=cluster)["ClusterInfo"]["CurrentVersion"]
    msk.update_connectivity(ClusterArn=cluster, CurrentVersion=version, ConnectivityInfo=vpc_connectivity())
    wait_for(lambda: state(msk, cluster) == "ACTIVE", aws.state_dir)
    service = {"Service": "firehose.amazonaws.com"}
    connect = {"Effect": "Allow", "Principal": service, "Action": "kafka:CreateVpcConnection", "Resource": cluster}
    msk.put_cluster_policy(ClusterArn=cluster, Policy=json.dumps({"Version": "2012-10-17", "Statement": [connect]}))
    create_topic(msk, cluster, name, 1)
    aws.client("s3").create_bucket(Bucket=name)
    trust = {"Effect": "Allow", "Principal": service, "Action": "sts:AssumeRole"}
    iam = aws.client("iam")
    role = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    rights = {"Effect": "Allow", "Action": ["kafka:*", "kafka-cluster:*", "s3:*"], "Resource": "*"}
    iam.put_role_policy(
        RoleName=name, PolicyName="all", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [rights]})
    )
    aws.client("firehose").create_delivery_stream(
        DeliveryStreamName=name,
        DeliveryStreamType="MSKAsSource",
        MSKSourceConfiguration={
            "MSKClusterARN": cluster,
            "TopicName": name,
            "AuthenticationConfiguration": {"RoleARN": role, "Connectivity": "PRIVATE"},
        },
        ExtendedS3DestinationConfiguration={"RoleARN": role, "BucketARN": f"arn:aws:s3:::{name}"},
    )


def restart_aws(aws: emulated.Aws) -> None:
    argv = [sys.executable, "-m", "envs.sandbox.aws", "--state-dir", str(aws.state_dir)]
    argv += ["--port", str(aws.account.aws_port)]
    processes.spawn(aws.state_dir, "aws", argv, env=account.environment(aws.state_dir))
    wait_for(lambda: account.is_open(aws.account.aws_port), aws.state_dir)


def read(config: dict[str, Any], topic: str, count: int) -> list[bytes]:
    consumer = Consumer({**config, **kafka.LOW_LATENCY_CONSUMER, "group.id": "test", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    values: list[bytes] = []
    deadline = time.monotonic() + 60
    while len(values) < count and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            values.append(message.value() or b"")
    consumer.close()
    return values
