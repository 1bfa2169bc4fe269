"""Who somebody is: identities, assumed roles, and the token with which Kafka clients sign in."""

import json
from typing import Any

import boto3
import pytest
import urllib3
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from botocore.credentials import CredentialProvider, Credentials
from botocore.exceptions import ClientError

from envs.sandbox import account
from envs.sandbox.aws import sts_client
from tests.envs.sandbox.aws.emulated import Aws

pytestmark = pytest.mark.xdist_group("aws-sts")  # one AWS process for all of them


def role(aws: Aws, name: str, principal: Any, **condition: Any) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"} | condition
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]


@pytest.fixture
def inside(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """This process as one of the sandbox's."""
    for name, value in account.environment(aws.state_dir).items():
        monkeypatch.setenv(name, value)
    return aws


def token(credentials: Any, region: str = "us-east-1") -> str:
    class Fixed(CredentialProvider):
        METHOD = "fixed"

        def load(self) -> Any:
            return credentials

    return MSKAuthTokenProvider.generate_auth_token_from_credentials_provider(region, Fixed())[0]


def principal(aws: Aws, value: str) -> tuple[int, dict[str, Any]]:
    url = f"{aws.account.endpoint}/fleetstream/kafka/principal"
    answer = urllib3.request("GET", url, fields={"token": value}, timeout=30)
    return answer.status, answer.json()


def test_the_account_s_key_is_its_administrator(aws: Aws) -> None:
    identity = aws.client("sts").get_caller_identity()
    assert (identity["Account"], identity["Arn"]) == (
        "123456789012",
        "arn:aws:iam::123456789012:user/administrator",
    )


def test_a_service_takes_on_a_role_that_trusts_it(inside: Aws) -> None:
    arn = role(inside, "trusting", {"Service": ["lambda.amazonaws.com", "firehose.amazonaws.com"]})
    session = sts_client.service_session(arn, "firehose.amazonaws.com")
    identity = session.client("sts").get_caller_identity()
    assert identity["Arn"] == "arn:aws:sts::123456789012:assumed-role/trusting/firehose"
    credentials = session.get_credentials()
    assert credentials is not None
    assert credentials.access_key.startswith("ASIA")
    status, answer = principal(inside, token(credentials.get_frozen_credentials()))
    assert (status, answer["principal"]) == (200, identity["Arn"])


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"StringEquals": {"aws:SourceAccount": "123456789012"}}, True),
        ({"StringEquals": {"aws:SourceAccount": "210987654321"}}, False),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:firehose:*:123456789012:deliverystream/*"}}, True),
        ({"StringEquals": {"sts:ExternalId": "123456789012"}}, True),
        ({"StringEquals": {"aws:PrincipalTag/team": "x"}}, False),
    ],
)
def test_conditions_of_a_trust_policy_count(inside: Aws, condition: dict[str, Any], holds: bool) -> None:
    arn = role(
        inside, f"conditional-{abs(hash(str(condition)))}", {"Service": "firehose.amazonaws.com"}, Condition=condition
    )
    if holds:
        assert sts_client.assume(arn, "firehose.amazonaws.com")["Arn"].endswith("/firehose")
    else:
        with pytest.raises(sts_client.AssumeRoleError, match="its trust policy does not allow"):
            sts_client.assume(arn, "firehose.amazonaws.com")


def test_a_service_cannot_take_on_just_any_role(inside: Aws) -> None:
    arn = role(inside, "for-lambda", {"Service": "lambda.amazonaws.com"})
    with pytest.raises(sts_client.AssumeRoleError, match=f"firehose.amazonaws.com cannot assume {arn}: its trust"):
        sts_client.service_session(arn, "firehose.amazonaws.com")
    with pytest.raises(sts_client.AssumeRoleError, match="there is no such role"):
        sts_client.assume("arn:aws:iam::123456789012:role/nobody", "firehose.amazonaws.com")


def test_outside_a_sandbox_a_service_role_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with pytest.raises(sts_client.AssumeRoleError, match="AWS_ENDPOINT_URL is not set"):
        sts_client.assume("arn", "firehose.amazonaws.com")


def test_people_assume_roles_that_trust_their_account_only(aws: Aws) -> None:
    sts = aws.client("sts")
    arn = role(aws, "for-people", {"AWS": "arn:aws:iam::123456789012:root"})
    assert sts.assume_role(RoleArn=arn, RoleSessionName="me")["AssumedRoleUser"]["Arn"].endswith("for-people/me")
    for refused in (role(aws, "for-a-service", {"Service": "ec2.amazonaws.com"}), arn + "-not"):
        with pytest.raises(ClientError, match="is not authorized to perform: sts:AssumeRole") as error:
            sts.assume_role(RoleArn=refused, RoleSessionName="me")
        assert error.value.response["Error"]["Code"] == "AccessDenied"


def test_a_token_names_its_signer(aws: Aws) -> None:
    owner = Credentials(aws.account.access_key, aws.account.secret_key)
    status, answer = principal(aws, token(owner))
    assert (status, answer["principal"]) == (200, "arn:aws:iam::123456789012:user/administrator")
    assert answer["expires_ms"] > 0

    iam = aws.client("iam")
    iam.create_user(UserName="tester")
    key = iam.create_access_key(UserName="tester")["AccessKey"]
    person = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    assert principal(aws, token(person))[1]["principal"] == "arn:aws:iam::123456789012:user/tester"
    iam.update_access_key(UserName="tester", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert principal(aws, token(person))[0] == 403


def test_a_token_of_nobody_is_refused(aws: Aws) -> None:
    wrong_secret = Credentials(aws.account.access_key, "not the secret")
    unknown_key = Credentials("AKIAUNKNOWNUNKNOWN00", aws.account.secret_key)
    for value, said in (
        (token(wrong_secret), "signature does not match"),
        (token(unknown_key), "nobody owns the access key"),
        (
            token(Credentials(aws.account.access_key, aws.account.secret_key), "eu-west-1"),
            "not for https://kafka.us-east-1",
        ),
        ("rubbish", "base64url"),
    ):
        status, answer = principal(aws, value)
        assert status == 403
        assert said in answer["error"]
    assert principal(aws, "")[0] == 400


def test_an_s3_object_may_have_the_name_of_a_route(aws: Aws) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="fleetstream")
    s3.put_object(Bucket="fleetstream", Key="kafka/principal", Body=b"mine")
    assert s3.get_object(Bucket="fleetstream", Key="kafka/principal")["Body"].read() == b"mine"


def test_an_assumed_session_is_a_boto3_session(inside: Aws) -> None:
    arn = role(inside, "plain", {"Service": "firehose.amazonaws.com"})
    assert isinstance(sts_client.service_session(arn, "firehose.amazonaws.com"), boto3.Session)
