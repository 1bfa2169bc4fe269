"""Buckets, keys, log groups, queues and roles, as the provider makes and reads them."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from envs.sandbox.aws import inventory
from tests.envs.sandbox.aws.emulated import Aws

pytestmark = pytest.mark.xdist_group("aws-storage")  # one AWS process for all of them

ACCOUNT = "123456789012"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def key(aws: Aws, *more: dict[str, Any]) -> str:
    owner = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    return aws.client("kms").create_key(Policy=document(owner, *more), Description="d")["KeyMetadata"]["Arn"]


@pytest.fixture
def bucket(aws: Aws, request: pytest.FixtureRequest) -> str:
    name = f"b-{abs(hash(request.node.name))}"
    aws.client("s3").create_bucket(Bucket=name)
    return name


def test_a_new_bucket_is_closed_and_encrypted(aws: Aws, bucket: str) -> None:
    s3 = aws.client("s3")
    assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    owner = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert owner == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    sse_s3 = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"] == sse_s3
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)

    own = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key(aws)}
    rules = [{"ApplyServerSideEncryptionByDefault": own, "BucketKeyEnabled": True}]
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"] == rules
    s3.delete_bucket_encryption(Bucket=bucket)
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"] == sse_s3
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"


def test_lifecycle_rules_keep_every_field(aws: Aws, bucket: str) -> None:
    s3 = aws.client("s3")
    rules = [
        {
            "ID": "archive",
            "Status": "Enabled",
            "Filter": {"Prefix": "telemetry/"},
            "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 90, "StorageClass": "GLACIER_IR"}],
            "Expiration": {"Days": 365},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 30, "NewerNoncurrentVersions": 2},
            "NoncurrentVersionTransitions": [{"NoncurrentDays": 7, "StorageClass": "GLACIER_IR"}],
        },
        {
            "ID": "uploads",
            "Status": "Enabled",
            "Filter": {},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        },
        {
            "ID": "tagged",
            "Status": "Disabled",
            "Filter": {"And": {"Prefix": "x/", "Tags": [{"Key": "a", "Value": "b"}]}},
            "Expiration": {"ExpiredObjectDeleteMarker": True},
        },
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules


def test_a_policy_that_demands_tls_is_kept_and_met(aws: Aws, bucket: str) -> None:
    s3 = aws.client("s3")
    arn = f"arn:aws:s3:::{bucket}"
    tls = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=document(tls))
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"] == [tls]
    s3.put_object(Bucket=bucket, Key="k", Body=b"v")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"v"
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        s3.delete_bucket(Bucket=bucket)

    closed = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"{arn}/closed/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=document(tls, closed))
    with pytest.raises(ClientError, match="Forbidden"):
        s3.put_object(Bucket=bucket, Key="closed/k", Body=b"v")


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ("{", "MalformedPolicy"),
        ("{}", "MalformedPolicy"),
        (document({"Effect": "Allow", "Action": "s3:*", "Resource": "BUCKET/*"}), "MalformedPolicy"),
        (document({"Effect": "Allow", "Principal": "*", "Resource": "BUCKET"}), "MalformedPolicy"),
        (
            document({"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::other"}),
            "MalformedPolicy",
        ),
        (
            document({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "BUCKET/*"}),
            "AccessDenied",
        ),
    ],
)
def test_a_bucket_policy_with_a_mistake_is_refused(aws: Aws, bucket: str, policy: str, code: str) -> None:
    s3 = aws.client("s3")
    with pytest.raises(ClientError) as error:
        s3.put_bucket_policy(Bucket=bucket, Policy=policy.replace("BUCKET", f"arn:aws:s3:::{bucket}"))
    assert error.value.response["Error"]["Code"] == code


def test_acls_are_off(aws: Aws, bucket: str) -> None:
    s3 = aws.client("s3")
    with pytest.raises(ClientError, match="AccessControlListNotSupported"):
        s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    with pytest.raises(ClientError, match="InvalidBucketAclWithObjectOwnership"):
        s3.create_bucket(Bucket="with-an-acl", ACL="public-read")
    assert "with-an-acl" not in {each["Name"] for each in s3.list_buckets()["Buckets"]}


def test_a_key_remembers_its_rotation(aws: Aws) -> None:
    kms = aws.client("kms")
    arn = key(aws)
    assert kms.get_key_rotation_status(KeyId=arn)["KeyRotationEnabled"] is False
    kms.enable_key_rotation(KeyId=arn)
    assert kms.get_key_rotation_status(KeyId=arn)["RotationPeriodInDays"] == 365
    kms.enable_key_rotation(KeyId=arn, RotationPeriodInDays=180)
    assert kms.get_key_rotation_status(KeyId=arn)["RotationPeriodInDays"] == 180
    with pytest.raises(ClientError, match="value from 90 to 2560"):
        kms.enable_key_rotation(KeyId=arn, RotationPeriodInDays=3000)
    kms.create_alias(AliasName="alias/fleet", TargetKeyId=arn)
    listed = inventory.inventory(aws.session)
    assert "kms alias alias/fleet" in listed
    assert f"kms key {arn.rpartition('/')[2]}" in listed
    kms.delete_alias(AliasName="alias/fleet")
    kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
    listed = inventory.inventory(aws.session)
    assert not [each for each in listed if "alias/fleet" in each or arn.rpartition("/")[2] in each]


def test_a_log_group_is_encrypted_only_with_a_key_that_lets_the_service_in(aws: Aws) -> None:
    logs = aws.client("logs")
    group = "/fleet/delivery"
    arn = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{group}"
    service = {
        "Effect": "Allow",
        "Principal": {"Service": "logs.us-east-1.amazonaws.com"},
        "Action": ["kms:Encrypt*", "kms:Decrypt*", "kms:GenerateDataKey*"],
        "Resource": "*",
        "Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": f"{arn.rpartition('/')[0]}/*"}},
    }
    for refused in (key(aws), f"arn:aws:kms:us-east-1:{ACCOUNT}:key/none"):
        with pytest.raises(ClientError, match="is not allowed to be used with LogGroup"):
            logs.create_log_group(logGroupName=group, kmsKeyId=refused)
    fitting = key(aws, service)
    logs.create_log_group(logGroupName=group, kmsKeyId=fitting, tags={"fleet": "test"})
    logs.put_retention_policy(logGroupName=group, retentionInDays=30)
    with pytest.raises(ClientError, match="enum value set"):
        logs.put_retention_policy(logGroupName=group, retentionInDays=31)
    logs.create_log_stream(logGroupName=group, logStreamName="s3")
    told = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    assert (told["kmsKeyId"], told["retentionInDays"], told["logGroupClass"]) == (fitting, 30, "STANDARD")
    assert told["logGroupArn"] == arn
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"fleet": "test"}
    logs.disassociate_kms_key(logGroupName=group)
    assert "kmsKeyId" not in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    logs.associate_kms_key(logGroupName=group, kmsKeyId=fitting)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["kmsKeyId"] == fitting


def test_a_queue_and_its_policy_are_read_back(aws: Aws) -> None:
    sqs = aws.client("sqs")
    attributes = {
        "MessageRetentionPeriod": "1209600",
        "VisibilityTimeout": "60",
        "SqsManagedSseEnabled": "true",
        "Policy": document(
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": "*",
            }
        ),
    }
    url = sqs.create_queue(QueueName="dead", Attributes=attributes, tags={"fleet": "test"})["QueueUrl"]
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert {name: told[name] for name in attributes} == attributes
    assert told["QueueArn"] == f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead"
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"fleet": "test"}


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ({"Effect": "Allow", "Action": "sts:AssumeRole"}, "Missing required field Principal"),
        (
            {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole", "Resource": "*"},
            "prohibited field Resource",
        ),
        ({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}, "only specify STS AssumeRole actions"),
        ({"Effect": "Sometimes"}, "not Allow or Deny"),
    ],
)
def test_a_trust_policy_with_a_mistake_is_refused(aws: Aws, statement: dict[str, Any], said: str) -> None:
    iam = aws.client("iam")
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException, match=said):
        iam.create_role(RoleName="odd", AssumeRolePolicyDocument=document(statement))


def test_a_role_and_its_policy_are_read_back(aws: Aws) -> None:
    iam = aws.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.create_role(
        RoleName="worker", AssumeRolePolicyDocument=document(trust), MaxSessionDuration=7200, Description="d"
    )
    inline = document({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    iam.put_role_policy(RoleName="worker", PolicyName="p", PolicyDocument=inline)
    told = iam.get_role(RoleName="worker")["Role"]
    assert (told["MaxSessionDuration"], told["Description"], told["Path"]) == (7200, "d", "/")
    assert told["AssumeRolePolicyDocument"]["Statement"] == [trust]
    assert iam.get_role_policy(RoleName="worker", PolicyName="p")["PolicyDocument"] == json.loads(inline)
    with pytest.raises(ClientError, match="must delete policies first"):
        iam.delete_role(RoleName="worker")
