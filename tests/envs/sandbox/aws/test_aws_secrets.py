"""Secrets: values come later, keys and policies decide who reads them, and a deleted one keeps its name a while."""

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.function_stage import ACCOUNT, allow, document

pytestmark = pytest.mark.xdist_group("aws-secrets")  # one AWS process for all of them

NO_VALUE = "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT"


@pytest.fixture(scope="module")
def secrets(aws: Aws) -> Any:
    return aws.client("secretsmanager")


def reader(aws: Aws, name: str, *statements: dict[str, Any]) -> Any:
    """Secrets Manager in the hands of a role."""
    iam = aws.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
    keys = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="reader")["Credentials"]
    session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], "us-east-1")
    return session.client("secretsmanager", endpoint_url=aws.account.endpoint)


def test_a_value_comes_after_the_secret(secrets: Any) -> None:
    made = secrets.create_secret(Name="later", Description="one")
    assert "VersionId" not in made
    with pytest.raises(secrets.exceptions.ResourceNotFoundException) as error:
        secrets.get_secret_value(SecretId="later")
    assert error.value.response["Error"]["Message"] == NO_VALUE
    secrets.put_secret_value(SecretId=made["ARN"], SecretString='{"username": "a"}')
    assert json.loads(secrets.get_secret_value(SecretId="later")["SecretString"]) == {"username": "a"}
    secrets.put_secret_value(SecretId="later", SecretBinary=b"\x00pfx")
    told = secrets.get_secret_value(SecretId="later")
    assert (told["SecretBinary"], "SecretString" in told, told["VersionStages"]) == (
        b"\x00pfx",
        False,
        ["AWSCURRENT"],
    )
    assert "username" in secrets.get_secret_value(SecretId="later", VersionStage="AWSPREVIOUS")["SecretString"]
    secrets.update_secret(SecretId="later", Description="")
    assert "Description" not in secrets.describe_secret(SecretId="later")
    with pytest.raises(ClientError, match="length less than or equal to 65536"):
        secrets.put_secret_value(SecretId="later", SecretString="x" * 65537)


def test_a_deleted_secret_is_out_of_use_and_can_be_restored(secrets: Any) -> None:
    secrets.create_secret(Name="ended", SecretString="v")
    secrets.delete_secret(SecretId="ended", RecoveryWindowInDays=7)
    for call in (
        lambda: secrets.get_secret_value(SecretId="ended"),
        lambda: secrets.put_secret_value(SecretId="ended", SecretString="w"),
        lambda: secrets.update_secret(SecretId="ended", Description="w"),
    ):
        with pytest.raises(secrets.exceptions.InvalidRequestException, match="marked for deletion"):
            call()
    with pytest.raises(secrets.exceptions.InvalidRequestException, match="already scheduled for deletion"):
        secrets.create_secret(Name="ended")
    assert "ended" not in {each["Name"] for each in secrets.list_secrets()["SecretList"]}, "it is not left over"
    assert secrets.describe_secret(SecretId="ended")["DeletedDate"]
    secrets.restore_secret(SecretId="ended")
    assert secrets.get_secret_value(SecretId="ended")["SecretString"] == "v"


def test_a_role_needs_the_secret_and_its_key(aws: Aws, secrets: Any) -> None:
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    arn = secrets.create_secret(Name="sealed", SecretString="v", KmsKeyId=key)["ARN"]
    reading = allow("secretsmanager:GetSecretValue", arn)
    with pytest.raises(ClientError, match="not authorized to perform: secretsmanager:GetSecretValue"):
        reader(aws, "stranger").get_secret_value(SecretId="sealed")
    with pytest.raises(ClientError, match=f"not authorized to perform: kms:Decrypt on resource: {key}"):
        reader(aws, "keyless", reading).get_secret_value(SecretId="sealed")
    through = {"StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"}}
    full = reader(aws, "full", reading, allow("kms:Decrypt", key) | {"Condition": through})
    assert full.get_secret_value(SecretId="sealed")["SecretString"] == "v"
    with pytest.raises(ClientError, match="secretsmanager:PutSecretValue"):
        full.put_secret_value(SecretId="sealed", SecretString="w")


def test_a_secrets_policy_lets_a_role_in_and_keeps_one_out(aws: Aws, secrets: Any) -> None:
    secrets.create_secret(Name="shared", SecretString="v")
    welcome, banned = reader(aws, "welcome"), reader(aws, "banned", allow("secretsmanager:GetSecretValue"))
    statements = [
        allow("secretsmanager:GetSecretValue")
        | {"Effect": effect, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/{role}"}}
        for effect, role in (("Allow", "welcome"), ("Deny", "banned"))
    ]
    secrets.put_resource_policy(SecretId="shared", ResourcePolicy=document(*statements))
    assert welcome.get_secret_value(SecretId="shared")["SecretString"] == "v"
    with pytest.raises(ClientError, match="explicit deny in a resource-based policy"):
        banned.get_secret_value(SecretId="shared")
    for wrong in ("no json", document(allow("secretsmanager:GetSecretValue"))):
        with pytest.raises(secrets.exceptions.MalformedPolicyDocumentException):
            secrets.put_resource_policy(SecretId="shared", ResourcePolicy=wrong)
