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


ROOT = "arn:aws:iam::1:root"
ROLE = "arn:aws:iam::1:role/x"
SESSION = "arn:aws:sts::1:assumed-role/x/lambda"
KEY = "arn:aws:kms:us-east-1:1:key/k"
SENDS = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": QUEUE}


def send(action: str = "sqs:SendMessage", **context: str) -> Call:
    known = frozenset({"aws:sourcearn", "kms:encryptioncontext:*"})
    return Call(action, arn=SESSION, role=ROLE, account="1", context=context, known=known)


def attached(principal: Any = "*", effect: str = "Allow", **parts: Any) -> dict[str, Any]:
    return {"Statement": {**SENDS, "Effect": effect, "Principal": principal} | parts}


@pytest.mark.parametrize(
    ("own", "theirs", "reason"),
    [
        ([SENDS], None, None),
        ([], None, "because no identity-based policy allows the sqs:SendMessage action"),
        ([SENDS, SENDS | {"Effect": "Deny"}], None, "with an explicit deny in an identity-based policy"),
        ([SENDS], attached(effect="Deny"), "with an explicit deny in a resource-based policy"),
        ([SENDS], attached({"AWS": ROOT}, "Deny"), "with an explicit deny in a resource-based policy"),
        ([SENDS], attached({"AWS": ROLE + "2"}, "Deny"), None),
        ([SENDS], attached({"Service": "lambda.amazonaws.com"}, "Deny"), None),
        ([SENDS], attached(effect="Deny", Resource=QUEUE + "-other"), None),
        ([], attached({"AWS": ROLE}), None),
        ([], attached({"AWS": SESSION}), None),
        ([], attached({"AWS": ROOT}), "because no identity-based policy allows the sqs:SendMessage action"),
        ([], attached({"AWS": "1"}), "because no identity-based policy allows the sqs:SendMessage action"),
        ([SENDS], attached({"AWS": ROOT}), None),
        ([SENDS | {"Resource": QUEUE.upper()}], None, "because no identity-based policy allows the sqs:SendMessage"),
        ([SENDS | {"Action": "SQS:sendmessage"}], None, None),
    ],
)
def test_a_role_on_a_resource_of_its_account(own: list[Any], theirs: Any, reason: str | None) -> None:
    refusal = policy.decide(send(), QUEUE, [{"Statement": each} for each in own], theirs)
    assert (refusal is None) if reason is None else (refusal is not None and refusal.reason.startswith(reason))


def test_what_is_missing_and_what_forbids_is_told() -> None:
    missing = policy.decide(send(), QUEUE, [])
    assert missing == policy.Refusal(
        "because no identity-based policy allows the sqs:SendMessage action", SENDS, forbidden=False
    )
    forbidding = policy.decide(send(), QUEUE, [{"Statement": SENDS | {"Effect": "Deny"}}])
    assert forbidding is not None
    assert (forbidding.statement["Effect"], forbidding.forbidden) == ("Deny", True)


