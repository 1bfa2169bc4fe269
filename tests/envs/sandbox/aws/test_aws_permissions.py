"""A deployed principal may do what its policies say and nothing else, and a refusal names what is missing."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
import urllib3
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from botocore.config import Config
from botocore.credentials import CredentialProvider
from botocore.exceptions import ClientError

from envs.sandbox import account
from envs.sandbox.aws import sts_client
from tests.envs.sandbox.aws.emulated import Aws, listening
from tests.envs.sandbox.aws.network import cluster_request, make_network
from tests.envs.sandbox.delivery_stage import artifact
from tests.infra.declared import declare

pytestmark = pytest.mark.xdist_group("aws-permissions")  # one AWS process for all of them

ACCOUNT = "123456789012"
Statement = dict[str, Any]


def document(*statements: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str | list[str], resource: str | list[str], **more: Any) -> Statement:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


@pytest.fixture(autouse=True)
def inside(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as one of the sandbox's."""
    for name, value in account.environment(aws.state_dir).items():
        monkeypatch.setenv(name, value)


class Role:
    """A role in the hands of a service."""

    def __init__(self, aws: Aws, name: str, *statements: Statement, service: str = "firehose.amazonaws.com") -> None:
        self.iam, self.name, self.service = aws.client("iam"), name, service
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        self.arn = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
        self.session_arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{service.split('.')[0]}"
        if statements:
            self.put(*statements)
        self.session = sts_client.service_session(self.arn, service)

    def put(self, *statements: Statement) -> None:
        self.iam.put_role_policy(RoleName=self.name, PolicyName="own", PolicyDocument=document(*statements))

    def client(self, service: str) -> Any:
        return self.session.client(service, config=Config(retries={"total_max_attempts": 1}))  # type: ignore[call-overload]


@contextmanager
def denied(action: str, code: str = "AccessDenied", reason: str = "") -> Iterator[None]:
    reason = reason or f"because no identity-based policy allows the {action} action"
    with pytest.raises(ClientError) as error:
        yield
    told = error.value.response["Error"]
    assert (told["Code"], told["Message"].endswith(reason)) == (code, True), told
    assert f"is not authorized to perform: {action}" in told["Message"]


def log_of(aws: Aws) -> str:
    return (aws.state_dir / "logs" / "aws.log").read_text()


def bucket(aws: Aws, name: str, *statements: Statement) -> str:
    aws.client("s3").create_bucket(Bucket=name)
    if statements:
        aws.client("s3").put_bucket_policy(Bucket=name, Policy=document(*statements))
    return f"arn:aws:s3:::{name}"


def encrypted(aws: Aws, name: str, policy: str | None = None, bucket_key: bool = True) -> tuple[str, str]:
    """A bucket under a key of its own: both ARNs."""
    arn = bucket(aws, name)
    key = aws.client("kms").create_key(**({} if policy is None else {"Policy": policy}))["KeyMetadata"]["Arn"]
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": bucket_key}
    aws.client("s3").put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    return arn, key


def test_a_role_may_do_what_its_policy_says_and_nothing_else(aws: Aws) -> None:
    arn = bucket(aws, "mine")
    role = Role(aws, "narrow", allow("s3:PutObject", f"{arn}/in/*"))
    s3 = role.client("s3")
    s3.put_object(Bucket="mine", Key="in/a", Body=b"x" * 100_000)
    with denied("s3:PutObject"):
        s3.put_object(Bucket="mine", Key="out/a", Body=b"x" * 100_000)
    with denied("s3:PutObject"):
        s3.put_object(Bucket="mine", Key="IN/a", Body=b"x")
    with denied("s3:GetObject"):
        s3.get_object(Bucket="mine", Key="in/a")
    with denied("s3:ListBucket"):
        s3.list_objects_v2(Bucket="mine")
    with denied("s3:ListAllMyBuckets"):
        s3.list_buckets()
    assert role.client("sts").get_caller_identity()["Arn"] == role.session_arn
    assert aws.client("s3").list_objects_v2(Bucket="mine")["KeyCount"] == 1, "the administrator may do everything"


