"""Scale-in as a function: reads its queue, and answers which messages shall come again.

A message comes again only when that could help, which is when AWS itself failed a call. What is malformed is logged
with its content and dropped: nothing depends on a single message, since the sweep finds every machine that waits.
"""

import os
from functools import cache, partial
from typing import Any, Final

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from services.fabric.lifecycle import Action, MalformedEventError
from services.fabric.scale_in.aws import PatientGateway, Settings, world
from services.fabric.scale_in.core import Outcome, Record, World, advance
from services.fabric.scale_in.messages import Needless, Sweep, read
from services.fabric.scale_in.sweep import sweep

LOGGED: Final = 2000
"""Characters of a malformed record."""
_METRICS: Final = {
    Outcome.DONE: "StepsDone",
    Outcome.FAILED: "StepsFailed",
    Outcome.UNREACHABLE: "GatewayUnreachable",
    Outcome.WAITING: "Waiting",
    Outcome.PROMISED: "Waiting",
    Outcome.RELEASED: "WorkersReleased",
    Outcome.REFUSED: "RemovalsRefused",
    Outcome.OVER: "ActionsOver",
    Outcome.STRAY: "StrayEvents",
    Outcome.LATE: "HooksNearTimeout",
    Outcome.SEED_DOWN: "SeedsDown",
}
_ERRORS: Final = (Outcome.FAILED, Outcome.REFUSED, Outcome.LATE, Outcome.SEED_DOWN)
_WARNINGS: Final = (Outcome.UNREACHABLE, Outcome.STRAY)

logger = Logger(service="scale-in")
metrics = Metrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "fleetstream"), service="scale-in")
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


def note(step: Record) -> None:
    """One step, as a line of the log and as metrics."""
    log = logger.error if step.outcome in _ERRORS else logger.warning if step.outcome in _WARNINGS else logger.info
    log(
        f"{step.step}: {step.outcome}",
        step=str(step.step),
        outcome=str(step.outcome),
        reason=step.reason,
        node=step.node,
        instance=step.instance,
        group=step.group,
        attempt=step.attempt,
        milliseconds=round(step.seconds * 1000),
    )
    metrics.add_metric(_METRICS[step.outcome], MetricUnit.Count, 1)
    if step.seconds:
        metrics.add_metric("StepDuration", MetricUnit.Milliseconds, step.seconds * 1000)


def count(name: str, number: int) -> None:
    """How many of something there are, or are left, as a metric."""
    metrics.add_metric(name, MetricUnit.Count, number)


@cache
def connected() -> tuple[World, PatientGateway]:
    """What stays between invocations: connections, and the agenda."""
    return world(Settings.from_environment(), note, count)


@metrics.log_metrics
def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A batch of the queue; the answer names the messages that shall come again."""
    here, gateway = connected()
    gateway.invoked()
    metrics.add_metric("Messages", MetricUnit.Count, len(event["Records"]))
    return dict(
        process_partial_response(
            event=event, record_handler=partial(take, here), processor=processor, context=context
        )
    )


def take(here: World, record: SQSRecord) -> None:
    """One record. What it raises brings the message back."""
    try:
        asked = read(record.body)
    except MalformedEventError as error:
        metrics.add_metric("MalformedMessages", MetricUnit.Count, 1)
        logger.error(
            "malformed message dropped",
            reason=str(error),
            message_id=record.message_id,
            content=record.body[:LOGGED],
        )
        return
    try:
        match asked:
            case Action():
                advance(here, asked)
            case Sweep():
                sweep(here)
            case Needless():
                metrics.add_metric("NeedlessMessages", MetricUnit.Count, 1)
                logger.info("nothing to do", reason=asked.reason, message_id=record.message_id)
    except Exception:
        metrics.add_metric("FailedMessages", MetricUnit.Count, 1)
        logger.exception("message comes again", message_id=record.message_id, content=record.body[:LOGGED])
        raise
