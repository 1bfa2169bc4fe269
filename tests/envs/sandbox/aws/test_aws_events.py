"""EventBridge: rules pick events, and targets get them, as far as policies of queues, keys and functions let them."""

import json
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.function_stage import ACCOUNT, Function, Queue, allow, document, queue_arn, until

pytestmark = pytest.mark.xdist_group("aws-events")  # one AWS process for all of them


def log_of(aws: Aws) -> str:
    return (aws.state_dir / "logs" / "aws.log").read_text()


def rule_arn(name: str) -> str:
    return f"arn:aws:events:us-east-1:{ACCOUNT}:rule/{name}"


def let_in(rule: str, queue: str) -> str:
    statement = allow("sqs:SendMessage", queue_arn(queue)) | {
        "Principal": {"Service": "events.amazonaws.com"},
        "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn(rule)}},
    }
    return document(statement)


class Post(Queue):
    """A rule with one queue, all of one name."""

    def __init__(
        self,
        aws: Aws,
        name: str,
        *,
        policy: str = "",
        target: dict[str, Any] | None = None,
        rule: dict[str, Any] | None = None,
        **attributes: str,
    ) -> None:
        super().__init__(aws, name, Policy=policy or let_in(name, name), **attributes)
        self.events = aws.client("events")
        pattern = {"source": [name], "detail": {"kind": ["order"]}}
        self.events.put_rule(Name=name, **(rule or {"EventPattern": json.dumps(pattern)}))
        self.events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": self.arn, **(target or {})}])

    def put(self, detail: Any, **more: Any) -> str:
        entry = {"Source": self.name, "DetailType": "d", "Detail": json.dumps(detail), **more}
        return self.events.put_events(Entries=[entry])["Entries"][0]["EventId"]


def ask(aws: Aws, path: str, **parameters: Any) -> tuple[int, dict[str, Any]]:
    """A route for drills."""
    answer = urllib3.request("GET", f"{aws.account.endpoint}/fleetstream/{path}", fields=parameters)
    return answer.status, answer.json()


def test_an_event_comes_in_its_envelope(aws: Aws) -> None:
    post = Post(aws, "shop")
    post.put({"kind": "other"})
    made = post.put({"kind": "order", "n": 1}, Resources=["r"], Time=1_700_000_000)
    (event,) = post.bodies()
    assert event == {
        "version": "0",
        "id": made,
        "detail-type": "d",
        "source": "shop",
        "account": ACCOUNT,
        "time": "2023-11-14T22:13:20Z",
        "region": "us-east-1",
        "resources": ["r"],
        "detail": {"kind": "order", "n": 1},
    }


def test_a_disabled_rule_passes_nothing_on_and_a_constant_replaces_the_event(aws: Aws) -> None:
    post = Post(aws, "quiet", target={"Input": '{"sweep": true}'})
    post.events.disable_rule(Name="quiet")
    post.put({"kind": "order"})
    post.events.enable_rule(Name="quiet")
    post.put({"kind": "order"})
    assert post.bodies() == [{"sweep": True}]
    assert post.depth() == 0


def test_a_queue_that_does_not_let_the_rule_in_gets_nothing(aws: Aws) -> None:
    shut = Post(aws, "shut", policy=let_in("another", "shut"))
    made = shut.put({"kind": "order"})
    until(lambda: f"rule shut: event {made} is dropped" in log_of(aws), "the log tells it")
    assert shut.depth() == 0
    statement = f"missing in the policy of {shut.arn}:"
    (line,) = (each for each in log_of(aws).splitlines() if statement in each)
    assert '"aws:SourceArn": "arn:aws:events:us-east-1:123456789012:rule/shut"' in line


def test_what_cannot_be_delivered_goes_to_the_targets_dead_letters(aws: Aws) -> None:
    dead = Queue(aws, "undelivered", Policy=let_in("gone", "undelivered"))
    post = Post(
        aws, "gone", target={"DeadLetterConfig": {"Arn": dead.arn}, "RetryPolicy": {"MaximumRetryAttempts": 1}}
    )
    post.sqs.delete_queue(QueueUrl=post.url)
    made = post.put({"kind": "order"})
    (letter,) = dead.receive()
    assert json.loads(letter["Body"])["id"] == made
    attributes = {name: each["StringValue"] for name, each in letter["MessageAttributes"].items()}
    assert attributes == {
        "RULE_ARN": rule_arn("gone"),
        "TARGET_ARN": post.arn,
        "ERROR_CODE": "NO_RESOURCE",
        "ERROR_MESSAGE": f"there is no queue {post.arn}",
    }


