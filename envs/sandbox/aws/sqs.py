"""SQS: queues that several readers share safely, and attributes that AWS refuses.

moto's backend is not made for threads: two readers got the same message, and a message sent while another one was
deleted was lost. Amazon SQS API Reference, SetQueueAttributes, ReceiveMessage.
"""

import json
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from moto.sqs import urls
from moto.sqs.exceptions import InvalidAttributeValue, SQSException
from moto.sqs.models import Message, Queue, SQSBackend, sqs_backends

from envs.sandbox.aws.host import Host

_RANGES: Final = {
    "DelaySeconds": (0, 900),
    "KmsDataKeyReusePeriodSeconds": (60, 86400),
    "MaximumMessageSize": (1024, 1024 * 1024),
    "MessageRetentionPeriod": (60, 1209600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43200),
}
_LOOK_AGAIN: Final = 0.25
"""Seconds after which a waiting reader looks for messages that became visible by time alone."""


class QueuesBackend(SQSBackend):
    """moto's backend, one caller at a time, with AWS's refusals."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._lock = threading.RLock()

    @property
    def _url_module(self) -> Any:
        return urls

    def create_queue(self, name: str, tags: dict[str, str] | None = None, **kwargs: Any) -> Queue:
        self._check(kwargs)
        with self._lock:
            return super().create_queue(name, tags, **kwargs)

    def set_queue_attributes(self, queue_name: str, attributes: dict[str, Any]) -> Queue:
        self._check(attributes)
        with self._lock:
            # moto takes a policy away that is not said again.
            return super().set_queue_attributes(
                queue_name, {"Policy": self.get_queue(queue_name).policy, **attributes}
            )

    def send_message(self, *arguments: Any, **options: Any) -> Message:
        with self._lock:
            return super().send_message(*arguments, **options)

    def receive_message(
        self,
        queue_name: str,
        count: int,
        wait_seconds_timeout: float,
        visibility_timeout: int,
        message_attribute_names: list[str] | None = None,
    ) -> list[Message]:
        deadline = time.monotonic() + wait_seconds_timeout
        while True:
            with self._lock:
                got = super().receive_message(queue_name, count, 0, visibility_timeout, message_attribute_names)
                queue = self.get_queue(queue_name)
            left = deadline - time.monotonic()
            if got or left <= 0:
                return got
            queue.wait_for_messages(min(left, _LOOK_AGAIN))  # type: ignore[arg-type] (fractions are fine)

    def delete_message(self, queue_name: str, receipt_handle: str) -> None:
        with self._lock:
            super().delete_message(queue_name, receipt_handle)

    def change_message_visibility(self, queue_name: str, receipt_handle: str, visibility_timeout: int) -> None:
        with self._lock:
            super().change_message_visibility(queue_name, receipt_handle, visibility_timeout)

    def purge_queue(self, queue_name: str) -> None:
        with self._lock:
            super().purge_queue(queue_name)

    def _check(self, attributes: Mapping[str, Any]) -> None:
        for name, (low, high) in _RANGES.items():
            value = attributes.get(name)
            if value not in (None, "") and not low <= int(value) <= high:
                raise InvalidAttributeValue(name)
        if redrive := attributes.get("RedrivePolicy"):
            self._check_redrive(redrive)

    def _check_redrive(self, redrive: Any) -> None:
        told = json.loads(redrive) if isinstance(redrive, str) else redrive
        if not told:
            return
        refusal = f"Value {json.dumps(told)} for parameter RedrivePolicy is invalid. Reason: "
        target = str(told.get("deadLetterTargetArn", ""))
        if target.rpartition(":")[2] not in self.queues:
            raise SQSException("InvalidParameterValue", f"{refusal}Dead letter target does not exist.")
        most = str(told.get("maxReceiveCount", ""))
        if not most.isdecimal() or not 1 <= int(most) <= 1000:
            raise SQSException(
                "InvalidParameterValue",
                f"{refusal}Invalid value for maxReceiveCount: {most}, valid values are from 1"
                " to 1000 both inclusive.",
            )


def install(_host: Host) -> None:
    """Puts this backend in the place of moto's."""
    sqs_backends.backend = QueuesBackend