def test_a_refusal_is_aws_s_own_and_the_log_has_the_statement(aws: Aws) -> None:
    arn = bucket(aws, "told")
    role = Role(aws, "told")
    with pytest.raises(ClientError) as error:
        role.client("s3").put_object(Bucket="told", Key="a", Body=b"")
    assert error.value.response["Error"]["Message"] == (
        f"User: {role.session_arn} is not authorized to perform: s3:PutObject on resource: {arn}/a because no "
        "identity-based policy allows the s3:PutObject action"
    )
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    missing = json.dumps({"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"{arn}/a"})
    assert f"missing in a policy of {role.arn}: {missing}" in log_of(aws)
    role.put(json.loads(missing))
    role.client("s3").put_object(Bucket="told", Key="a", Body=b"")


@pytest.mark.parametrize(
    ("service", "code", "operation", "arguments", "action", "resource"),
    [
        ("logs", "AccessDeniedException", "describe_log_groups", {}, "logs:DescribeLogGroups", ""),
        (
            "logs",
            "AccessDeniedException",
            "create_log_group",
            {"logGroupName": "g"},
            "logs:CreateLogGroup",
            ":logs:us-east-1:123456789012:log-group:g:log-stream:",
        ),
        (
            "sqs",
            "AccessDenied",
            "get_queue_url",
            {"QueueName": "none"},
            "sqs:GetQueueUrl",
            ":sqs:us-east-1:123456789012:none",
        ),
        (
            "lambda",
            "AccessDeniedException",
            "invoke",
            {"FunctionName": "none", "Qualifier": "1"},
            "lambda:InvokeFunction",
            ":lambda:us-east-1:123456789012:function:none:1",
        ),
        (
            "kafka",
            "AccessDeniedException",
            "describe_cluster",
            {"ClusterArn": "arn:aws:kafka:us-east-1:123456789012:cluster/none/1-1"},
            "kafka:DescribeCluster",
            ":kafka:us-east-1:123456789012:cluster/none/1-1",
        ),
        ("ec2", "UnauthorizedOperation", "describe_tags", {}, "ec2:DescribeTags", ""),
        (
            "sts",
            "AccessDenied",
            "assume_role",
            {"RoleArn": "arn:aws:iam::123456789012:role/none", "RoleSessionName": "me"},
            "sts:AssumeRole",
            ":iam::123456789012:role/none",
        ),
        (
            "kms",
            "AccessDeniedException",
            "generate_data_key",
            {"KeyId": "none"},
            "kms:GenerateDataKey",
            ":kms:us-east-1:123456789012:key/none",
        ),
    ],
)
def test_each_service_has_its_code(
    aws: Aws, service: str, code: str, operation: str, arguments: dict[str, Any], action: str, resource: str
) -> None:
    role = Role(aws, f"nothing-{operation.replace('_', '-')}")
    kind = "resource" if service == "kms" else "identity"
    place = f" on resource: arn:aws{resource}" if resource else ""
    reason = f"{action}{place} because no {kind}-based policy allows the {action} action"
    with denied(action, code, reason):
        getattr(role.client(service), operation)(**arguments)


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("s3", "put_bucket_versioning", {"Bucket": "b", "VersioningConfiguration": {"Status": "Enabled"}}),
        ("s3", "delete_objects", {"Bucket": "b", "Delete": {"Objects": [{"Key": "k"}]}}),
        ("dynamodb", "list_tables", {}),
        ("cloudwatch", "list_metrics", {}),
    ],
)
def test_a_call_whose_permissions_are_not_known_is_refused_by_name(
    aws: Aws, service: str, operation: str, arguments: dict[str, Any]
) -> None:
    role = Role(aws, f"unknown-{service}-{operation.replace('_', '-')}", allow("*", "*"))
    with pytest.raises(ClientError) as error:
        getattr(role.client(service), operation)(**arguments)
    told = error.value.response["Error"]
    assert told["Code"] == "NotImplemented"
    assert "".join(map(str.capitalize, operation.split("_"))) in told["Message"]


def test_managed_policies_count_and_an_explicit_denial_wins(aws: Aws) -> None:
    arn = bucket(aws, "managed")
    role = Role(aws, "managed")
    made = role.iam.create_policy(PolicyName="managed", PolicyDocument=document(allow("s3:*", f"{arn}/*")))
    role.iam.attach_role_policy(RoleName=role.name, PolicyArn=made["Policy"]["Arn"])
    role.client("s3").put_object(Bucket="managed", Key="a", Body=b"")
    role.put({**allow("s3:PutObject", f"{arn}/a"), "Effect": "Deny"})
    with denied("s3:PutObject", reason="with an explicit deny in an identity-based policy"):
        role.client("s3").put_object(Bucket="managed", Key="a", Body=b"")
    role.client("s3").put_object(Bucket="managed", Key="b", Body=b"")


def test_users_are_held_against_their_policies_too(aws: Aws) -> None:
    iam = aws.client("iam")
    iam.create_user(UserName="visitor")
    key = iam.create_access_key(UserName="visitor")["AccessKey"]
    session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")
    with denied("s3:ListAllMyBuckets"):
        session.client("s3").list_buckets()
    iam.put_user_policy(
        UserName="visitor", PolicyName="look", PolicyDocument=document(allow("s3:ListAllMyBuckets", "*"))
    )
    session.client("s3").list_buckets()