@pytest.mark.parametrize("action", ["kms:GenerateDataKey", "kms:Decrypt", ""])
def test_an_encrypted_queue_needs_its_keys_consent(aws: Aws, action: str) -> None:
    """Each of the two rights is needed; with both the event comes."""
    kms, name = aws.client("kms"), f"sealed-{action.rpartition(':')[2] or 'open'}"
    rights = {"kms:GenerateDataKey", "kms:Decrypt"} - {action}
    service = allow(sorted(rights)) | {"Principal": {"Service": "events.amazonaws.com"}}
    owner = allow("kms:*") | {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
    key = kms.create_key(Policy=document(owner, service))["KeyMetadata"]["Arn"]
    post = Post(aws, name, KmsMasterKeyId=key)
    made = post.put({"kind": "order"})
    if action:
        until(lambda: f"event {made} is dropped" in log_of(aws), "the log tells it")
        assert f"not authorized to perform: {action} on resource: {key}" in log_of(aws)
    else:
        assert post.bodies()[0]["id"] == made


def test_the_key_that_aws_manages_lets_no_rule_in(aws: Aws) -> None:
    post = Post(aws, "managed", KmsMasterKeyId="alias/aws/sqs")
    made = post.put({"kind": "order"})
    until(lambda: f"event {made} is dropped" in log_of(aws), "the log tells it")
    assert "which AWS manages: its policy lets no other service in" in log_of(aws)


SEEN = """
import boto3, json, os
def handle(event, context):
    boto3.client("sqs").send_message(QueueUrl=os.environ["OUT"], MessageBody=json.dumps(event))
"""


def test_a_function_gets_events_when_its_policy_lets_the_rule_in(aws: Aws) -> None:
    out, events = Queue(aws, "seen"), aws.client("events")
    environment = {"Variables": {"OUT": out.url}}
    rights = allow("sqs:SendMessage", out.arn)
    function = Function(aws, "seeing", SEEN, rights, Environment=environment, Timeout=300)
    pattern = json.dumps({"source": ["seeing"], "detail": {"kind": ["order"]}})
    events.put_rule(Name="seeing", EventPattern=pattern)
    events.put_targets(Rule="seeing", Targets=[{"Id": "f", "Arn": function.arn}])
    entry = {"Source": "seeing", "DetailType": "d", "Detail": '{"kind": "order"}'}
    (refused,) = events.put_events(Entries=[entry])["Entries"]
    until(lambda: f"event {refused['EventId']} is dropped" in log_of(aws), "the log tells it")
    grant = {
        "FunctionName": "seeing",
        "StatementId": "rule",
        "Action": "lambda:InvokeFunction",
        "Principal": "events.amazonaws.com",
        "SourceArn": rule_arn("seeing"),
    }
    function.client.add_permission(**grant)
    (made,) = events.put_events(Entries=[entry])["Entries"]
    assert [each["id"] for each in out.bodies()] == [made["EventId"]]

    (statement,) = json.loads(function.client.get_policy(FunctionName="seeing")["Policy"])["Statement"]
    assert (statement["Sid"], statement["Resource"]) == ("rule", function.arn)
    with pytest.raises(function.client.exceptions.ResourceConflictException, match=r"The statement id \(rule\)"):
        function.client.add_permission(**grant)
    for change, said in (
        ({"Principal": "nobody"}, "provided principal was invalid"),
        ({"Action": "sqs:SendMessage"}, "is no action of Lambda"),
        ({"PrincipalOrgID": "o-a1b2c3d4e5"}, "does not implement PrincipalOrgID"),
    ):
        with pytest.raises(ClientError, match=said):
            function.client.add_permission(**{**grant, "StatementId": "other", **change})
    function.client.remove_permission(FunctionName="seeing", StatementId="rule")
    with pytest.raises(function.client.exceptions.ResourceNotFoundException):
        function.client.get_policy(FunctionName="seeing")


def test_a_schedule_fires_by_hand(aws: Aws) -> None:
    post = Post(aws, "sweep", rule={"ScheduleExpression": "rate(7 days)"})
    status, told = ask(aws, "events/fire", rule="sweep")
    assert status == 200
    (event,) = post.bodies()
    assert (event["id"], event["detail-type"], event["source"]) == (told["id"], "Scheduled Event", "aws.events")
    assert (event["resources"], event["detail"]) == ([rule_arn("sweep")], {})
    assert ask(aws, "events/fire", rule="nothing")[0] == 404
    assert ask(aws, "events/fire")[0] == 400
    Post(aws, "patterned")
    assert "no schedule" in ask(aws, "events/fire", rule="patterned")[1]["error"]


def test_deliveries_are_doubled_delayed_and_lost_for_drills(aws: Aws) -> None:
    post, other = Post(aws, "faulty"), Post(aws, "faultless")
    assert ask(aws, "events/faults", copies=3, rule="faulty") == (
        200,
        {"copies": 3, "delay_s": 0.0, "rule": "faulty"},
    )
    other.put({"kind": "order"})
    made = post.put({"kind": "order"})
    assert [each["id"] for each in post.bodies(3)] == [made] * 3
    ask(aws, "events/faults", copies=0)
    lost = post.put({"kind": "order"})
    until(lambda: f"event {lost} of rule faulty is lost" in log_of(aws), "the log tells it")
    ask(aws, "events/faults", delay_s=1)
    late = post.put({"kind": "order"})
    assert post.depth() == 0
    ask(aws, "events/faults")
    assert [each["id"] for each in post.bodies()] == [late]
    assert (len(other.receive()), other.depth(), post.depth()) == (1, 0, 0)
    assert ask(aws, "events/faults", copies=-1)[0] == 400
    assert ask(aws, "events/faults", copies="many")[0] == 400


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"InputTransformer": {"InputTemplate": "x"}}, "does not implement InputTransformer"),
        ({"InputPath": "$.detail"}, "does not implement InputPath"),
        ({"Input": "no json"}, "JSON syntax error"),
        ({"Arn": f"arn:aws:sns:us-east-1:{ACCOUNT}:topic"}, "to SQS queues and functions only"),
        ({"Arn": "queue"}, "not in correct format"),
        ({"RetryPolicy": {"MaximumRetryAttempts": 186}}, "from 0 to 185"),
        ({"RetryPolicy": {"MaximumEventAgeInSeconds": 86401}}, "from 60 to 86400"),
        ({"DeadLetterConfig": {"Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead.fifo"}}, "not a standard SQS queue"),
    ],
)
def test_a_target_with_a_mistake_is_refused(aws: Aws, target: dict[str, Any], said: str) -> None:
    events = aws.client("events")
    events.put_rule(Name="odd", EventPattern='{"source": ["odd"]}')
    with pytest.raises(ClientError, match=said):
        events.put_targets(Rule="odd", Targets=[{"Id": "t", "Arn": queue_arn("any"), **target}])
    assert events.list_targets_by_rule(Rule="odd")["Targets"] == []


