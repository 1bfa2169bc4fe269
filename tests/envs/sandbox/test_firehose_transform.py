"""The transformation: what a stream makes of every answer that a function, or AWS instead of it, can give."""

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from envs.sandbox.firehose.buffer import Outcome, Record
from envs.sandbox.firehose.errors import StreamError, StreamGoneError
from envs.sandbox.firehose.settings import Transformation
from envs.sandbox.firehose.transform import LambdaTransformation
from tests.envs.sandbox.delivery_stage import FUNCTION_ARN, stream_settings

BATCH = [Record(b"one", 0, 7, 1_111, 2_222), Record(b"", 1, 8, 1_112, 2_222), Record(b"\xff", 0, 9, 1_113, 2_222)]


class Function:
    """A Lambda client that answers as told, and remembers the events."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.events: list[dict[str, Any]] = []

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        assert FunctionName == FUNCTION_ARN
        self.events.append(json.loads(Payload))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(self.events[-1])
        if isinstance(answer, dict) and "errorMessage" in answer:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(answer).encode())}
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return {"Payload": io.BytesIO(body)}


def transformation(function: Function, retries: int = 2, **more: Any) -> LambdaTransformation:
    described = Transformation(function_arn=FUNCTION_ARN, role_arn="", size_bytes=1, interval_s=1, retries=retries)
    settings = stream_settings("probe", transformation=described)
    return LambdaTransformation(settings, described, function, sleep=lambda _seconds: None, **more)


def answers(event: dict[str, Any], *results: str) -> dict[str, Any]:
    return {
        "records": [
            {"recordId": record["recordId"], "result": result, "kafkaRecordValue": base64.b64encode(b"new").decode()}
            for record, result in zip(event["records"], results, strict=True)
        ]
    }


def failure(outcome: Outcome) -> dict[str, Any]:
    assert outcome.data is None
    assert outcome.failure is not None
    assert outcome.failure.endswith(b"\n")
    return json.loads(outcome.failure)


def test_the_event_has_the_shape_of_an_msk_source() -> None:
    function = Function(lambda event: answers(event, "Ok", "Ok", "Ok"))
    transformation(function)(BATCH)
    (event,) = function.events
    assert set(event) == {"invocationId", "sourceMSKArn", "deliveryStreamArn", "region", "records"}
    assert event["deliveryStreamArn"].endswith(":deliverystream/probe")
    assert len({record.pop("recordId") for record in event["records"]}) == 3
    assert event["records"][0] == {
        "approximateArrivalTimestamp": 2_222,
        "mskRecordMetadata": {"offset": "7", "partitionId": "0", "approximateArrivalTimestamp": 1_111},
        "kafkaRecordValue": "b25l",
    }


def test_ok_dropped_and_failed_records() -> None:
    outcomes = transformation(Function(lambda event: answers(event, "Ok", "Dropped", "ProcessingFailed")))(BATCH)
    assert [outcome.record for outcome in outcomes] == BATCH
    assert outcomes[0].data == b"new"
    assert (outcomes[1].data, outcomes[1].failure) == (None, None)
    document = failure(outcomes[2])
    assert document.pop("attemptEndingTimestamp") > 2_222
    assert document == {
        "attemptsMade": 1,
        "arrivalTimestamp": 2_222,
        "errorCode": "Lambda.ProcessingFailedStatus",
        "errorMessage": "ProcessingFailed status set for record",
        "rawData": "/w==",
        "lambdaArn": FUNCTION_ARN,
    }


def test_answers_are_taken_by_record_id_not_by_place() -> None:
    def reversed_answers(event: dict[str, Any]) -> dict[str, Any]:
        return {"records": answers(event, "Ok", "Dropped", "ProcessingFailed")["records"][::-1]}

    outcomes = transformation(Function(reversed_answers))(BATCH)
    assert outcomes[0].data == b"new"
    assert failure(outcomes[2])["errorCode"] == "Lambda.ProcessingFailedStatus"


def _missing(event: dict[str, Any]) -> Any:
    return {"records": answers(event, "Ok", "Ok", "Ok")["records"][:2]}


def _duplicated(event: dict[str, Any]) -> Any:
    records = answers(event, "Ok", "Ok", "Ok")["records"]
    return {"records": [*records, records[2]]}


def _no_value(event: dict[str, Any]) -> Any:
    records = answers(event, "Ok", "Ok", "Ok")["records"]
    return {"records": [*records[:2], {**records[2], "kafkaRecordValue": "no base64!"}]}


def _odd_result(event: dict[str, Any]) -> Any:
    return answers(event, "Ok", "Ok", "Perhaps")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (_missing, "Lambda.MissingRecordId"),
        (_duplicated, "Lambda.DuplicatedRecordId"),
        (_no_value, "Lambda.JsonProcessingException"),
        (_odd_result, "Lambda.JsonProcessingException"),
    ],
)
def test_a_record_that_is_not_answered_properly_fails_alone(answer: Callable[..., Any], code: str) -> None:
    outcomes = transformation(Function(answer))(BATCH)
    assert [outcome.data for outcome in outcomes[:2]] == [b"new", b"new"]
    assert failure(outcomes[2])["errorCode"] == code


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": f"{code} it is"}}, "Invoke")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"errorType": "KeyError", "errorMessage": "'vin'"}, "Lambda.FunctionError"),
        ({"errorMessage": "RequestId: 1 Error: Task timed out after 3.00 seconds"}, "Lambda.FunctionTimedOut"),
        (ReadTimeoutError(endpoint_url="http://aws"), "Lambda.FunctionTimedOut"),
        (client_error("TooManyRequestsException"), "Lambda.InvokeLimitExceeded"),
        (client_error("AccessDeniedException"), "Lambda.InvokeAccessDenied"),
        (client_error("RequestEntityTooLargeException"), "Lambda.RequestEntityTooLargeException"),
        (b"not json", "Lambda.JsonProcessingException"),
        ([], "Lambda.JsonProcessingException"),
        ({"records": "all"}, "Lambda.JsonProcessingException"),
    ],
)
def test_an_invocation_that_fails_is_retried_and_then_all_its_records_fail(answer: Any, code: str) -> None:
    function, reported = Function(answer), []
    outcomes = transformation(function, report=lambda code, _message: reported.append(code))(BATCH)
    assert len(function.events) == 3
    assert function.events[0] == function.events[2]
    assert reported == [code]
    assert [base64.b64decode(failure(outcome)["rawData"]) for outcome in outcomes] == [b"one", b"", b"\xff"]
    assert {(failure(outcome)["errorCode"], failure(outcome)["attemptsMade"]) for outcome in outcomes} == {(code, 3)}


def test_an_invocation_that_works_the_second_time() -> None:
    function = Function(
        client_error("ServiceException"), lambda event: answers(event, "Ok", "Ok", "ProcessingFailed")
    )
    outcomes = transformation(function)(BATCH)
    assert outcomes[0].data == b"new"
    assert failure(outcomes[2])["attemptsMade"] == 2


def test_an_endpoint_that_cannot_be_reached_is_waited_for() -> None:
    unreachable = EndpointConnectionError(endpoint_url="http://aws")
    function = Function(*[unreachable] * 20, lambda event: answers(event, "Ok", "Ok", "Ok"))
    outcomes = transformation(function, retries=0)(BATCH)
    assert [outcome.data for outcome in outcomes] == [b"new"] * 3
    assert len(function.events) == 21


def test_a_stop_ends_the_waiting_without_giving_records_up() -> None:
    function = Function(EndpointConnectionError(endpoint_url="http://aws"))
    with pytest.raises(StreamError, match="could not be reached"):
        transformation(function, cancelled=lambda: len(function.events) > 5)(BATCH)


def test_records_are_not_given_up_when_the_stream_itself_is_gone() -> None:
    def gone() -> None:
        raise StreamGoneError("delivery stream probe does not exist")

    with pytest.raises(StreamGoneError):
        transformation(Function(client_error("ResourceNotFoundException")), verify=gone)(BATCH)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
odd_records = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "recordId": st.integers(0, 3).map(lambda n: f"{n:062d}") | json_values,
            "result": st.sampled_from(["Ok", "Dropped", "ProcessingFailed"]) | json_values,
            "kafkaRecordValue": st.sampled_from(["", "b25l", "b25", "é"]) | json_values,
        },
    )
    | json_values,
    max_size=5,
)


@given(json_values | st.fixed_dictionaries({"records": odd_records}) | st.binary(max_size=20))
def test_whatever_the_function_answers_every_record_has_one_outcome(answer: Any) -> None:
    if isinstance(answer, dict) and "errorMessage" in answer:
        return
    outcomes = transformation(Function(answer), retries=0)(BATCH)
    assert [outcome.record for outcome in outcomes] == BATCH
    for outcome in outcomes:
        assert outcome.data is None or outcome.failure is None
        if outcome.failure is not None:
            assert base64.b64decode(failure(outcome)["rawData"]) == outcome.record.value