def test_credentials_of_nobody_are_refused(aws: Aws) -> None:
    session = boto3.Session("ASIAUNKNOWNUNKNOWN00", "secret", "token", region_name="us-east-1")
    for service, operation, code in (
        ("s3", "list_buckets", "InvalidAccessKeyId"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
    ):
        with pytest.raises(ClientError) as error:
            getattr(session.client(service), operation)()  # type: ignore[call-overload]
        assert error.value.response["Error"]["Code"] == code
    role = Role(aws, "gone", allow("s3:*", "*"))
    role.iam.delete_role_policy(RoleName="gone", PolicyName="own")
    role.iam.delete_role(RoleName="gone")
    with pytest.raises(ClientError, match="does not exist any more"):
        role.client("s3").list_buckets()


def test_a_presigned_request_is_its_signer_s(aws: Aws) -> None:
    arn = bucket(aws, "signed")
    aws.client("s3").put_object(Bucket="signed", Key="a", Body=b"secret")
    role = Role(aws, "signer")
    # Signed with Signature Version 4, as a role's requests are everywhere today.
    s3 = role.session.client("s3", config=Config(signature_version="s3v4"))
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "signed", "Key": "a"})
    assert urllib3.request("GET", url, retries=False).status == 403
    role.put(allow("s3:GetObject", f"{arn}/a"))
    assert urllib3.request("GET", url, retries=False).data == b"secret"


def test_who_may_not_list_is_not_told_what_is_missing(aws: Aws) -> None:
    arn = bucket(aws, "unlisted")
    role = Role(aws, "unlisted", allow("s3:GetObject", f"{arn}/*"))
    with denied("s3:ListBucket"):
        role.client("s3").get_object(Bucket="unlisted", Key="none")
    role.put(allow("s3:GetObject", f"{arn}/*"), allow("s3:ListBucket", arn))
    with pytest.raises(ClientError, match="NoSuchKey"):
        role.client("s3").get_object(Bucket="unlisted", Key="none")


def test_a_copy_needs_the_right_to_read(aws: Aws) -> None:
    arn = bucket(aws, "copies")
    aws.client("s3").put_object(Bucket="copies", Key="from/a b", Body=b"x")
    role = Role(aws, "copier", allow("s3:PutObject", f"{arn}/to/*"))
    request = {"Bucket": "copies", "Key": "to/a", "CopySource": {"Bucket": "copies", "Key": "from/a b"}}
    with denied("s3:GetObject"):
        role.client("s3").copy_object(**request)
    role.put(allow("s3:PutObject", f"{arn}/to/*"), allow("s3:GetObject", f"{arn}/from/*"))
    role.client("s3").copy_object(**request)


# Policies of resources


