"""Event source mappings between queues and functions: their settings, what AWS refuses of them, and their states.

Lambda API Reference, CreateEventSourceMapping; Lambda Developer Guide, "Using Lambda with Amazon SQS". Other sources
than queues are refused by name. `lambda_pollers` does what a mapping says.
"""

import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError
from moto.awslambda.models import LambdaFunction
from moto.iam.models import Role
from moto.sqs.models import Queue, sqs_backends

from envs.sandbox.aws import lambda_rules as rules

PARTIAL: Final = "ReportBatchItemFailures"

_SMALL_BATCH: Final = 10
_LONGEST_WINDOW: Final = 300
_LARGEST_BATCH: Final = 10_000
_ROLE_NEEDS: Final = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
_SETTINGS: Final = {
    "BatchSize": _SMALL_BATCH,
    "MaximumBatchingWindowInSeconds": 0,
    "FunctionResponseTypes": (),
    "ScalingConfig": None,
}
"""What can be set, and what it is unless it is."""
_KNOWN: Final = {*_SETTINGS, "Enabled", "EventSourceArn", "FunctionName", "Tags"}
_ONLY_STREAMS: Final = (
    *("BisectBatchOnFunctionError", "DestinationConfig", "MaximumRecordAgeInSeconds", "MaximumRetryAttempts"),
    *("ParallelizationFactor", "StartingPosition", "StartingPositionTimestamp", "Topics", "TumblingWindowInSeconds"),
)


class QueueMapping:
    """One mapping. `state` is its poller's to change once there is one."""

    def __init__(self, queue_arn: str, found: LambdaFunction, spec: Mapping[str, Any]) -> None:
        self.uuid = str(uuid.uuid4())
        self.event_source_arn = queue_arn
        self.function_arn: str = found.function_arn
        self.arn = f"arn:aws:lambda:{found.region}:{found.account_id}:event-source-mapping:{self.uuid}"
        self.tags: dict[str, str] = dict(spec.get("Tags") or {})
        self.enabled: bool = spec.get("Enabled", True)
        self.state = "Creating"
        self.last_result = "No records processed"
        self.settings = {name: spec.get(name, default) for name, default in _SETTINGS.items()}
        self.last_modified = time.time()

    @property
    def batch_size(self) -> int:
        """How many messages a batch has at most."""
        return self.settings["BatchSize"]

    @property
    def window(self) -> int:
        """Seconds for which a batch is gathered."""
        return self.settings["MaximumBatchingWindowInSeconds"]

    @property
    def partial(self) -> bool:
        """Whether the function tells which messages failed."""
        return PARTIAL in self.settings["FunctionResponseTypes"]

    @property
    def most_at_once(self) -> int | None:
        """How many batches the mapping may have in work; None for as many as there are pollers."""
        return (self.settings["ScalingConfig"] or {}).get("MaximumConcurrency")

    def change(self, spec: Mapping[str, Any]) -> None:
        """Takes over what an UpdateEventSourceMapping request says."""
        self.settings |= {name: spec[name] for name in _SETTINGS if name in spec}
        self.enabled = spec.get("Enabled", self.enabled)
        self.last_modified = time.time()

    def get_configuration(self) -> dict[str, Any]:
        """The mapping as Lambda tells it."""
        told = {name: value for name, value in self.settings.items() if value is not None}
        return {
            **told,
            "UUID": self.uuid,
            "EventSourceArn": self.event_source_arn,
            "EventSourceMappingArn": self.arn,
            "FunctionArn": self.function_arn,
            "LastModified": self.last_modified,
            "LastProcessingResult": self.last_result,
            "State": self.state,
            "StateTransitionReason": "USER_INITIATED",
        }


def queue_of(arn: str) -> Queue:
    """The queue that a mapping reads. Raises InvalidParameterValueException."""
    parts = arn.split(":")
    if len(parts) != 6 or parts[2] != "sqs":
        raise LambdaClientError(
            "NotImplemented", f"the emulated Lambda reads SQS queues only: {arn} is no event source here"
        )
    found = sqs_backends[parts[4]][parts[3]].queues.get(parts[5])
    if found is None:
        raise InvalidParameterValueException(
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
            "SQS Error Message: The specified queue does not exist."
        )
    return found


def check(
    spec: Mapping[str, Any], settings: Mapping[str, Any], queue: Queue, found: LambdaFunction, role: Role
) -> None:
    """What a request says (`spec`), and the mapping as it will be (`settings`)."""
    for name in spec:
        if name in _ONLY_STREAMS:
            raise InvalidParameterValueException(f"{name} is not valid for SQS event sources.")
        if name not in _KNOWN:
            raise LambdaClientError("NotImplemented", f"the emulated Lambda does not implement {name} of mappings")
    size, window = settings["BatchSize"], settings["MaximumBatchingWindowInSeconds"]
    largest = _SMALL_BATCH if queue.fifo_queue else _LARGEST_BATCH
    if not 1 <= size <= largest:
        raise InvalidParameterValueException(f"Batch size must be from 1 to {largest} for {queue.queue_arn}")
    if not 0 <= window <= _LONGEST_WINDOW:
        raise InvalidParameterValueException(f"Maximum batch window must be from 0 to {_LONGEST_WINDOW} seconds")
    if queue.fifo_queue and window:
        raise InvalidParameterValueException("Batching window is not supported for FIFO queues")
    if size > _SMALL_BATCH and not window:
        raise InvalidParameterValueException(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )
    if set(settings["FunctionResponseTypes"]) - {PARTIAL}:
        raise InvalidParameterValueException(f"The only response type of functions is {PARTIAL}")
    most = (settings["ScalingConfig"] or {}).get("MaximumConcurrency")
    if most is not None and not 2 <= most <= 1000:
        raise InvalidParameterValueException("MaximumConcurrency must be from 2 to 1000")
    visible: int = queue.visibility_timeout  # type: ignore[attr-defined]
    if visible < int(found.timeout):
        raise InvalidParameterValueException(
            f"Queue visibility timeout: {visible} seconds is less than Function timeout: {found.timeout} seconds"
        )
    for call in _ROLE_NEEDS:
        rules.check_may(role, call, queue.queue_arn)


def check_new(spec: Mapping[str, Any], queue: Queue, found: LambdaFunction, role: Role) -> None:
    """As `check`, for a mapping that is to be made."""
    check(spec, {name: spec.get(name, default) for name, default in _SETTINGS.items()}, queue, found, role)


def exists_already(mapping: QueueMapping) -> LambdaClientError:
    """The error for a second mapping of the same queue and function."""
    error = LambdaClientError(
        "ResourceConflictException",
        f'An event source mapping with SQS arn (" {mapping.event_source_arn} ") and function (" '
        f'{mapping.function_arn.rpartition(":")[2]} ") already exists. Please update or delete the existing mapping '
        f"with UUID {mapping.uuid}",
    )
    error.code = 409
    return error
