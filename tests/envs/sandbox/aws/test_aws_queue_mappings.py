"""Mappings of queues to functions: batches, what becomes of failures, throttling, and what AWS refuses."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from envs.sandbox.aws.lambda_pollers import failures
from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.function_stage import ACCOUNT, Function, Queue, Tape, allow, queue_arn, until

pytestmark = pytest.mark.xdist_group("aws-queue-mappings")  # one AWS process for all of them

READER = allow(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"])
ECHO = """
import json, os

def handle(event, context):
    failed = []
    for record in event["Records"]:
        with open(os.environ["OUT"], "a") as out:
            out.write(json.dumps(record) + "\\n")
        told = json.loads(record["body"])
        if told.get("raise"):
            raise ValueError("told to")
        if told.get("fail"):
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
"""


@pytest.fixture(scope="module")
def out(aws: Aws) -> Tape:
    return Tape(aws, "out")


def echo(aws: Aws, name: str, out: Tape) -> Function:
    """A function that tells what it gets and does what a message says; its worker runs already."""
    settings = {"Environment": {"Variables": {"OUT": str(out.path)}}, "Timeout": 5}
    made = Function(aws, name, ECHO, READER, **settings)
    assert "FunctionError" not in made.client.invoke(FunctionName=name, Payload=b'{"Records": []}')
    return made


def test_messages_reach_the_function_and_leave_the_queue(aws: Aws) -> None:
    out, queue = Tape(aws, "out-1"), Queue(aws, "in-1")
    echo(aws, "reader", out).reads(queue)
    sent = queue.send({"n": 1}, MessageAttributes={"kind": {"DataType": "String", "StringValue": "order"}})
    (record,) = out.bodies()
    attributes = record.pop("attributes")
    assert record.pop("receiptHandle")
    assert record == {
        "messageId": sent,
        "body": '{"n": 1}',
        "messageAttributes": {
            "kind": {"stringValue": "order", "stringListValues": [], "binaryListValues": [], "dataType": "String"}
        },
        "md5OfBody": "96d730b7a405ed0e9cb1068b43e06fe4",
        "md5OfMessageAttributes": record["md5OfMessageAttributes"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.arn,
        "awsRegion": "us-east-1",
    }
    assert attributes.pop("ApproximateReceiveCount") == "1"
    assert attributes.keys() == {"SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"}
    until(lambda: queue.depth() == 0, "the message is deleted")


def test_failed_messages_return_and_end_in_the_dead_letter_queue(aws: Aws) -> None:
    out, dead = Tape(aws, "out-2"), Queue(aws, "dead-2")
    redrive = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": "2"})
    queue = Queue(aws, "in-2", VisibilityTimeout="5", RedrivePolicy=redrive)
    queue.send({"n": 1})
    failing = queue.send({"n": 2, "fail": True})
    queue.send({"n": 3})
    echo(aws, "partial", out).reads(
        queue, FunctionResponseTypes=["ReportBatchItemFailures"], MaximumBatchingWindowInSeconds=1
    )
    records = out.bodies(4)
    assert [record["messageId"] for record in records].count(failing) == 2
    counts = [record["attributes"]["ApproximateReceiveCount"] for record in records if record["messageId"] == failing]
    assert counts == ["1", "2"]
    (letter,) = dead.receive()
    assert (letter["MessageId"], json.loads(letter["Body"])["n"]) == (failing, 2)
    assert queue.depth() == 0


def test_without_partial_answers_a_failure_returns_the_whole_batch(aws: Aws) -> None:
    out, dead = Tape(aws, "out-3"), Queue(aws, "dead-3")
    redrive = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": "1"})
    queue = Queue(aws, "in-3", VisibilityTimeout="5", RedrivePolicy=redrive)
    queue.send({"fail": True})
    reader = echo(aws, "whole", out)
    mapping = reader.reads(queue)
    out.bodies()
    until(lambda: queue.depth() == 0, "what is answered counts for nothing unless it was asked for")
    queue.send({"raise": True})
    (letter,) = dead.receive()
    assert json.loads(letter["Body"]) == {"raise": True}
    told = reader.client.get_event_source_mapping(UUID=mapping)
    assert told["LastProcessingResult"] == "PROBLEM: Function call failed"


SLOW = """
import time
def handle(event, context):
    time.sleep(1.5)
