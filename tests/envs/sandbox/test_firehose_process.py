"""The process of a delivery stream, on a stream that is deployed in an emulated account with everything around it."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from envs.sandbox import account, processes
from services import archive
from services.archive_count import ArchiveCounter, DeadLetterCounter
from tests.envs.sandbox.aws.network import cluster_request, make_network, vpc_connectivity
from tests.envs.sandbox.delivery_stage import GATE_HANDLER, ROOT, Stage, gate_artifact, messages

pytestmark = [pytest.mark.xdist_group("delivery-process"), pytest.mark.timeout(600)]

STREAM = "archive"
ROLE = f"delivery-{STREAM}"


def role(stage: Stage, name: str, service: str) -> str:
    """A role that a service may assume, and that may do everything."""
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    iam = stage.client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(allow))
    return str(arn)


def deploy(stage: Stage) -> None:
    """Cluster, topic, bucket, gate and stream, in the order in which AWS wants them."""
    kafka = stage.client("kafka")
    cluster = kafka.create_cluster(**cluster_request(make_network(stage.client("ec2"))))["ClusterArn"]
    info = kafka.describe_cluster(ClusterArn=cluster)["ClusterInfo"]
    kafka.update_connectivity(
        ClusterArn=cluster, CurrentVersion=info["CurrentVersion"], ConnectivityInfo=vpc_connectivity()
    )
    wait_until(lambda: kafka.describe_cluster(ClusterArn=cluster)["ClusterInfo"]["State"] == "ACTIVE")
    connect = {
        "Effect": "Allow",
        "Principal": {"Service": "firehose.amazonaws.com"},
        "Action": "kafka:CreateVpcConnection",
        "Resource": cluster,
    }
    kafka.put_cluster_policy(ClusterArn=cluster, Policy=json.dumps({"Version": "2012-10-17", "Statement": [connect]}))
    kafka.create_topic(ClusterArn=cluster, TopicName=STREAM, PartitionCount=2, ReplicationFactor=3)
    stage.bucket(STREAM)
    gate = stage.client("lambda").create_function(
        FunctionName="gate",
        Role=role(stage, "gate", "lambda.amazonaws.com"),
        Runtime="python3.11",
        Handler=GATE_HANDLER,
        Timeout=60,
        Code={"ZipFile": gate_artifact()},
    )["FunctionArn"]
    delivery = role(stage, "delivery", "firehose.amazonaws.com")
    parameters = {"LambdaArn": f"{gate}:$LATEST", "BufferSizeInMBs": "1", "BufferIntervalInSeconds": "1"}
    stage.client("firehose").create_delivery_stream(
        DeliveryStreamName=STREAM,
        DeliveryStreamType="MSKAsSource",
        MSKSourceConfiguration={
            "MSKClusterARN": cluster,
            "TopicName": STREAM,
            "AuthenticationConfiguration": {"RoleARN": delivery, "Connectivity": "PRIVATE"},
        },
        ExtendedS3DestinationConfiguration={
            "RoleARN": delivery,
            "BucketARN": f"arn:aws:s3:::{STREAM}",
            "Prefix": "telemetry/year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/",
            "ErrorOutputPrefix": "dead-letter/!{firehose:error-output-type}/",
            "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 1},
            "CompressionFormat": "GZIP",
            "ProcessingConfiguration": {
                "Enabled": True,
                "Processors": [
                    {"Type": "Lambda", "Parameters": [_parameter(*each) for each in parameters.items()]},
                    {"Type": "AppendDelimiterToRecord", "Parameters": [_parameter("Delimiter", "\\n")]},
                ],
            },
        },
    )
    firehose = stage.client("firehose")
    wait_until(lambda: _description(firehose)["DeliveryStreamStatus"] == "ACTIVE")


def _parameter(name: str, value: str) -> dict[str, str]:
    return {"ParameterName": name, "ParameterValue": value}


def _description(firehose: Any) -> dict[str, Any]:
    return firehose.describe_delivery_stream(DeliveryStreamName=STREAM)["DeliveryStreamDescription"]


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits for something that must come; only a hang fails by time."""
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def start(stage: Stage) -> processes.Record:
    argv = [sys.executable, "-m", "envs.sandbox.firehose", "--state-dir", str(stage.state_dir), "--stream", STREAM]
    return processes.spawn(stage.state_dir, ROLE, argv, env=account.environment(stage.state_dir), cwd=ROOT)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    opened = Stage(tmp_path_factory.mktemp("process")).open()
    try:
        deploy(opened)
        yield opened
    finally:
        processes.stop(opened.state_dir, ROLE)
        opened.close()