def test_a_rule_has_five_targets_at_most(aws: Aws) -> None:
    events = aws.client("events")
    events.put_rule(Name="many", EventPattern='{"source": ["many"]}')
    targets = [{"Id": str(n), "Arn": queue_arn(f"q{n}")} for n in range(6)]
    events.put_targets(Rule="many", Targets=targets[:5])
    events.put_targets(Rule="many", Targets=targets[:5])
    with pytest.raises(events.exceptions.LimitExceededException):
        events.put_targets(Rule="many", Targets=targets[5:])


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"EventPattern": '{"source": [{"like": "x"}]}'}, "Unrecognized match type like"),
        ({"ScheduleExpression": "rate(1 minutes)"}, "ScheduleExpression is not valid"),
        ({"ScheduleExpression": "cron(0 10 L * ? *)"}, "does not know L as day of month"),
    ],
)
def test_a_rule_with_a_mistake_is_refused(aws: Aws, rule: dict[str, str], said: str) -> None:
    with pytest.raises(ClientError, match=said):
        aws.client("events").put_rule(Name="wrong", **rule)


STEPS = """
import boto3, os
sqs = boto3.client("sqs")
def handle(event, context):
    sqs.send_message(QueueUrl=os.environ["OUT"], MessageBody='"first"')
    sqs.send_message(QueueUrl=os.environ["OUT"], MessageBody='"second"')
    return "done"
"""


def test_a_function_is_killed_after_a_call_that_was_carried_out(aws: Aws) -> None:
    out = Queue(aws, "steps")
    environment = {"Variables": {"OUT": out.url}}
    rights = allow("sqs:SendMessage", out.arn)
    function = Function(aws, "stepping", STEPS, rights, Environment=environment, Timeout=300)
    armed = ask(aws, "functions/kill", function="stepping", after="sqs:SendMessage")
    assert armed == (200, {"after": "sqs:SendMessage"})
    out.send("of the administrator")
    function.later({})
    told = out.bodies(4)
    assert told == ["of the administrator", "first", "first", "second"], "it happens once, and Lambda tries again"
    assert ask(aws, "functions/kill", function="stepping") == (200, {"killed": 1})
    assert ask(aws, "functions/kill", function="nobody")[0] == 404
    assert ask(aws, "functions/kill", function="nobody", after="sqs:SendMessage")[0] == 404
    assert ask(aws, "functions/kill", function="stepping", after="SendMessage")[0] == 400
    assert ask(aws, "functions/kill")[0] == 400
    assert ask(aws, "functions/kills", function="stepping") == (200, {"coming": []})
    ask(aws, "functions/kill", function="stepping", after="sqs:SendMessage")
    for more in ({}, {"spare": "true"}):
        assert ask(aws, "functions/kills", function="stepping", **more) == (200, {"coming": ["sqs:SendMessage"]})
    assert ask(aws, "functions/kills", function="stepping") == (200, {"coming": []})
    assert ask(aws, "functions/kills")[0] == 400
