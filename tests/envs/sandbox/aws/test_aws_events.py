"""EventBridge: rules pick events, and targets get them, as far as policies of queues, keys and functions let them."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.envs.sandbox.aws.emulated import Aws

pytestmark = pytest.mark.xdist_group("aws-events")  # one AWS process for all of them

ACCOUNT = "123456789012"
PATTERN = {"source": ["shop"], "detail": {"kind": ["order"]}}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def log_of(aws: Aws) -> str:
    return (aws.state_dir / "logs" / "aws.log").read_text()


def let_in(rule: str, queue: str, **more: Any) -> str:
    arn = f"arn:aws:events:us-east-1:{ACCOUNT}:rule/{rule}"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{queue}",
        "Condition": {"ArnEquals": {"aws:SourceArn": arn}},
    }
    return document(statement | more)


class Post:
    """A rule with one queue."""

    def __init__(self, aws: Aws, name: str, pattern: Any = None, policy: str | None = None, **target: Any) -> None:
        self.events, self.sqs, self.name = aws.client("events"), aws.client("sqs"), name
        attributes = target.pop("Attributes", {}) | {"Policy": let_in(name, name) if policy is None else policy}
        self.url = self.sqs.create_queue(
            QueueName=name, Attributes={key: value for key, value in attributes.items() if value}
        )["QueueUrl"]
        self.arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"
        self.events.put_rule(Name=name, EventPattern=json.dumps(pattern or PATTERN | {"source": [name]}))
        self.events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": self.arn, **target}])

    def put(self, detail: Any, **more: Any) -> str:
        entry = {"Source": self.name, "DetailType": "d", "Detail": json.dumps(detail), **more}
        return self.events.put_events(Entries=[entry])["Entries"][0]["EventId"]

    def got(self, wait: int = 5) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(QueueUrl=self.url, WaitTimeSeconds=wait, MaxNumberOfMessages=10)
        return [json.loads(each["Body"]) for each in answer.get("Messages", [])]


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_an_event_comes_in_its_envelope(aws: Aws) -> None:
    post = Post(aws, "shop")
    post.put({"kind": "other"})
    made = post.put({"kind": "order", "n": 1}, Resources=["r"], Time=1_700_000_000)
    (event,) = post.got()
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


def test_a_queue_that_does_not_let_the_rule_in_gets_nothing(aws: Aws) -> None:
    shut = Post(aws, "shut", policy=let_in("another", "shut"))
    shut.put({"kind": "order"})
    until(lambda: "event is dropped" in log_of(aws) or "is dropped" in log_of(aws), "the log tells it")
    assert shut.got(wait=0) == []
    assert "missing in the policy of arn:aws:sqs:us-east-1:123456789012:shut" in log_of(aws)
