"""Asynchronous invocations: accepted at once, tried again as documented, and reported where the settings say."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from envs.sandbox.aws.lambda_async import backoff, next_step
from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.function_stage import Function, Queue, Tape, allow

pytestmark = pytest.mark.xdist_group("aws-async-invocations")  # one AWS process for all of them

TOLD = """
import json, os, time

def handle(event, context):
    with open(os.environ["OUT"], "a") as out:
        out.write(json.dumps([event, context.aws_request_id]) + "\\n")
    time.sleep(event.get("sleep", 0))
    if event.get("fail"):
        raise ValueError("no good")
    return {"seen": event}
"""
Make = Callable[..., tuple[Function, Tape]]


@pytest.fixture
def teller(aws: Aws) -> Make:
    """Makes functions that tell what they get and do what an event says."""

    def make(name: str, *targets: Queue, **settings: Any) -> tuple[Function, Tape]:
        out = Tape(aws, name)
        rights = [allow("sqs:SendMessage", [each.arn for each in targets])] if targets else []
        environment = {"Variables": {"OUT": str(out.path)}}
        return Function(aws, name, TOLD, *rights, Environment=environment, **settings), out

    return make


def test_an_event_is_accepted_and_runs(aws: Aws, teller: Make) -> None:
    told = Queue(aws, "success")
    function, out = teller("happy", told)
    function.client.put_function_event_invoke_config(
        FunctionName="happy", DestinationConfig={"OnSuccess": {"Destination": told.arn}}
    )
    assert function.later({"n": 1}) == 202
    ((event, request),) = out.bodies()
    assert event == {"n": 1}
    (record,) = told.bodies()
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": request,
            "functionArn": f"{function.arn}:$LATEST",
            "condition": "Success",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"n": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "responsePayload": {"seen": {"n": 1}},
    }


def test_a_failure_is_tried_twice_more_and_reported(aws: Aws, teller: Make) -> None:
    dead, failed = Queue(aws, "dead"), Queue(aws, "failed")
    function, out = teller("sad", dead, failed, DeadLetterConfig={"TargetArn": dead.arn})
    function.client.put_function_event_invoke_config(
        FunctionName="sad", DestinationConfig={"OnFailure": {"Destination": failed.arn}}
    )
    function.later({"fail": True})
    attempts = out.bodies(3)
    assert len({request for _, request in attempts}) == 1, "one request, whatever the attempts"
    (record,) = failed.bodies()
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorMessage"] == "no good"
    (letter,) = dead.receive()
    assert json.loads(letter["Body"]) == {"fail": True}
    attributes = {name: each["StringValue"] for name, each in letter["MessageAttributes"].items()}
    assert attributes == {"RequestID": attempts[0][1], "ErrorCode": "200", "ErrorMessage": "no good"}


def test_without_retries_there_is_one_attempt(aws: Aws, teller: Make) -> None:
    dead = Queue(aws, "dead-once")
    function, out = teller("once", dead, DeadLetterConfig={"TargetArn": dead.arn})
    function.client.put_function_event_invoke_config(FunctionName="once", MaximumRetryAttempts=0)
    function.later({"fail": True})
    dead.receive()
    assert len(out.bodies()) == 1
    assert out.depth() == 0


def test_throttled_events_wait(teller: Make) -> None:
    function, out = teller("narrow", reserved=1)
    for n in range(3):
        function.later({"n": n, "sleep": 0.3})
    assert sorted(event["n"] for event, _ in out.bodies(3)) == [0, 1, 2]


def test_without_any_concurrency_events_go_straight_to_the_dead_letters(aws: Aws, teller: Make) -> None:
    dead = Queue(aws, "dead-zero")
    function, out = teller("zero", dead, DeadLetterConfig={"TargetArn": dead.arn}, reserved=0)
    function.later({"n": 1})
    (letter,) = dead.receive()
    assert letter["MessageAttributes"].keys() == {"RequestID"}
    assert out.depth() == 0


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"x" * (1024 * 1024 + 1), "RequestTooLargeException"), (b"{no json", "InvalidRequestContentException")],
)
def test_events_that_are_refused(teller: Make, payload: bytes, code: str) -> None:
    function, _ = teller(f"refusing-{len(payload)}")
    with pytest.raises(ClientError) as error:
        function.client.invoke(FunctionName=function.name, InvocationType="Event", Payload=payload)
    assert error.value.response["Error"]["Code"] == code
    with pytest.raises(function.client.exceptions.ResourceNotFoundException):
        function.client.invoke(FunctionName="nobody", InvocationType="Event", Payload=b"{}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"MaximumRetryAttempts": 3}, "from 0 to 2"),
        ({"MaximumEventAgeInSeconds": 21601}, "from 60 to 21600"),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sns:us-east-1:123456789012:t"}}},
            "sends to SQS queues only",
        ),
    ],
)
def test_settings_that_are_refused(aws: Aws, change: dict[str, Any], said: str) -> None:
    if "odd" not in {each["FunctionName"] for each in aws.client("lambda").list_functions()["Functions"]}:
        Function(aws, "odd", TOLD)
    with pytest.raises(ClientError, match=said):
        aws.client("lambda").put_function_event_invoke_config(FunctionName="odd", **change)


@given(attempts=st.integers(1, 4), retries=st.integers(0, 2))
def test_an_invocation_ends_after_its_last_retry(attempts: int, retries: int) -> None:
    condition, wait = next_step(True, attempts, retries)
    assert (condition == "RetriesExhausted") == (attempts > retries)
    assert (wait > 0) == (condition == "")
    assert next_step(False, attempts, retries) == ("Success", 0.0)


def test_waits_are_those_of_the_guide() -> None:
    assert [next_step(True, attempt, 2)[1] for attempt in (1, 2)] == [60, 120]
    assert [backoff(n) for n in (1, 2, 3)] == [1, 2, 4]
    assert backoff(50) == 300
