"""Roles in the hands of services, and what they are refused."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from envs.sandbox.aws import sts_client
from tests.envs.sandbox.aws.emulated import Aws

ACCOUNT = "123456789012"
Statement = dict[str, Any]


def document(*statements: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str | list[str], resource: str | list[str], **more: Any) -> Statement:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


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
