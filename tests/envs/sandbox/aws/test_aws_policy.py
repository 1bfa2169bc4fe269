"""The evaluation of IAM policies, case by case."""

from typing import Any

import pytest

from envs.sandbox.aws import policy
from envs.sandbox.aws.policy import Call, PolicyError

FIREHOSE = Call("kafka:CreateVpcConnection", service="firehose.amazonaws.com", context={"aws:SourceAccount": "1"})


def statement(effect: str = "Allow", **parts: Any) -> dict[str, Any]:
    given = {"Principal": {"Service": "firehose.amazonaws.com"}, "Action": "kafka:CreateVpcConnection"}
    return {"Effect": effect} | given | parts


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([statement()], True),
        ([statement(Action="kafka:*")], True),
        ([statement(Action=["kafka:Get*", "kafka:Create?pcConnection"])], True),
        ([statement(Action="KAFKA:createvpcconnection")], True),
        ([statement(Action="kafka:[C]reateVpcConnection")], False),
        ([statement(Principal="*")], True),
        ([statement(Principal={"AWS": "*"})], False),
        ([statement(Principal={"Service": "lambda.amazonaws.com"})], False),
        ([statement(), statement("Deny")], False),
        ([statement("Deny")], False),
        ([{**statement(), "NotAction": "kafka:Delete*"}], True),
        ([{**statement(), "NotAction": "kafka:*"}], False),
        ([statement(Condition={"StringEquals": {"AWS:sourceaccount": ["2", "1"]}})], True),
        ([statement(Condition={"StringNotEquals": {"aws:SourceAccount": "1"}})], False),
        ([statement(Condition={"StringEqualsIfExists": {"aws:SourceVpc": "x"}})], True),
        ([statement(Condition={"StringEquals": {"aws:SourceVpc": "x"}})], False),
    ],
)
def test_who_is_allowed(statements: list[dict[str, Any]], allowed: bool) -> None:
    for each in statements:
        if "NotAction" in each:
            each.pop("Action")
    assert policy.allows({"Statement": statements}, FIREHOSE) is allowed


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "not JSON"),
        ("{}", "no Statement"),
        ('{"Statement": []}', "no Statement"),
        ('{"Statement": {"Effect": "Perhaps"}}', "not Allow or Deny"),
        ({"Statement": [{**statement(), "NotPrincipal": "*"}]}, "NotPrincipal"),
        ({"Statement": [statement(Condition={"DateLessThan": {"aws:CurrentTime": "x"}})]}, "DateLessThan"),
    ],
)
def test_what_is_no_policy_is_told(document: Any, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        policy.allows(document, FIREHOSE)


QUEUE = "arn:aws:sqs:us-east-1:1:dead"


@pytest.mark.parametrize(
    ("parts", "permitted"),
    [
        ({"Action": "sqs:SendMessage", "Resource": QUEUE}, True),
        ({"Action": "sqs:*", "Resource": ["arn:aws:sqs:*:1:*"]}, True),
        ({"Action": "sqs:SendMessage", "Resource": QUEUE + "-other"}, False),
        ({"Action": "sqs:ReceiveMessage", "Resource": "*"}, False),
        ({"Action": "sqs:SendMessage", "NotResource": QUEUE}, False),
        ({"Action": "sqs:SendMessage"}, False),
    ],
)
def test_what_a_role_may_do(parts: dict[str, Any], permitted: bool) -> None:
    document = {"Statement": [{"Effect": "Allow"} | parts]}
    assert policy.permits([document], "sqs:SendMessage", QUEUE) is permitted
    denied = {"Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    assert policy.permits([document, denied], "sqs:SendMessage", QUEUE) is False
    assert policy.permits([], "sqs:SendMessage", QUEUE) is False


@pytest.mark.parametrize(
    ("parts", "denied"),
    [
        ({}, True),
        ({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, True),
        ({"Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}}, False),
        ({"Condition": {"NumericLessThan": {"s3:TlsVersion": "1.2"}}}, False),
        ({"Principal": {"AWS": "arn:aws:iam::1:role/x"}}, False),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Resource": "arn:aws:s3:::other/*"}, False),
    ],
)
def test_a_denial_for_everybody_is_met_surely_or_not_at_all(parts: dict[str, Any], denied: bool) -> None:
    given = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*"} | parts
    context = {"aws:SecureTransport": "true"}
    assert policy.denies_everybody(given, "s3:PutObject", "arn:aws:s3:::b/key", context) is denied
