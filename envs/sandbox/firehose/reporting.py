"""What a stream tells CloudWatch: metrics a delivered parcel, and its errors in the log group that it was given.

Names and units: Firehose Developer Guide, "Monitor Firehose with CloudWatch metrics"; error lines: "Monitor Firehose
using CloudWatch Logs". Neither may hold up the delivery: what cannot be told is logged here and left.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from envs.errors import FleetstreamError
from envs.sandbox.firehose.settings import Settings

log = logging.getLogger(__name__)

NAMESPACE: Final = "AWS/Firehose"
_UNITS: Final = {"DeliveryToS3.Bytes": "Bytes", "DeliveryToS3.DataFreshness": "Seconds"}
_ERRORS_A_SECOND: Final = 1.0
"""Errors are sampled when they come faster than this, as Firehose does."""


class Reporter:
    """Reports for one stream. The metrics are the service's own; the log is written with the stream's role."""

    def __init__(self, settings: Settings, cloudwatch: Any, logs: Any) -> None:
        self._settings = settings
        self._cloudwatch = cloudwatch
        self._logs = logs
        self._last_error = float("-inf")

    def metrics(self, values: Mapping[str, float]) -> None:
        """Publishes metrics of the stream (dimension DeliveryStreamName), all at this moment."""
        dimensions = [{"Name": "DeliveryStreamName", "Value": self._settings.name}]
        data = [
            {"MetricName": name, "Value": value, "Unit": _UNITS.get(name, "Count"), "Dimensions": dimensions}
            for name, value in values.items()
        ]
        try:
            self._cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
        except (ClientError, BotoCoreError) as error:
            log.warning("metrics not published: %s", error)

    def error(self, code: str, message: str) -> None:
        """Logs an error of a delivery or an invocation."""
        log.warning("%s: %s", code, message)
        group, stream, now = self._settings.log_group, self._settings.log_stream, time.monotonic()
        if not group or not stream or now - self._last_error < 1 / _ERRORS_A_SECOND:
            return
        self._last_error = now
        line = {
            "deliveryStreamARN": self._settings.arn,
            "destination": f"arn:aws:s3:::{self._settings.bucket}",
            "deliveryStreamVersionId": self._settings.version,
            "message": message,
            "errorCode": code,
        }
        if self._settings.transformation is not None and code.startswith("Lambda."):
            line["processor"] = self._settings.transformation.function_arn
        event = {"timestamp": time.time_ns() // 1_000_000, "message": orjson.dumps(line).decode()}
        try:
            self._logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[event])
        except (ClientError, BotoCoreError, FleetstreamError) as failed:
            log.warning("error not written to log group %s: %s", group, failed)