@pytest.mark.parametrize(
    ("name", "parts", "passes"),
    [
        ("tls", {"Condition": {"Bool": {"aws:SecureTransport": "false"}}}, True),
        ("plain", {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, False),
        ("account", {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}, False),
        ("role", {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/denied-role"}}, False),
        ("other", {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/somebody"}}, True),
        ("service", {"Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}}}, True),
        ("unencrypted", {"Condition": {"Null": {"s3:x-amz-server-side-encryption": "true"}}}, False),
    ],
)
def test_a_bucket_s_denial(aws: Aws, name: str, parts: dict[str, Any], passes: bool) -> None:
    arn = f"arn:aws:s3:::denied-{name}"
    role = Role(aws, f"denied-{name}", allow("s3:PutObject", f"{arn}/*"))
    bucket(
        aws, f"denied-{name}", {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"{arn}/*"} | parts
    )
    if passes:
        role.client("s3").put_object(Bucket=f"denied-{name}", Key="a", Body=b"")
        return
    with denied("s3:PutObject", reason="with an explicit deny in a resource-based policy"):
        role.client("s3").put_object(Bucket=f"denied-{name}", Key="a", Body=b"")
    assert "it is forbidden by" in log_of(aws)


def test_a_bucket_s_policy_may_let_a_role_in_alone(aws: Aws) -> None:
    role = Role(aws, "guest")
    arn = "arn:aws:s3:::open"
    bucket(aws, "open", allow("s3:PutObject", f"{arn}/*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))
    with denied("s3:PutObject"):  # The account leaves it to its own policies.
        role.client("s3").put_object(Bucket="open", Key="a", Body=b"")
    named = allow("s3:PutObject", f"{arn}/*", Principal={"AWS": role.arn})
    aws.client("s3").put_bucket_policy(Bucket="open", Policy=document(named))
    role.client("s3").put_object(Bucket="open", Key="a", Body=b"")


@pytest.mark.parametrize(
    ("condition", "named"),
    [
        ({"DateLessThan": {"aws:CurrentTime": "2030-01-01"}}, "DateLessThan"),
        ({"StringEquals": {"aws:PrincipalTag/team": "x"}}, "aws:PrincipalTag/team"),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": "x"}}, "ForAnyValue:StringEquals"),
    ],
)
def test_a_condition_that_cannot_be_decided_is_refused_loudly(
    aws: Aws, condition: dict[str, Any], named: str
) -> None:
    role = Role(aws, f"conditional-{named[:8].strip(':')}", allow("s3:*", "*", Condition=condition))
    with pytest.raises(ClientError) as error:
        role.client("s3").list_buckets()
    told = error.value.response["Error"]
    assert (told["Code"], named in told["Message"]) == ("NotImplemented", True)


@pytest.mark.parametrize(("bucket_key", "bound_to"), [(True, ""), (False, "/a")])
def test_encrypted_objects_need_the_key(aws: Aws, bucket_key: bool, bound_to: str) -> None:
    name = f"encrypted-{bucket_key}".lower()
    arn, key = encrypted(aws, name, bucket_key=bucket_key)
    objects = allow(["s3:PutObject", "s3:GetObject"], f"{arn}/*")
    role = Role(aws, name, objects)
    with denied("kms:GenerateDataKey"):
        role.client("s3").put_object(Bucket=name, Key="a", Body=b"x")
    through = {"kms:ViaService": "s3.us-east-1.amazonaws.com"}
    bound = {"kms:EncryptionContext:aws:s3:arn": f"{arn}{bound_to}"}
    use = allow("kms:GenerateDataKey", key, Condition={"StringEquals": through | bound})
    role.put(objects, use)
    role.client("s3").put_object(Bucket=name, Key="a", Body=b"x")
    with denied("kms:Decrypt"):
        role.client("s3").get_object(Bucket=name, Key="a")
    with denied("kms:GenerateDataKey", "AccessDeniedException"):  # Not through S3.
        role.client("kms").generate_data_key(KeyId=key, KeySpec="AES_256")
    role.put(objects, use, allow("kms:Decrypt", key))
    assert role.client("s3").get_object(Bucket=name, Key="a")["Body"].read() == b"x"


def test_an_upload_in_parts_needs_the_key_twice(aws: Aws) -> None:
    arn, key = encrypted(aws, "parts")
    role = Role(aws, "parts", allow("s3:PutObject", f"{arn}/*"), allow("kms:GenerateDataKey", key))
    s3 = role.client("s3")
    upload = s3.create_multipart_upload(Bucket="parts", Key="a")["UploadId"]
    with denied("kms:Decrypt"):
        s3.upload_part(Bucket="parts", Key="a", UploadId=upload, PartNumber=1, Body=b"x")
    with denied("s3:AbortMultipartUpload"):
        s3.abort_multipart_upload(Bucket="parts", Key="a", UploadId=upload)
    role.put(
        allow(["s3:PutObject", "s3:AbortMultipartUpload"], f"{arn}/*"),
        allow(["kms:GenerateDataKey", "kms:Decrypt"], key),
    )
    s3.upload_part(Bucket="parts", Key="a", UploadId=upload, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(Bucket="parts", Key="a", UploadId=upload)


def test_a_key_without_the_delegation_is_closed_to_who_it_does_not_name(aws: Aws) -> None:
    role = Role(aws, "keyless")
    admin = allow("kms:*", "*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/administrator"})
    arn, key = encrypted(aws, "closed", policy=document(admin))
    role.put(allow("s3:PutObject", f"{arn}/*"), allow("kms:*", "*"))
    reason = "because no resource-based policy allows the kms:GenerateDataKey action"
    with denied("kms:GenerateDataKey", reason=reason):
        role.client("s3").put_object(Bucket="closed", Key="a", Body=b"")
    missing = {"Effect": "Allow", "Action": "kms:GenerateDataKey", "Resource": "*", "Principal": {"AWS": role.arn}}
    assert f"missing in the policy of {key}: {json.dumps(missing)}" in log_of(aws)
    aws.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=document(admin, missing))
    role.put(allow("s3:PutObject", f"{arn}/*"))
    role.client("s3").put_object(Bucket="closed", Key="a", Body=b"")


def test_a_queue_s_denial(aws: Aws) -> None:
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName="denied")["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:denied"
    role = Role(aws, "sender", allow("sqs:SendMessage", arn))
    tls = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": arn}
    for transport, passes in (("false", True), ("true", False)):
        policy = document({**tls, "Condition": {"Bool": {"aws:SecureTransport": transport}}})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        if passes:
            role.client("sqs").send_message(QueueUrl=url, MessageBody="x")
        else:
            with denied("sqs:SendMessage", reason="with an explicit deny in a resource-based policy"):
                role.client("sqs").send_message(QueueUrl=url, MessageBody="x")
    with denied("sqs:ReceiveMessage", reason="with an explicit deny in a resource-based policy"):
        role.client("sqs").receive_message(QueueUrl=url)


# What the program's principals really call


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
