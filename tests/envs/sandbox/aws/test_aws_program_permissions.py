"""What the program's principals really call, and each right that they need for it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from botocore.credentials import CredentialProvider
from botocore.exceptions import ClientError

from envs.sandbox.aws import sts_client
from tests.envs.sandbox.aws.emulated import Aws, listening
from tests.envs.sandbox.aws.network import cluster_request, make_network
from tests.envs.sandbox.aws.permission_stage import ACCOUNT, Role, Statement, allow, denied, encrypted, log_of
from tests.envs.sandbox.delivery_stage import artifact
from tests.infra.declared import declare

pytestmark = pytest.mark.usefixtures("inside")


@pytest.fixture(scope="module")
def cluster(aws: Aws) -> Iterator[str]:
    with listening(aws.account.kafka_port):
        made = aws.client("kafka").create_cluster(**cluster_request(make_network(aws.client("ec2"))))["ClusterArn"]
        aws.client("kafka").describe_cluster(ClusterArn=made)
        yield made


def program_role(name: str, places: dict[str, str]) -> list[Statement]:
    """The statements of a role's rights as the program renders them, about what exists here."""
    rights = declare("sandbox").one("RolePolicy", name).properties["policy"]
    for theirs in sorted(places, key=len, reverse=True):
        rights = rights.replace(theirs, places[theirs])
    assert "arn:aws:x:" not in rights
    return json.loads(rights)["Statement"]


def sign_in(aws: Aws, role: Role) -> None:
    """What the broker asks when a role comes with its token."""

    class Fixed(CredentialProvider):
        def load(self) -> Any:
            credentials = role.session.get_credentials()
            assert credentials is not None
            return credentials.get_frozen_credentials()

    token = MSKAuthTokenProvider.generate_auth_token_from_credentials_provider("us-east-1", Fixed())[0]
    url = f"{aws.account.endpoint}/fleetstream/kafka/principal"
    answer = urllib3.request("GET", url, fields={"token": token})
    if answer.status != 200:
        raise sts_client.AssumeRoleError(answer.json()["error"])


Call = Callable[[], Any]


def missing_rights(calls: dict[str, Call]) -> set[str]:
    """The actions that the refused ones of these calls were missing."""
    found = set()
    for expected, call in calls.items():
        try:
            call()
        except (ClientError, sts_client.AssumeRoleError) as error:
            text = str(error)
            assert "is not authorized to perform: " in text, (expected, text)
            found.add(text.partition("to perform: ")[2].split()[0])
    return found


def each_missing(role: Role, statements: list[Statement], calls: dict[str, Call]) -> None:
    """Takes each action of each statement away in turn; exactly that one must be missed."""
    role.put(*statements)
    assert missing_rights(calls) == set()
    for number, statement in enumerate(statements):
        others = statements[:number] + statements[number + 1 :]
        role.put(*others)
        assert missing_rights(calls) == set(statement["Action"]), statement["Sid"]
        for action in statement["Action"]:
            rest = {**statement, "Action": [each for each in statement["Action"] if each != action]}
            role.put(*others, *([rest] if rest["Action"] else []))
            assert missing_rights(calls) == {action}