def test_a_deployed_stream_delivers_changes_its_version_and_ends_in_order(stage: Stage) -> None:
    s3, firehose = stage.client("s3"), stage.client("firehose")
    counter, dead = ArchiveCounter(s3, STREAM, "telemetry/", run="r1"), DeadLetterCounter(s3, STREAM, "dead-letter/")

    # Killed and started again, as the agent does: the second process takes the first one's place.
    start(stage)
    wait_until(lambda: stage.committed(STREAM) == {0: 0, 1: 0})
    killed = processes.find(stage.state_dir, ROLE)
    assert killed is not None
    process = killed.process()
    assert process is not None
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    record = start(stage)
    stage.produce(STREAM, [*messages("r1-00", 2000, signals=20), b"poison"])
    wait_until(lambda: stage.committed(STREAM) == stage.ends(STREAM))
    count = counter.update()
    assert (count.records, count.unique, count.problems) == (2000, 2000, ())
    assert dead.update().by_code == {"Lambda.ProcessingFailedStatus": 1}
    assert [letter.value for letter in archive.dead_letters(s3, STREAM, "dead-letter/")] == [b"poison"]
    keys = [entry.key for entry in archive.objects(s3, STREAM, "telemetry/")]
    assert all(f"/{STREAM}-1-" in key for key in keys)

    # The next version waits for 15 minutes: what it holds goes out because the process is asked to end.
    description = _description(firehose)
    firehose.update_destination(
        DeliveryStreamName=STREAM,
        CurrentDeliveryStreamVersionId=description["VersionId"],
        DestinationId=description["Destinations"][0]["DestinationId"],
        ExtendedS3DestinationUpdate={"BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 900}},
    )
    wait_until(lambda: "version 2 of archive" in processes.log_tail(stage.state_dir, ROLE, 50))
    logs = stage.client("logs")
    before = _invocations(logs)
    stage.produce(STREAM, messages("r1-01", 100))
    wait_until(lambda: _invocations(logs) > before)
    running = record.process()
    assert running is not None
    running.terminate()
    assert running.wait(60) in (0, None)
    assert "error" not in processes.log_tail(stage.state_dir, ROLE, 2)
    count = counter.update()
    assert (count.records, count.unique) == (2100, 2100)
    assert any(f"/{STREAM}-2-" in entry.key for entry in archive.objects(s3, STREAM, "telemetry/"))
    assert stage.committed(STREAM) == stage.ends(STREAM)


def _invocations(logs: Any) -> int:
    """How often the gate ran, by its own log."""
    events = logs.filter_log_events(logGroupName="/aws/lambda/gate", filterPattern="REPORT")["events"]
    return sum(event["message"].startswith("REPORT") for event in events)


@pytest.mark.parametrize(
    "action",
    [
        "kafka-cluster:Connect",
        "kafka-cluster:ReadData",
        "kafka-cluster:DescribeGroup",
        "kafka:GetBootstrapBrokers",
        "lambda:GetFunctionConfiguration",
        "s3:ListBucket",
    ],
)
def test_a_right_that_the_stream_s_role_lacks_ends_it_with_the_right_s_name(stage: Stage, action: str) -> None:
    iam = stage.client("iam")
    deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": action, "Resource": "*"}]}
    iam.put_role_policy(RoleName="delivery", PolicyName="less", PolicyDocument=json.dumps(deny))
    try:
        start(stage)
        wait_until(lambda: not processes.alive(stage.state_dir, ROLE))
    finally:
        iam.delete_role_policy(RoleName="delivery", PolicyName="less")
    tail = processes.log_tail(stage.state_dir, ROLE, 1)
    assert tail.startswith(f"error: delivery stream {STREAM}: ")
    assert f"is not authorized to perform: {action} on resource: arn:aws:" in tail


def test_a_stream_that_does_not_exist_is_named(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    argv = [sys.executable, "-m", "envs.sandbox.firehose", "--state-dir", str(stage.state_dir), "--stream", "nowhere"]
    processes.spawn(stage.state_dir, "delivery-nowhere", argv, cwd=ROOT)
    wait_until(lambda: not processes.alive(stage.state_dir, "delivery-nowhere"))
    tail = processes.log_tail(stage.state_dir, "delivery-nowhere", 1)
    assert tail == "error: delivery stream nowhere: delivery stream nowhere does not exist"
