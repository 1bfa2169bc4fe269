"""Asynchronous invocations of functions: the queue before them, their retries, and what becomes of them.

Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation", "Capturing records of
Lambda asynchronous invocations" (the record that a destination gets, and the attributes of a dead letter).
"""

import heapq
import itertools
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaFunction
from moto.sqs.models import sqs_backends

from envs.sandbox.account import Account
from envs.sandbox.aws import permissions
from envs.sandbox.aws.lambda_function import SERVICE, Function, function_role
from envs.sandbox.aws.lambda_run import NotRunnableError, Runner, ThrottledError
from envs.sandbox.aws.permission_needs import queue_needs

if TYPE_CHECKING:
    from envs.sandbox.functions import InvokeResult

log = logging.getLogger("envs.sandbox.aws.lambda")

CLOCK: Final = 1 / 60
"""How fast waits between attempts pass: AWS's minutes are seconds here."""

_RETRY_WAITS: Final = (60.0, 120.0)
_LONGEST_BACKOFF: Final = 300.0
_WORKERS: Final = 8
_ERROR_TEXT: Final = 1024


@dataclass
class Event:
    """One asynchronous invocation that was accepted."""

    function: Callable[[], LambdaFunction]
    payload: bytes
    accepted: float = field(default_factory=time.monotonic)
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    attempts: int = 0
    throttled: int = 0


def next_step(failed: bool, attempts: int, retries: int) -> tuple[str, float]:
    """After an attempt that ran: the condition that ends it, or none and AWS's seconds until the next one."""
    if not failed:
        return "Success", 0.0
    if attempts > retries:
        return "RetriesExhausted", 0.0
    return "", _RETRY_WAITS[min(attempts, len(_RETRY_WAITS)) - 1]


def backoff(throttled: int) -> float:
    """AWS's seconds until a throttled event is tried again: from one second up to five minutes."""
    return min(2.0 ** min(throttled - 1, 10), _LONGEST_BACKOFF)


class AsyncInvocations:
    """The queue and those who work on it. One of each AWS process; `close` ends it."""

    def __init__(self, account: Account, runner: Runner) -> None:
        self._account = account
        self._runner = runner
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Event]] = []
        self._order = itertools.count()
        self._closed = False
        self._workers: list[threading.Thread] = []

    def take(self, event: Event) -> None:
        """Queues an event; it runs as soon as there is a worker for it."""
        self._put(event, 0.0)

    def close(self) -> None:
        """Ends the work; events that wait are gone. To be called before the runner is closed."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _put(self, event: Event, seconds: float) -> None:
        with self._changed:
            if self._closed:
                return
            heapq.heappush(self._waiting, (time.monotonic() + seconds, next(self._order), event))
            if len(self._workers) < _WORKERS:
                worker = threading.Thread(target=self._work, name="lambda-async", daemon=True)
                self._workers.append(worker)
                worker.start()
            self._changed.notify()

    def _work(self) -> None:
        while (event := self._next()) is not None:
            try:
                self._attempt(event)
            except Exception:
                log.exception("asynchronous invocation %s failed", event.request_id)

    def _next(self) -> Event | None:
        """The next event that is due; None at the end."""
        with self._changed:
            while not self._closed:
                wait = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._waiting)[2]
                self._changed.wait(wait)
        return None

    def _attempt(self, event: Event) -> None:
        try:
            found = event.function()
        except LambdaClientError as error:
            log.error("asynchronous invocation %s is dropped: %s", event.request_id, error.message)
            return None
        settings = found.event_invoke_config[0].config if found.event_invoke_config else {}
        if found.reserved_concurrency is not None and int(found.reserved_concurrency) == 0:
            return self._finish(event, found, settings, "ZeroReservedConcurrency", None)
        if time.monotonic() - event.accepted > settings.get("MaximumEventAgeInSeconds", 21600):
            return self._finish(event, found, settings, "EventAgeExceeded", None)
        try:
            result = self._runner.run(found, event.payload, event.request_id)
        except ThrottledError:
            event.throttled += 1
            return self._put(event, backoff(event.throttled) * CLOCK)
        except NotRunnableError as error:
            log.error("asynchronous invocation %s is dropped: %s", event.request_id, error)
            return None
        event.attempts += 1
        failed = result.function_error is not None
        condition, wait = next_step(failed, event.attempts, settings.get("MaximumRetryAttempts", 2))
        if condition:
            return self._finish(event, found, settings, condition, result)
        log.warning("function %s failed at attempt %d of %s", found.function_name, event.attempts, event.request_id)
        return self._put(event, wait * CLOCK)

    def _finish(
        self,
        event: Event,
        found: LambdaFunction,
        settings: dict[str, Any],
        condition: str,
        result: "InvokeResult | None",
    ) -> None:
        outcome = "OnSuccess" if condition == "Success" else "OnFailure"
        target = ((settings.get("DestinationConfig") or {}).get(outcome) or {}).get("Destination")
        if target:
            self._send(found, target, json.dumps(record(event, found, condition, result)))
        if condition == "Success":
            return
        name = found.function_name
        log.error("function %s: asynchronous invocation %s ends: %s", name, event.request_id, condition)
        if isinstance(found, Function) and found.dead_letter:
            self._send(found, found.dead_letter, event.payload.decode(), dead_letter_attributes(event, result))

    def _send(self, found: LambdaFunction, arn: str, body: str, attributes: dict[str, Any] | None = None) -> None:
        """To a queue, with the rights of the function's role."""
        region, account_id, name = arn.split(":")[3:6]
        if name not in sqs_backends[account_id][region].queues:
            log.error("function %s: there is no queue %s: the event is lost", found.function_name, arn)
            return
        who = permissions.role_caller(self._account, function_role(self._account, found.role), SERVICE)
        if permissions.may(self._account, who, queue_needs("SendMessage", arn)):
            sqs_backends[account_id][region].send_message(name, body, attributes)


def record(event: Event, found: LambdaFunction, condition: str, result: "InvokeResult | None") -> dict[str, Any]:
    """What a destination is told about an invocation."""
    told: dict[str, Any] = {
        "version": "1.0",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": f"{found.function_arn.removesuffix(f':{found.version}')}:{found.version}",
            "condition": condition,
            "approximateInvokeCount": event.attempts,
        },
        "requestPayload": json.loads(event.payload or b"{}"),
    }
    if result is not None:
        context: dict[str, Any] = {"statusCode": 200, "executedVersion": str(found.version)}
        if result.function_error:
            context["functionError"] = result.function_error
        told |= {"responseContext": context, "responsePayload": json.loads(result.payload)}
    return told


def dead_letter_attributes(event: Event, result: "InvokeResult | None") -> dict[str, Any]:
    """The message attributes of a dead letter; its body is the event."""
    told = {"RequestID": ("String", event.request_id)}
    if result is not None:
        message = json.loads(result.payload).get("errorMessage") or "Unhandled"
        told |= {"ErrorCode": ("Number", "200"), "ErrorMessage": ("String", message[:_ERROR_TEXT])}
    return {name: {"DataType": kind, "StringValue": value} for name, (kind, value) in told.items()}
