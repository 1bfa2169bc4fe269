"""The transformation of a stream: batches of records through the Lambda function, or straight through without one.

Event and answer: MSKFirehoseEvent and MSKFirehoseResponse (aws/aws-lambda-java-libs). What fails becomes the JSON
document of the Firehose Developer Guide, "Handle failure in data transformation"; its codes are those of "Monitor
Firehose using CloudWatch Logs", Lambda invocation errors.
"""

import binascii
import logging
import time
import uuid
from collections.abc import Callable
from itertools import count
from typing import Any, Final

import orjson
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from envs.sandbox.aws.sts_client import AssumeRoleError
from envs.sandbox.firehose.buffer import Outcome, Record
from envs.sandbox.firehose.errors import StreamError
from envs.sandbox.firehose.settings import Settings, Transformation

log = logging.getLogger(__name__)

PROCESSING_FAILED: Final = "processing-failed"
"""The error output type of records whose transformation failed."""

_STATUS_FAILED: Final = ("Lambda.ProcessingFailedStatus", "ProcessingFailed status set for record")
_MISSING: Final = (
    "Lambda.MissingRecordId",
    "One or more record IDs were not returned. Ensure that the Lambda function returns all received record IDs.",
)
_DUPLICATED: Final = (
    "Lambda.DuplicatedRecordId",
    "Multiple records were returned with the same record ID. Ensure that the function returns each ID once.",
)
_MALFORMED: Final = (
    "Lambda.JsonProcessingException",
    "The records that the function returned could not be parsed. Ensure that they follow the status model.",
)
_CODES: Final = {
    "AccessDeniedException": "Lambda.InvokeAccessDenied",
    "ResourceNotFoundException": "Lambda.ResourceNotFound",
    "TooManyRequestsException": "Lambda.InvokeLimitExceeded",
}


