"""Policies of buckets, keys and queues decide with those of who calls."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.permission_stage import ACCOUNT, Role, allow, bucket, denied, document, encrypted, log_of

pytestmark = pytest.mark.usefixtures("inside")


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
        ({"ForAnyValue:StringEquals": {"aws:PrincipalOrgPaths": "x"}}, "ForAnyValue:StringEquals"),
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