"""


def test_no_more_run_at_once_than_are_reserved(aws: Aws) -> None:
    queue = Queue(aws, "in-4", VisibilityTimeout="30")
    slow = Function(aws, "slow", SLOW, READER, reserved=1)
    slow.reads(queue, BatchSize=1)
    for n in range(3):
        queue.send({"n": n})
    until(lambda: queue.depth() == 0, "the throttled batches are tried again")
    slow.later({})
    until(lambda: _throttled(slow), "the only place is taken")


def _throttled(function: Function) -> bool:
    try:
        function.client.invoke(FunctionName=function.name, Payload=b"{}")
    except function.client.exceptions.TooManyRequestsException as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    return False


def test_a_throttled_batch_returns_when_its_messages_become_visible(aws: Aws) -> None:
    dead = Queue(aws, "dead-5")
    redrive = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": "1"})
    queue = Queue(aws, "in-5", VisibilityTimeout="5", RedrivePolicy=redrive)
    Function(aws, "stopped", SLOW, READER, reserved=0, Timeout=5).reads(queue)
    queue.send({"n": 1})
    dead.receive()


def test_a_mapping_is_changed_disabled_and_deleted(aws: Aws, out: Tape) -> None:
    queue = Queue(aws, "in-6")
    reader = echo(aws, "changing", out)
    mapping = reader.reads(queue, Tags={"fleet": "test"})
    told = reader.client.get_event_source_mapping(UUID=mapping)
    assert (told["BatchSize"], told["MaximumBatchingWindowInSeconds"], told["FunctionResponseTypes"]) == (10, 0, [])
    assert told["FunctionArn"] == reader.arn
    assert reader.client.list_tags(Resource=told["EventSourceMappingArn"])["Tags"] == {"fleet": "test"}
    changes: dict[str, Any] = {
        "BatchSize": 100,
        "MaximumBatchingWindowInSeconds": 5,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 2},
    }
    state = reader.client.update_event_source_mapping(UUID=mapping, Enabled=False, **changes)["State"]
    assert state == "Disabling"
    with pytest.raises(reader.client.exceptions.ResourceInUseException):
        reader.client.update_event_source_mapping(UUID=mapping, BatchSize=1)
    until(lambda: reader.state(mapping) == "Disabled", "it ends")
    told = reader.client.get_event_source_mapping(UUID=mapping)
    assert {name: told[name] for name in changes} == changes
    queue.send({"n": 1})
    listed = reader.client.list_event_source_mappings(EventSourceArn=queue.arn)["EventSourceMappings"]
    assert [each["UUID"] for each in listed] == [mapping]
    assert not reader.client.list_event_source_mappings(EventSourceArn=queue_arn("other"))["EventSourceMappings"]
    assert queue.depth() == 1, "a disabled mapping reads nothing"
    reader.client.update_event_source_mapping(UUID=mapping, Enabled=True, MaximumBatchingWindowInSeconds=1)
    assert json.loads(out.bodies()[0]["body"]) == {"n": 1}
    until(lambda: reader.state(mapping) == "Enabled", "it reads again")
    assert reader.client.delete_event_source_mapping(UUID=mapping)["State"] == "Deleting"
    until(lambda: reader.state(mapping) == "gone", "it is gone")
    with pytest.raises(reader.client.exceptions.ResourceNotFoundException):
        reader.client.delete_event_source_mapping(UUID=mapping)


@pytest.fixture(scope="module")
def settled(aws: Aws, out: Tape) -> tuple[Function, Queue]:
    """A function and a queue that fit together, and that are mapped already once."""
    queue = Queue(aws, "fitting")
    Queue(aws, "short", VisibilityTimeout="1")
    aws.client("sqs").create_queue(QueueName="first.fifo", Attributes={"FifoQueue": "true"})
    return echo(aws, "fitting", out), queue


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"BatchSize": 11}, "must be greater than 0 if maximum batch size is greater than 10"),
        ({"BatchSize": 10001}, "from 1 to 10000"),
        ({"MaximumBatchingWindowInSeconds": 301}, "from 0 to 300 seconds"),
        ({"FunctionResponseTypes": ["ReportBatchItemFailures", "Other"]}, "only response type"),
        ({"ScalingConfig": {"MaximumConcurrency": 1001}}, "from 2 to 1000"),
        ({"StartingPosition": "LATEST"}, "StartingPosition is not valid for SQS event sources"),
        ({"FilterCriteria": {"Filters": []}}, "does not implement FilterCriteria"),
        ({"EventSourceArn": queue_arn("nowhere")}, "The specified queue does not exist"),
        (
            {"EventSourceArn": queue_arn("short")},
            "Queue visibility timeout: 1 seconds is less than Function timeout: 5 seconds",
        ),
        ({"EventSourceArn": queue_arn("first.fifo"), "MaximumBatchingWindowInSeconds": 1}, "not supported for FIFO"),
        (
            {"EventSourceArn": f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s", "StartingPosition": "LATEST"},
            "reads SQS queues only",
        ),
        ({"FunctionName": "nobody"}, "Function not found"),
    ],
)
def test_a_mapping_with_a_mistake_is_refused(
    settled: tuple[Function, Queue], change: dict[str, Any], said: str
) -> None:
    function, queue = settled
    with pytest.raises(ClientError) as error:
        function.client.create_event_source_mapping(
            **{"FunctionName": function.name, "EventSourceArn": queue.arn, **change}
        )
    assert said in error.value.response["Error"]["Message"]


def test_a_role_that_may_not_read_is_refused(aws: Aws, settled: tuple[Function, Queue]) -> None:
    reader = Function(aws, "blind", SLOW, allow(["sqs:DeleteMessage", "sqs:GetQueueAttributes"]))
    with pytest.raises(
        ClientError, match="execution role does not have permissions to call ReceiveMessage on SQS"
    ) as error:
        reader.client.create_event_source_mapping(FunctionName="blind", EventSourceArn=settled[1].arn)
    assert error.value.response["Error"]["Code"] == "InvalidParameterValueException"


def test_a_right_that_is_taken_away_later_stops_the_reading(aws: Aws, out: Tape) -> None:
    queue = Queue(aws, "in-7")
    reader = echo(aws, "losing", out)
    mapping = reader.reads(queue)
    reader.permit(allow("logs:CreateLogGroup"))
    queue.send({"n": 1})
    until(
        lambda: (
            "may not call ReceiveMessage"
            in reader.client.get_event_source_mapping(UUID=mapping)["LastProcessingResult"]
        ),
        "the mapping tells it",
    )
    assert queue.depth() == 1


def test_a_second_mapping_of_the_same_pair_is_refused(settled: tuple[Function, Queue]) -> None:
    function, queue = settled
    mapping = function.reads(queue)
    with pytest.raises(function.client.exceptions.ResourceConflictException, match=mapping):
        function.client.create_event_source_mapping(FunctionName=function.name, EventSourceArn=queue.arn)


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        ("null", ""),
        ("{}", ""),
        ('{"batchItemFailures": null}', ""),
        ('{"batchItemFailures": []}', ""),
        ('{"batchItemFailures": [{"itemIdentifier": "a"}]}', "a"),
        ('{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "b"}]}', "ab"),
        ('{"batchItemFailures": [{"itemIdentifier": ""}]}', "abc"),
        ('{"batchItemFailures": [{"itemIdentifier": null}]}', "abc"),
        ('{"batchItemFailures": [{"itemIdentifier": "x"}]}', "abc"),
        ('{"batchItemFailures": [{"identifier": "a"}]}', "abc"),
        ('{"batchItemFailures": "a"}', "abc"),
        ('{"failures": []}', "abc"),
        ('"a"', "abc"),
        ("no json", "abc"),
    ],
)
def test_what_an_answer_says_about_a_batch(answer: str, failed: str) -> None:
    assert failures(answer.encode(), {"a", "b", "c"}) == set(failed)


def test_a_queue_keeps_its_policy_when_something_else_is_set(aws: Aws) -> None:
    sqs, policy = aws.client("sqs"), '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow"}]}'
    queue = Queue(aws, "kept", Policy=policy)
    sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": "7"})
    told = sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])["Attributes"]
    assert (json.loads(told["Policy"]), told["VisibilityTimeout"]) == (json.loads(policy), "7")
    sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={"Policy": ""})
    assert "Policy" not in sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])["Attributes"]


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"VisibilityTimeout": "43201"}, "VisibilityTimeout"),
        ({"DelaySeconds": "901"}, "DelaySeconds"),
        (
            {"RedrivePolicy": json.dumps({"deadLetterTargetArn": queue_arn("none"), "maxReceiveCount": 3})},
            "Dead letter target does not exist",
        ),
        (
            {"RedrivePolicy": json.dumps({"deadLetterTargetArn": queue_arn("letters"), "maxReceiveCount": 1001})},
            "Invalid value for maxReceiveCount: 1001",
        ),
    ],
)
def test_a_queue_with_a_mistake_is_refused(aws: Aws, attributes: dict[str, str], said: str) -> None:
    Queue(aws, "letters")
    with pytest.raises(ClientError, match=said):
        Queue(aws, "wrong", **attributes)


def test_readers_at_once_never_get_the_same_message(aws: Aws) -> None:
    queue = Queue(aws, "shared", VisibilityTimeout="60")
    for n in range(40):
        queue.send(n)

    def read(_: int) -> list[int]:
        got: list[int] = []
        while messages := queue.sqs.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=3).get("Messages"):
            for each in messages:
                queue.sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=each["ReceiptHandle"])
                got.append(json.loads(each["Body"]))
        return got

    with ThreadPoolExecutor(4) as readers:
        got = [n for part in readers.map(read, range(4)) for n in part]
    assert sorted(got) == list(range(40))
