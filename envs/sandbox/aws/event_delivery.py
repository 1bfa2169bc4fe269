"""What EventBridge does with an event that a rule matched: brings it to the rule's targets, as far as it may.

A target's own policy has to let ``events.amazonaws.com`` in, and the policy of a queue's key as well (EventBridge
User Guide, "Using resource-based policies for Amazon EventBridge" and "Troubleshooting Amazon EventBridge"). What
cannot be delivered goes to the target's dead-letter queue, with the attributes that "Using dead-letter queues to
process undelivered events" names, or is dropped; either is in the log. Such failures are not retried, and others do
not happen here.

Delivery is at least once and best effort. Here that means exactly once, unless a drill sets `Faults`.
"""

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from moto.awslambda.exceptions import LambdaClientError
from moto.sqs.models import Queue, sqs_backends

from envs.sandbox.account import Account
from envs.sandbox.aws import lambda_, lambda_policy, permissions, policy
from envs.sandbox.aws.permission_needs import queue_needs
from envs.sandbox.aws.permission_terms import Need, key_is_customers

log = logging.getLogger("envs.sandbox.aws.events")

SERVICE: Final = "events.amazonaws.com"

_WORKERS: Final = 4


@dataclass(frozen=True)
class Faults:
    """What a drill does to deliveries: how often each is made (0: it is lost), how late, and of which rule only."""

    copies: int = 1
    delay_s: float = 0.0
    rule: str = ""


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one target of one rule."""

    rule_name: str
    rule_arn: str
    target: dict[str, Any]
    event: dict[str, Any]

    @property
    def body(self) -> str:
        """What the target gets: the event, or the constant that the target asks for."""
        return self.target.get("Input") or json.dumps(self.event)


class UndeliverableError(Exception):
    """A target that does not take an event; `code` is EventBridge's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Desk:
    """Makes deliveries, in the background. One of each AWS process; `close` ends it."""

    def __init__(self, account: Account) -> None:
        self.faults = Faults()
        self._account = account
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="events")
        self._closed = threading.Event()

    def take(self, delivery: Delivery) -> None:
        """Delivers soon, as often and as late as the faults of this moment say."""
        faults = self.faults
        if faults.rule and faults.rule != delivery.rule_name:
            faults = Faults()
        if faults.copies == 0:
            log.warning("fault: event %s of rule %s is lost", delivery.event["id"], delivery.rule_name)
        for _ in range(faults.copies):
            if not self._closed.is_set():
                self._workers.submit(self._deliver, delivery, time.monotonic() + faults.delay_s)

    def close(self) -> None:
        """Ends what runs; what was not delivered yet is lost."""
        self._closed.set()
        self._workers.shutdown(cancel_futures=True)

    def _deliver(self, delivery: Delivery, due: float) -> None:
        if self._closed.wait(max(0.0, due - time.monotonic())):
            return
        arn = delivery.target["Arn"]
        try:
            try:
                self._bring(delivery, arn)
            except UndeliverableError as failure:
                log.error("rule %s: event %s for %s: %s", delivery.rule_name, delivery.event["id"], arn, failure)
                self._bury(delivery, failure)
        except Exception:
            log.exception("rule %s: delivering event %s failed", delivery.rule_name, delivery.event["id"])

    def _bring(self, delivery: Delivery, arn: str) -> None:
        if arn.split(":")[2] == "sqs":
            group = delivery.target.get("SqsParameters", {}).get("MessageGroupId")
            self._send(delivery.rule_arn, arn, delivery.body, group=group)
        else:
            self._invoke(delivery.rule_arn, arn, delivery.body)

    def _bury(self, delivery: Delivery, failure: UndeliverableError) -> None:
        dead_letters = delivery.target.get("DeadLetterConfig", {}).get("Arn")
        if not dead_letters:
            log.error("rule %s: event %s is dropped", delivery.rule_name, delivery.event["id"])
            return
        told = {
            "RULE_ARN": delivery.rule_arn,
            "TARGET_ARN": delivery.target["Arn"],
            "ERROR_CODE": failure.code,
            "ERROR_MESSAGE": str(failure),
        }
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in told.items()}
        try:
            self._send(delivery.rule_arn, dead_letters, json.dumps(delivery.event), attributes)
        except UndeliverableError as error:
            log.error("rule %s: event %s is dropped: %s", delivery.rule_name, delivery.event["id"], error)

    def _send(
        self,
        rule_arn: str,
        queue_arn: str,
        body: str,
        attributes: dict[str, Any] | None = None,
        group: str | None = None,
    ) -> None:
        region, account, name = queue_arn.split(":")[3:6]
        queue: Queue | None = sqs_backends[account][region].queues.get(name)
        if queue is None:
            raise UndeliverableError("NO_RESOURCE", f"there is no queue {queue_arn}")
        key = getattr(queue, "kms_master_key_id", None)
        if key and not key_is_customers(key, account, region):
            raise UndeliverableError(
                "NO_PERMISSIONS",
                f"{queue_arn} is encrypted under {key}, which AWS manages: its policy lets no other service in",
            )
        for need in queue_needs("SendMessage", queue_arn):
            self._demand(rule_arn, need)
        sqs_backends[account][region].send_message(name, body, attributes, group_id=group)

    def _invoke(self, rule_arn: str, arn: str, body: str) -> None:
        region, account = arn.split(":")[3:5]
        functions = lambda_.backend_of(account, region)
        try:
            self._demand(rule_arn, lambda_policy.invoke_need(functions.get_function(arn), arn))
            functions.run_later(arn, None, body.encode())
        except LambdaClientError as error:
            raise UndeliverableError("NO_RESOURCE", str(error.message)) from error

    def _demand(self, rule_arn: str, need: Need) -> None:
        try:
            permissions.demand_of_service(self._account, SERVICE, rule_arn, need)
        except (permissions.AccessDeniedError, policy.PolicyError) as error:
            raise UndeliverableError("NO_PERMISSIONS", str(error)) from error