@pytest.mark.parametrize(
    ("principal", "own", "passes"),
    [
        ({"AWS": ROOT}, True, True),
        ({"AWS": ROOT}, False, False),
        ({"AWS": ROLE}, False, True),
        ({"AWS": ROLE + "2"}, True, False),
        ({"Service": "logs.amazonaws.com"}, True, False),
    ],
)
def test_a_key_s_policy_comes_first(principal: Any, own: bool, passes: bool) -> None:
    theirs = {"Statement": {"Effect": "Allow", "Principal": principal, "Action": "kms:*", "Resource": "*"}}
    mine = [{"Statement": {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": KEY}}] if own else []
    refusal = policy.decide(send("kms:Decrypt"), KEY, mine, theirs, key=True)
    assert (refusal is None) is passes
    if refusal is not None and principal != {"AWS": ROOT}:
        assert refusal.reason == "because no resource-based policy allows the kms:Decrypt action"
        assert refusal.statement["Principal"] == {"AWS": ROLE}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"StringEquals": {"kms:ViaService": "s3.amazonaws.com"}}, True),
        ({"StringEquals": {"kms:ViaService": "S3.amazonaws.com"}}, False),
        ({"StringEqualsIgnoreCase": {"kms:ViaService": "S3.amazonaws.com"}}, True),
        ({"StringLike": {"kms:ViaService": "s3.*.com"}}, True),
        ({"StringNotLike": {"kms:ViaService": "s3.*.com"}}, False),
        ({"StringEquals": {"kms:EncryptionContext:aws:s3:arn": "x"}}, False),
        ({"StringNotEquals": {"kms:EncryptionContext:aws:s3:arn": "x"}}, True),
        ({"Null": {"aws:SourceArn": "true"}}, True),
        ({"Null": {"kms:ViaService": "true"}}, False),
        ({"Bool": {"aws:SecureTransport": "TRUE"}}, True),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}}, True),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:*:role/*"}}, False),
        ({"ArnNotEquals": {"aws:PrincipalArn": ROLE}}, False),
        ({"StringEquals": {"kms:ViaService": "s3.amazonaws.com"}, "Bool": {"aws:SecureTransport": "false"}}, False),
    ],
)
def test_conditions_of_a_role_s_policy(condition: dict[str, Any], holds: bool) -> None:
    call = send(**{"kms:ViaService": "s3.amazonaws.com", "aws:SecureTransport": "true", "aws:PrincipalArn": ROLE})
    assert (policy.decide(call, QUEUE, [{"Statement": SENDS | {"Condition": condition}}]) is None) is holds


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"Condition": {"StringEquals": {"aws:PrincipalTag/team": "x"}}}, "aws:PrincipalTag/team"),
        ({"Condition": {"ForAllValues:StringEquals": {"aws:CalledVia": "x"}}}, "ForAllValues:StringEquals"),
        ({"Condition": {"ForSomeValues:StringEquals": {"aws:TagKeys": "x"}}}, "ForSomeValues:StringEquals"),
        ({"Condition": {"NumericLessThan": {"aws:SourceArn": "1"}}}, "NumericLessThan"),
        ({"Resource": "arn:aws:sqs:us-east-1:1:${aws:username}"}, "aws:username"),
    ],
)
def test_what_cannot_be_decided_is_refused(parts: dict[str, Any], named: str) -> None:
    with pytest.raises(PolicyError, match=named):
        policy.decide(send(), QUEUE, [{"Statement": SENDS | parts}])


@pytest.mark.parametrize(
    ("quantifier", "tags", "holds"),
    [
        ("ForAllValues", ["node"], True),
        ("ForAllValues", ["node", "cluster"], False),
        ("ForAllValues", [], True),
        ("ForAnyValue", ["node", "cluster"], True),
        ("ForAnyValue", ["cluster"], False),
        ("ForAnyValue", [], False),
    ],
)
def test_the_names_of_a_request_s_tags_are_all_or_some_of_those_wanted(
    quantifier: str, tags: list[str], holds: bool
) -> None:
    wanted = {f"{quantifier}:StringEquals": {"aws:TagKeys": ["node", "Name"]}}
    own = {"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "*", "Condition": wanted}
    call = Call("ec2:CreateTags", context={f"aws:RequestTag/{tag}": "x" for tag in tags})
    refusal = policy.decide(call, "arn:aws:ec2:eu-west-1:1:instance/i-1", [{"Statement": [own]}])
    assert (refusal is None) is holds


VARIABLE = "arn:aws:ec2:eu-west-1:1:instance/${ec2:InstanceID}"


@pytest.mark.parametrize(
    ("operator", "source", "target", "holds"),
    [
        ("ArnEquals", "i-1", "i-1", True),
        ("ArnEquals", "i-1", "i-2", False),
        ("ArnEquals", None, "i-1", False),
        ("ArnEquals", "i-1", None, False),
        ("StringNotEquals", "i-1", "i-1", False),
        ("StringNotEquals", "i-1", "i-2", True),
    ],
)
def test_a_variable_in_a_condition_is_the_request_s_value(
    operator: str, source: str | None, target: str | None, holds: bool
) -> None:
    own = {
        "Effect": "Allow",
        "Action": "*",
        "Resource": "*",
        "Condition": {operator: {"ec2:SourceInstanceARN": VARIABLE}},
    }
    context = {
        **({"ec2:SourceInstanceARN": f"arn:aws:ec2:eu-west-1:1:instance/{source}"} if source else {}),
        **({"ec2:InstanceID": target} if target else {}),
    }
    known = frozenset({"ec2:sourceinstancearn", "ec2:instanceid"})
    call = Call("ec2:CreateTags", context=context, known=known)
    assert (policy.decide(call, "arn:aws:ec2:eu-west-1:1:instance/i", [{"Statement": [own]}]) is None) is holds


@pytest.mark.parametrize("text", ["${aws:username}", "${aws:PrincipalTag/team, 'none'}", "${*}"])
def test_a_variable_that_is_not_known_is_refused(text: str) -> None:
    own = {
        "Effect": "Allow",
        "Action": "*",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalArn": text}},
    }
    call = Call("ec2:CreateTags", context={"aws:PrincipalArn": "a"}, known=frozenset())
    with pytest.raises(policy.PolicyError, match="not evaluated"):
        policy.decide(call, "*", [{"Statement": [own]}])
