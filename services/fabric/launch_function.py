"""What a launch function does with its event, around its own look at the machine."""

import os
from collections.abc import Callable
from typing import Any, Final

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from services.fabric.account import AutoScaling, Ec2
from services.fabric.errors import FabricServiceError
from services.fabric.launch import MARGIN_SECONDS, PATIENCE_SECONDS, Launches, Outcome, Verdict, serve
from services.fabric.lifecycle import LAUNCHING, Action, Instance, MalformedEventError, parse

_METRICS: Final = {
    Outcome.CONTINUED: "LaunchesContinued",
    Outcome.ABANDONED: "LaunchesAbandoned",
    Outcome.STRAY: "StrayEvents",
    Outcome.OVER: "ActionsOver",
    Outcome.NOT_YET: "LaunchesNotYet",
}


class LaunchFunction:
    """The log, the metrics and the clients of one launch function."""

    def __init__(self, service: str) -> None:
        self.logger = Logger(service=service)
        self.metrics = Metrics(
            namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "fleetstream"), service=service
        )

    def serve(self, event: dict[str, Any], context: Any, look: Callable[[Instance], Verdict]) -> dict[str, str]:
        """Serves one event. What it raises makes Lambda try the event again."""
        try:
            action = parse(event, LAUNCHING)
        except MalformedEventError as error:
            # Trying it again would find the same.
            self.metrics.add_metric("MalformedMessages", MetricUnit.Count, 1)
            self.logger.error("malformed event dropped", reason=str(error), content=event)
            return {"outcome": "malformed"}
        launches = Launches(
            cluster=required("FLEETSTREAM_CLUSTER"),
            groups=AutoScaling(boto3.client("autoscaling")),
            machines=Ec2(boto3.client("ec2")),
            record=self._record,
        )
        left = context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS
        return {"outcome": serve(launches, action, look, min(PATIENCE_SECONDS, left))}

    def _record(self, action: Action, outcome: Outcome, reason: str) -> None:
        log = {
            Outcome.ABANDONED: self.logger.error,
            Outcome.STRAY: self.logger.warning,
            Outcome.NOT_YET: self.logger.warning,
        }.get(outcome, self.logger.info)
        log(
            f"launch: {outcome}",
            outcome=str(outcome),
            reason=reason,
            instance=action.instance,
            group=action.group,
            hook=action.hook,
        )
        self.metrics.add_metric(_METRICS[outcome], MetricUnit.Count, 1)


def required(name: str) -> str:
    """A variable of the function's environment. Raises `FabricServiceError`."""
    value = os.environ.get(name)
    if not value:
        raise FabricServiceError(f"{name} is not set in the function's environment: the program sets it")
    return value
