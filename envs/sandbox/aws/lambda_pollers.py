"""What an event source mapping of a queue does: reads batches, invokes the function, deletes what succeeded.

Lambda Developer Guide, "Using Lambda with Amazon SQS" and "Handling errors for an SQS event source in Lambda". A
batch that fails is not touched: its messages are visible again after the queue's visibility time-out, and the queue's
redrive policy counts them. While a function is throttled its batch is tried again as long as the messages stay
invisible for a whole run of the function; then they go the same way.

On AWS a mapping starts with five batches at once and adds more by the minute; here it stays at five.
"""

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaFunction
from moto.sqs.exceptions import QueueDoesNotExist, ReceiptHandleIsInvalid
from moto.sqs.models import Message, sqs_backends

from envs.sandbox.account import Account
from envs.sandbox.aws import permissions
from envs.sandbox.aws.lambda_function import SERVICE, function_role
from envs.sandbox.aws.lambda_mappings import QueueMapping
from envs.sandbox.aws.lambda_run import NotRunnableError, Runner, ThrottledError
from envs.sandbox.aws.permission_needs import queue_needs

log = logging.getLogger("envs.sandbox.aws.lambda")

_AT_ONCE: Final = 5
_PER_RECEIVE: Final = 10
_MOST_BYTES: Final = 6 * 1024 * 1024
_OVERHEAD: Final = 1024
"""Bytes that a message takes in an event beside its body, more or less."""
_POLL_SECONDS: Final = 1.0
_TROUBLE_SECONDS: Final = 1.0
_LONGEST_BACKOFF: Final = 5.0