class InvocationError(Exception):
    """One invocation that brought no answer to work with; `code` is Firehose's name for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def pass_through(batch: list[Record]) -> list[Outcome]:
    """The transformation of a stream that has none."""
    return [Outcome(record, record.value) for record in batch]


class LambdaTransformation:
    """Invokes the function with one batch at a time; several threads may do so at once.

    An invocation that fails is tried again as often as the stream says, then its records are unsuccessfully
    processed. An AWS endpoint to which no connection can be made says nothing about the function: that is waited out,
    until `cancelled` says that it is no longer worth while. Before records are given up, `verify` may raise that the
    stream itself is gone: then there is no function either, and the records stay in Kafka.
    """

    def __init__(
        self,
        settings: Settings,
        transformation: Transformation,
        client: Any,
        cancelled: Callable[[], bool] = lambda: False,
        verify: Callable[[], object] = lambda: None,
        report: Callable[[str, str], None] = lambda _code, _message: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._transformation = transformation
        self._client = client
        self._cancelled = cancelled
        self._verify = verify
        self._report = report
        self._sleep = sleep
        self._numbers = count()

    def __call__(self, batch: list[Record]) -> list[Outcome]:
        """The outcomes of a batch, in its order: one a record. Raises `StreamError` when there can be none now."""
        ids = [f"{next(self._numbers):062d}" for _ in batch]
        payload = self._event(ids, batch)
        retrying = Retrying(
            stop=stop_after_attempt(1 + self._transformation.retries),
            wait=wait_exponential_jitter(multiplier=0.1, max=5),
            retry=retry_if_exception_type(InvocationError),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            answers = retrying(self._invoke, payload)
        except InvocationError as error:
            self._verify()
            self._report(error.code, str(error))
            attempts = retrying.statistics["attempt_number"]
            return [self._failed(record, attempts, error.code, str(error)) for record in batch]
        return self._outcomes(ids, batch, answers, retrying.statistics["attempt_number"])

    def _event(self, ids: list[str], batch: list[Record]) -> bytes:
        return orjson.dumps(
            {
                "invocationId": str(uuid.uuid4()),
                "sourceMSKArn": self._settings.cluster_arn,
                "deliveryStreamArn": self._settings.arn,
                "region": self._settings.region,
                "records": [
                    {
                        "recordId": identity,
                        "approximateArrivalTimestamp": record.arrival_ms,
                        "mskRecordMetadata": {
                            "offset": str(record.offset),
                            "partitionId": str(record.partition),
                            "approximateArrivalTimestamp": record.broker_ms,
                        },
                        "kafkaRecordValue": _base64(record.value),
                    }
                    for identity, record in zip(ids, batch, strict=True)
                ],
            }
        )

    def _invoke(self, payload: bytes) -> list[Any]:
        """The records of the function's answer. Raises `InvocationError`."""
        try:
            answer = self._unless_unreachable(payload)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise InvocationError(_CODES.get(code, f"Lambda.{code}"), error.response["Error"]["Message"]) from error
        except BotoCoreError as error:
            raise InvocationError("Lambda.FunctionTimedOut", f"The invocation brought no answer: {error}") from error
        body = answer["Payload"].read()
        if answer.get("FunctionError"):
            text = body.decode(errors="replace")[:1000]
            code = "Lambda.FunctionTimedOut" if "Task timed out" in text else "Lambda.FunctionError"
            raise InvocationError(
                code, f"The Lambda function was successfully invoked but it returned an error result: {text}"
            )
        try:
            records = orjson.loads(body)["records"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise InvocationError(*_MALFORMED) from error
        if not isinstance(records, list):
            raise InvocationError(*_MALFORMED)
        return records

    def _unless_unreachable(self, payload: bytes) -> Any:
        waits = 0
        while True:
            try:
                return self._client.invoke(FunctionName=self._transformation.function_arn, Payload=payload)
            except (EndpointConnectionError, ConnectTimeoutError, AssumeRoleError) as error:
                if self._cancelled():
                    raise StreamError(f"stopped while AWS could not be reached: {error}") from error
                waits += 1
                if waits in (1, 10) or waits % 60 == 0:
                    log.warning("AWS cannot be reached, invocations wait: %s", error)
                self._sleep(min(2.0, 0.1 * 2**waits))

    def _outcomes(self, ids: list[str], batch: list[Record], answers: list[Any], attempts: int) -> list[Outcome]:
        by_id: dict[str, dict[str, Any]] = {}
        repeated: set[str] = set()
        for answer in answers:
            identity = answer.get("recordId") if isinstance(answer, dict) else None
            if isinstance(identity, str):
                if identity in by_id:
                    repeated.add(identity)
                by_id[identity] = answer
        outcomes = []
        for identity, record in zip(ids, batch, strict=True):
            if identity in repeated:
                outcomes.append(self._failed(record, attempts, *_DUPLICATED))
            elif identity not in by_id:
                outcomes.append(self._failed(record, attempts, *_MISSING))
            else:
                outcomes.append(self._outcome(record, by_id[identity], attempts))
        return outcomes

    def _outcome(self, record: Record, answer: dict[str, Any], attempts: int) -> Outcome:
        match answer.get("result"):
            case "Ok":
                try:
                    return Outcome(record, binascii.a2b_base64(answer["kafkaRecordValue"], strict_mode=True))
                except (binascii.Error, KeyError, TypeError, ValueError):
                    return self._failed(record, attempts, *_MALFORMED)
            case "Dropped":
                return Outcome(record, None)
            case "ProcessingFailed":
                return self._failed(record, attempts, *_STATUS_FAILED)
            case _:
                return self._failed(record, attempts, *_MALFORMED)

    def _failed(self, record: Record, attempts: int, code: str, message: str) -> Outcome:
        document = {
            "attemptsMade": attempts,
            "arrivalTimestamp": record.arrival_ms,
            "errorCode": code,
            "errorMessage": message,
            "attemptEndingTimestamp": time.time_ns() // 1_000_000,
            "rawData": _base64(record.value),
            "lambdaArn": self._transformation.function_arn,
        }
        return Outcome(record, None, orjson.dumps(document) + b"\n")


def _base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()
