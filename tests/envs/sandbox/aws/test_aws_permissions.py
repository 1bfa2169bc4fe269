"""A deployed principal may do what its policies say and nothing else, and a refusal names what is missing."""

import json
from typing import Any

import boto3
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.permission_stage import Role, allow, bucket, denied, document, log_of

pytestmark = pytest.mark.usefixtures("inside")


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