class Poller:
    """The threads of one mapping. `stop` ends them; batches in work are finished first."""

    def __init__(
        self,
        account: Account,
        runner: Runner,
        mapping: QueueMapping,
        function: Callable[[], LambdaFunction],
        ended: Callable[[], None],
    ) -> None:
        self._account, self._runner, self._mapping = account, runner, mapping
        self._function, self._ended = function, ended
        self._region, self._account_id, self._queue = mapping.event_source_arn.split(":")[3:6]
        self._stopped = threading.Event()
        at_once = min(mapping.most_at_once or _AT_ONCE, _AT_ONCE)
        self._free = threading.Semaphore(at_once)
        self._batches = ThreadPoolExecutor(at_once, thread_name_prefix="lambda-batch")
        self._thread = threading.Thread(target=self._run, name="lambda-poller", daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    def stop(self) -> None:
        """Reads no more. Returns at once; `ended` is called when the last batch is done."""
        self._stopped.set()

    def _run(self) -> None:
        self._mapping.state = "Enabled"
        try:
            while not self._stopped.is_set():
                if self._free.acquire(timeout=_POLL_SECONDS):
                    self._submit(self._read())
        finally:
            self._batches.shutdown()
            self._ended()

    def _read(self) -> list[Message]:
        try:
            return self._gather()
        except (QueueDoesNotExist, LambdaClientError) as error:
            self._trouble(str(error.message))
        except Exception as error:
            log.exception("mapping %s cannot read", self._mapping.uuid)
            self._trouble(f"internal error: {error}")
        return []

    def _submit(self, batch: list[Message]) -> None:
        if batch:
            self._batches.submit(self._process, batch, time.monotonic()).add_done_callback(
                lambda _: self._free.release()
            )
        else:
            self._free.release()

    def _gather(self) -> list[Message]:
        """A batch: what is there, and with a window what comes until it is full or the window ends."""
        if not self._may("ReceiveMessage"):
            self._trouble("the function's role may not call ReceiveMessage on SQS")
            return []
        batch = self._receive(self._mapping.batch_size, _POLL_SECONDS)
        ends = time.monotonic() + self._mapping.window
        while batch and not self._stopped.is_set():
            rest = self._mapping.batch_size - len(batch)
            left = ends - time.monotonic()
            size = sum(len(each.body.encode()) + _OVERHEAD for each in batch)
            if rest <= 0 or left <= 0 or size + _PER_RECEIVE * self._largest() > _MOST_BYTES:
                break
            batch += self._receive(rest, min(left, _POLL_SECONDS))
        return batch

    def _receive(self, most: int, wait: float) -> list[Message]:
        backend = sqs_backends[self._account_id][self._region]
        hidden: int = backend.get_queue(self._queue).visibility_timeout  # type: ignore[attr-defined]
        return backend.receive_message(self._queue, min(most, _PER_RECEIVE), wait, hidden, ["All"])  # type: ignore[arg-type] (fractions of a second are fine)

    def _largest(self) -> int:
        queue = sqs_backends[self._account_id][self._region].get_queue(self._queue)
        return int(queue.maximum_message_size) + _OVERHEAD  # type: ignore[attr-defined]

    def _process(self, batch: list[Message], received: float) -> None:
        try:
            failed = self._invoke(batch, received)
            done = [each for each in batch if each.id not in failed]
            self._mapping.last_result = "OK" if not failed else "PROBLEM: Function call failed"
            if done and self._may("DeleteMessage"):
                for each in done:
                    self._delete(each)
        except (QueueDoesNotExist, LambdaClientError, NotRunnableError) as error:
            self._trouble(str(error))
        except Exception:
            log.exception("mapping %s: a batch failed", self._mapping.uuid)

    def _invoke(self, batch: list[Message], received: float) -> set[str]:
        """The ids of the messages that failed, or that could not be tried."""
        everything = {each.id for each in batch}
        event = json.dumps({"Records": [record(each, self._mapping.event_source_arn) for each in batch]}).encode()
        queue = sqs_backends[self._account_id][self._region].get_queue(self._queue)
        pause = 0.1
        while True:
            found = self._function()
            try:
                result = self._runner.run(found, event)
                break
            except ThrottledError:
                visible: int = queue.visibility_timeout  # type: ignore[attr-defined]
                if time.monotonic() + pause - received > visible - int(found.timeout) or self._stopped.wait(pause):
                    log.warning("function %s is throttled: %d messages return", found.function_name, len(batch))
                    return everything
                pause = min(2 * pause, _LONGEST_BACKOFF)
        if result.function_error:
            log.warning("function %s failed: %d messages return", found.function_name, len(batch))
            return everything
        return failures(result.payload, everything) if self._mapping.partial else set()

    def _delete(self, message: Message) -> None:
        try:
            sqs_backends[self._account_id][self._region].delete_message(self._queue, message.receipt_handle or "")
        except ReceiptHandleIsInvalid:
            log.warning("message %s of %s is gone already", message.id, self._queue)

    def _may(self, action: str) -> bool:
        who = permissions.role_caller(self._account, function_role(self._account, self._function().role), SERVICE)
        return permissions.may(self._account, who, queue_needs(action, self._mapping.event_source_arn))

    def _trouble(self, text: str) -> None:
        log.error("mapping %s of %s: %s", self._mapping.uuid, self._mapping.event_source_arn, text)
        self._mapping.last_result = f"PROBLEM: {text}"
        self._stopped.wait(_TROUBLE_SECONDS)


def record(message: Message, queue_arn: str) -> dict[str, Any]:
    """A message as a function gets it."""
    attributes = {
        "ApproximateReceiveCount": str(message.approximate_receive_count),
        "SentTimestamp": str(message.sent_timestamp),
        "SenderId": message.sender_id,
        "ApproximateFirstReceiveTimestamp": str(message.approximate_first_receive_timestamp),
    }
    only_fifo = {
        "SequenceNumber": message.sequence_number,
        "MessageGroupId": message.group_id,
        "MessageDeduplicationId": message.deduplication_id,
    }
    told: dict[str, Any] = {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": attributes | {name: value for name, value in only_fifo.items() if value is not None},
        "messageAttributes": {name: _attribute(value) for name, value in message.message_attributes.items()},
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }
    if message.message_attributes:
        told["md5OfMessageAttributes"] = message.attribute_md5
    return told


def failures(answer: bytes, batch: Sequence[str] | set[str]) -> set[str]:
    """The messages that a function's answer names as failed; all of them when it cannot be understood.

    Lambda Developer Guide, "Implementing partial batch responses": nothing, null or an empty list is success; a wrong
    key, an identifier that is empty or not of the batch, or no JSON is failure of the whole batch.
    """
    everything = set(batch)
    try:
        told = json.loads(answer)
    except ValueError:
        return everything
    if told is None or told == {}:
        return set()
    if not isinstance(told, Mapping) or "batchItemFailures" not in told:
        return everything
    named = told["batchItemFailures"]
    if named is None:
        return set()
    if not isinstance(named, list):
        return everything
    found = {str(each.get("itemIdentifier")) if isinstance(each, Mapping) else "" for each in named}
    return found if found <= everything else everything


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if value.get("StringValue") is not None:
        told["stringValue"] = value["StringValue"]
    if value.get("BinaryValue") is not None:
        told["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return told
