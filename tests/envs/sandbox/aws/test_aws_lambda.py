"""Functions: every setting is read back, what AWS refuses is refused, and what was deployed runs."""

import io
import json
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from envs.sandbox.aws import lambda_rules
from tests.envs.sandbox.aws.emulated import Aws

pytestmark = pytest.mark.xdist_group("aws-lambda")  # one AWS process for all of them

HANDLER = """
import boto3, os

def handle(event, context):
    print("got", event)
    who = boto3.client("sts").get_caller_identity()["Arn"]
    return {"echo": event, "who": who, "stage": os.environ["STAGE"], "name": context.function_name}

def fail(event, context):
    raise ValueError("no good")
"""


def artifact(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.py", content)
    return buffer.getvalue()


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture(scope="module")
def client(aws: Aws) -> Any:
    return aws.client("lambda")


@pytest.fixture(scope="module")
def queue(aws: Aws) -> str:
    aws.client("sqs").create_queue(QueueName="dead")
    return "arn:aws:sqs:us-east-1:123456789012:dead"


def make_role(aws: Aws, name: str, service: str, *statements: dict[str, Any]) -> str:
    iam = aws.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
    return arn


@pytest.fixture(scope="module")
def role(aws: Aws, queue: str) -> str:
    return make_role(
        aws,
        "worker",
        "lambda.amazonaws.com",
        {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": queue},
        {"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"},
    )


def function(role: str, **changes: Any) -> dict[str, Any]:
    return {
        "FunctionName": "gate",
        "Role": role,
        "Runtime": "python3.11",
        "Handler": "gate.handle",
        "Code": {"ZipFile": artifact(gate=HANDLER)},
        "Environment": {"Variables": {"STAGE": "test"}},
        "Timeout": 30,
    } | changes


def test_every_setting_is_read_back_and_changed(aws: Aws, client: Any, role: str, queue: str) -> None:
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    settings: dict[str, Any] = {
        "Description": "d",
        "MemorySize": 256,
        "Architectures": ["x86_64"],
        "DeadLetterConfig": {"TargetArn": queue},
        "EphemeralStorage": {"Size": 1024},
        "KMSKeyArn": key,
        "TracingConfig": {"Mode": "Active"},
        "LoggingConfig": {
            "LogFormat": "JSON",
            "ApplicationLogLevel": "DEBUG",
            "SystemLogLevel": "WARN",
            "LogGroup": "/fleet/all",
        },
    }
    client.create_function(**function(role, FunctionName="all", Tags={"fleet": "test"}, **settings))
    told = client.get_function(FunctionName="all")
    assert told["Tags"] == {"fleet": "test"}
    assert {name: told["Configuration"][name] for name in settings} == settings
    assert told["Configuration"]["State"] == "Active"
    assert "Concurrency" not in told
    before = told["Configuration"]["RevisionId"]

    client.update_function_configuration(
        FunctionName="all",
        DeadLetterConfig={"TargetArn": ""},
        EphemeralStorage={"Size": 512},
        KMSKeyArn="",
        TracingConfig={"Mode": "PassThrough"},
        LoggingConfig={"LogFormat": "Text"},
        Environment={"Variables": {}},
        MemorySize=128,
    )
    told = client.get_function_configuration(FunctionName="all")
    assert not {"DeadLetterConfig", "KMSKeyArn", "Environment"} & told.keys()
    assert (told["EphemeralStorage"], told["TracingConfig"]) == ({"Size": 512}, {"Mode": "PassThrough"})
    assert told["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/aws/lambda/all"}
    assert (told["MemorySize"], told["LastUpdateStatus"]) == (128, "Successful")
    assert told["RevisionId"] != before

    digest = told["CodeSha256"]
    client.update_function_code(FunctionName="all", ZipFile=artifact(other=""))
    assert client.get_function_configuration(FunctionName="all")["CodeSha256"] != digest

    for reserved in (5, 0):
        client.put_function_concurrency(FunctionName="all", ReservedConcurrentExecutions=reserved)
        told = client.get_function(FunctionName="all")
        assert told["Concurrency"] == {"ReservedConcurrentExecutions": reserved}
    with pytest.raises(client.exceptions.TooManyRequestsException):
        client.invoke(FunctionName="all")
    client.delete_function_concurrency(FunctionName="all")
    assert "Concurrency" not in client.get_function(FunctionName="all")


def test_event_invoke_settings_replace_each_other(client: Any, role: str, queue: str) -> None:
    client.create_function(**function(role, FunctionName="events"))
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function_event_invoke_config(FunctionName="events")
    destination = {"OnFailure": {"Destination": queue}}
    client.put_function_event_invoke_config(
        FunctionName="events",
        MaximumRetryAttempts=1,
        MaximumEventAgeInSeconds=3600,
        DestinationConfig=destination,
    )
    told = client.get_function_event_invoke_config(FunctionName="events")
    assert (told["MaximumRetryAttempts"], told["MaximumEventAgeInSeconds"]) == (1, 3600)
    assert told["DestinationConfig"] == destination
    client.update_function_event_invoke_config(FunctionName="events", MaximumRetryAttempts=0)
    told = client.get_function_event_invoke_config(FunctionName="events")
    assert (told["MaximumRetryAttempts"], told["MaximumEventAgeInSeconds"]) == (0, 3600)
    client.put_function_event_invoke_config(FunctionName="events", MaximumRetryAttempts=2)
    told = client.get_function_event_invoke_config(FunctionName="events")
    assert told["MaximumRetryAttempts"] == 2
    assert "MaximumEventAgeInSeconds" not in told
    with pytest.raises(ClientError, match="does not have permissions to call SendMessage"):
        client.put_function_event_invoke_config(
            FunctionName="events", DestinationConfig={"OnFailure": {"Destination": queue + "-other"}}
        )
    client.delete_function_event_invoke_config(FunctionName="events")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function_event_invoke_config(FunctionName="events")


def test_a_function_runs_as_its_role_with_its_environment(aws: Aws, client: Any, role: str) -> None:
    logs = aws.client("logs")
    logs.create_log_group(logGroupName="/aws/lambda/gate")
    client.create_function(**function(role))
    answer = client.invoke(FunctionName="gate", Payload=json.dumps({"n": 1}).encode(), LogType="Tail")
    assert "FunctionError" not in answer, answer["Payload"].read()
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    told = json.load(answer["Payload"])
    assert (told["echo"], told["stage"], told["name"]) == ({"n": 1}, "test", "gate")
    assert told["who"] == "arn:aws:sts::123456789012:assumed-role/worker/lambda"
    assert answer["LogResult"]

    stream = logs.describe_log_streams(logGroupName="/aws/lambda/gate")["logStreams"][0]["logStreamName"]
    events = logs.get_log_events(logGroupName="/aws/lambda/gate", logStreamName=stream)["events"]
    assert any("got {'n': 1}" in each["message"] for each in events)

    client.update_function_configuration(FunctionName="gate", Handler="gate.fail")
    answer = client.invoke(FunctionName="arn:aws:lambda:us-east-1:123456789012:function:gate")
    assert answer["FunctionError"] == "Unhandled"
    assert json.load(answer["Payload"])["errorMessage"] == "no good"
    assert client.invoke(FunctionName="gate", InvocationType="DryRun")["StatusCode"] == 204


def test_a_function_in_a_network(aws: Aws, client: Any, role: str) -> None:
    """Subnets and groups are there, and the role may manage network interfaces."""
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    network = {"SubnetIds": [subnet], "SecurityGroupIds": [group]}
    allowed = [f"ec2:{action}NetworkInterface" for action in ("Create", "Delete")] + ["ec2:DescribeNetworkInterfaces"]
    fit = make_role(aws, "in-a-vpc", "lambda.amazonaws.com", {"Effect": "Allow", "Action": allowed, "Resource": "*"})
    for who, change, said in (
        (role, {}, "does not have permissions to call CreateNetworkInterface on EC2"),
        (fit, {"SubnetIds": ["subnet-none"]}, "The subnet ID 'subnet-none' does not exist"),
        (fit, {"SecurityGroupIds": ["sg-none"]}, "The security group 'sg-none' does not exist"),
        (fit, {"SecurityGroupIds": []}, "at least one security group"),
    ):
        with pytest.raises(client.exceptions.InvalidParameterValueException, match=said):
            client.create_function(**function(who, FunctionName="netted", VpcConfig=network | change))
    client.create_function(**function(fit, FunctionName="netted", VpcConfig=network))
    told = client.get_function_configuration(FunctionName="netted")["VpcConfig"]
    assert {name: told[name] for name in ("VpcId", *network)} == {"VpcId": vpc, **network}
    client.update_function_configuration(FunctionName="netted", VpcConfig={"SubnetIds": [], "SecurityGroupIds": []})
    assert not client.get_function_configuration(FunctionName="netted").get("VpcConfig", {}).get("SubnetIds")


def test_an_artifact_without_the_handler_is_accepted_and_fails_when_invoked(aws: Aws, client: Any, role: str) -> None:
    client.create_function(**function(role, FunctionName="hollow", Handler="missing.handle"))
    answer = client.invoke(FunctionName="hollow")
    assert answer["FunctionError"] == "Unhandled"
    assert "missing" in json.load(answer["Payload"])["errorMessage"]
    groups = aws.client("logs").describe_log_groups()["logGroups"]
    assert "/aws/lambda/hollow" not in {each["logGroupName"] for each in groups}, "the role may not create groups"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "Reserved keys used in this request: AWS_REGION"),
        ({"Environment": {"Variables": {"BIG": "x" * 5000}}}, "exceeded the 4KB limit"),
        ({"Timeout": 901}, "'timeout' must be from 1 to 900"),
        ({"MemorySize": 20000}, "'memorySize' must be from 128 to 10240"),
        ({"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "INFO"}}, "for the log format JSON only"),
        ({"Code": {"ZipFile": b"no zip"}}, "Could not unzip uploaded file"),
        ({"KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/none"}, "The KMS key"),
        (
            {"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:123456789012:x"}},
            "permissions to call SendMessage",
        ),
        ({"Role": "arn:aws:iam::123456789012:role/nobody"}, "cannot be assumed by Lambda"),
    ],
)
def test_a_function_with_a_mistake_is_refused(client: Any, role: str, change: dict[str, Any], said: str) -> None:
    with pytest.raises(client.exceptions.InvalidParameterValueException) as error:
        client.create_function(**function(role, FunctionName="odd", **change))
    assert said in error.value.response["Error"]["Message"]
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="odd")


def test_a_role_for_another_service_is_refused(aws: Aws, client: Any) -> None:
    other = make_role(aws, "for-ec2", "ec2.amazonaws.com")
    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        client.create_function(**function(other, FunctionName="odd"))


def test_sizes_of_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    import base64

    from moto.awslambda.exceptions import LambdaClientError

    zipped = {"ZipFile": base64.b64encode(artifact(a="x" * 1000)).decode()}
    lambda_rules.check_code(zipped)
    monkeypatch.setattr(lambda_rules, "MAX_UNZIPPED", 999)
    with pytest.raises(LambdaClientError, match="400") as error:
        lambda_rules.check_code(zipped)
    assert error.value.message == "Unzipped size must be smaller than 999 bytes"
    monkeypatch.setattr(lambda_rules, "MAX_ZIPPED", 10)
    with pytest.raises(LambdaClientError, match="413") as error:
        lambda_rules.check_code(zipped)
    assert error.value.error_type == "RequestEntityTooLargeException"