def test_the_delivery_stream_needs_every_right_that_the_program_gives_it(aws: Aws, cluster: str) -> None:
    arn, key = encrypted(aws, "archive")
    logs = aws.client("logs")
    logs.create_log_group(logGroupName="delivery")
    logs.create_log_stream(logGroupName="delivery", logStreamName="delivery")
    gate_role = Role(aws, "gate", allow("logs:*", "*"), service="lambda.amazonaws.com")
    gate = aws.client("lambda").create_function(
        FunctionName="archive-gate",
        Role=gate_role.arn,
        Runtime="python3.11",
        Handler="gate.handle",
        Code={"ZipFile": artifact({"gate.py": "def handle(event, context):\n    return event\n"})},
    )["FunctionArn"]
    topic = f"{cluster.replace(':cluster/', ':topic/')}/telemetry"
    group = cluster.replace(":cluster/", ":group/")
    theirs = f"arn:aws:x:eu-central-1:{ACCOUNT}:"
    statements = program_role(
        "archive-rights",
        {
            f"arn:aws:kafka:eu-central-1:{ACCOUNT}:cluster/streaming-cluster/abc-1": cluster,
            f"arn:aws:kafka:eu-central-1:{ACCOUNT}:group/streaming-cluster/abc-1": group,
            f"{theirs}streaming-telemetry": topic,
            f"{theirs}archive-bucket": arn,
            f"{theirs}archive-key": key,
            f"{theirs}archive-gate-function": gate,
            f"{theirs}archive-delivery-log": (
                f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:delivery:log-stream:delivery"
            ),
            "s3.eu-central-1.amazonaws.com": "s3.us-east-1.amazonaws.com",
        },
    )
    role = Role(aws, "archive")
    kafka, s3, functions, log = (role.client(service) for service in ("kafka", "s3", "lambda", "logs"))
    stored = {"Bucket": "archive", "Key": "telemetry/year=2026/a.gz"}
    aws.client("s3").put_object(**stored, Body=b"x")

    def abort() -> None:
        upload = aws.client("s3").create_multipart_upload(**stored)["UploadId"]
        s3.abort_multipart_upload(**stored, UploadId=upload)

    calls: dict[str, Call] = {
        "sign in": lambda: sign_in(aws, role),
        "offsets": lambda: sts_client.require(
            role.arn, role.service, "kafka-cluster:DescribeGroup", f"{group}/firehose-archive"
        ),
        "describe": lambda: kafka.describe_cluster(ClusterArn=cluster),
        "describe v2": lambda: kafka.describe_cluster_v2(ClusterArn=cluster),
        "brokers": lambda: kafka.get_bootstrap_brokers(ClusterArn=cluster),
        "location": lambda: s3.get_bucket_location(Bucket="archive"),
        "list": lambda: s3.list_objects_v2(Bucket="archive"),
        "uploads": lambda: s3.list_multipart_uploads(Bucket="archive"),
        "write": lambda: s3.put_object(**stored, Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key),
        "failed": lambda: s3.put_object(Bucket="archive", Key="dead-letter/processing-failed/a", Body=b"x"),
        "read": lambda: s3.get_object(**stored),
        "abort": abort,
        "look": lambda: functions.get_function_configuration(FunctionName=f"{gate}:$LATEST"),
        "invoke": lambda: functions.invoke(FunctionName=f"{gate}:$LATEST", Payload=b"{}"),
        "report": lambda: log.put_log_events(
            logGroupName="delivery", logStreamName="delivery", logEvents=[{"timestamp": 1, "message": "x"}]
        ),
    }
    for action in ("DescribeTopic", "DescribeTopicDynamicConfiguration", "ReadData"):
        calls[action] = lambda action=action: sts_client.require(
            role.arn, role.service, f"kafka-cluster:{action}", topic
        )
    each_missing(role, statements, calls)
    role.put(*statements)
    with denied("s3:PutObject"):
        s3.put_object(Bucket="archive", Key="elsewhere/a", Body=b"")


def test_the_gate_needs_every_right_that_the_program_gives_it(aws: Aws) -> None:
    logs, sqs = aws.client("logs"), aws.client("sqs")
    logs.create_log_group(logGroupName="/aws/lambda/needs")
    url = sqs.create_queue(QueueName="needs")["QueueUrl"]
    theirs = f"arn:aws:x:eu-central-1:{ACCOUNT}:"
    statements = program_role(
        "archive-gate-rights",
        {
            f"{theirs}archive-gate-log": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/lambda/needs",
            f"{theirs}archive-gate-dead-letters": f"arn:aws:sqs:us-east-1:{ACCOUNT}:needs",
        },
    )
    role = Role(aws, "needs", service="lambda.amazonaws.com")
    streams = iter(f"stream-{number}" for number in range(100))
    logs.create_log_stream(logGroupName="/aws/lambda/needs", logStreamName="there")
    calls: dict[str, Call] = {
        "stream": lambda: role.client("logs").create_log_stream(
            logGroupName="/aws/lambda/needs", logStreamName=next(streams)
        ),
        "write": lambda: role.client("logs").put_log_events(
            logGroupName="/aws/lambda/needs", logStreamName="there", logEvents=[{"timestamp": 1, "message": "x"}]
        ),
        "dead letter": lambda: role.client("sqs").send_message(QueueUrl=url, MessageBody="x"),
    }
    each_missing(role, statements, calls)


def test_a_function_whose_role_may_not_log_is_silent_and_the_sandbox_says_why(aws: Aws) -> None:
    aws.client("logs").create_log_group(logGroupName="/aws/lambda/mute")
    role = Role(aws, "mute", service="lambda.amazonaws.com")
    client = aws.client("lambda")
    client.create_function(
        FunctionName="mute",
        Role=role.arn,
        Runtime="python3.11",
        Handler="gate.handle",
        Code={"ZipFile": artifact({"gate.py": "def handle(event, context):\n    print('heard')\n"})},
    )
    client.invoke(FunctionName="mute")
    group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/lambda/mute"
    assert f'"Action": "logs:CreateLogStream", "Resource": "{group}:log-stream:' in log_of(aws)
    role.put(allow(["logs:CreateLogStream", "logs:PutLogEvents"], f"{group}:*"))
    client.invoke(FunctionName="mute")
    events = aws.client("logs").filter_log_events(logGroupName="/aws/lambda/mute")["events"]
    assert "heard" in {each["message"] for each in events}
