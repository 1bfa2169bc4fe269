"""CloudWatch: alarms and dashboards that AWS would not take are refused, and an alarm's tags go with it.

Amazon CloudWatch API Reference, PutMetricAlarm, MetricDataQuery and PutDashboard; User Guide, "Dashboard Body
Structure and Syntax".
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from moto.cloudwatch import urls
from moto.cloudwatch.exceptions import DashboardInvalidInputError, InvalidParameterCombination, ValidationError
from moto.cloudwatch.models import Alarm, CloudWatchBackend, Dashboard, cloudwatch_backends

from envs.sandbox.aws.host import Host

_COMPARISONS: Final = (
    "GreaterThanOrEqualToThreshold",
    "GreaterThanThreshold",
    "LessThanThreshold",
    "LessThanOrEqualToThreshold",
)
_STATISTICS: Final = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_MISSING: Final = ("breaching", "notBreaching", "ignore", "missing")
_ACTIONS: Final = 5
_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
_WIDGETS: Final = 500


class AlarmsBackend(CloudWatchBackend):
    """moto's backend, with AWS's refusals."""

    @property
    def _url_module(self) -> Any:
        return urls

    def put_metric_alarm(self, *arguments: Any, **options: Any) -> Alarm:
        if options.get("rule") is None:
            self._check(options)
        return super().put_metric_alarm(*arguments, **options)

    def delete_alarms(self, alarm_names: list[str]) -> None:
        for name in alarm_names:
            if name in self.alarms:
                self.tagger.delete_all_tags_for_resource(self.alarms[name].alarm_arn)
        super().delete_alarms(alarm_names)

    def put_dashboard(self, name: str, body: str) -> Dashboard:
        widgets = json.loads(body).get("widgets")
        if not isinstance(widgets, list) or len(widgets) > _WIDGETS:
            raise DashboardInvalidInputError(f"The dashboard body needs a list of at most {_WIDGETS} widgets")
        for number, widget in enumerate(widgets):
            if widget.get("type") == "metric" and "region" not in widget.get("properties", {}):
                raise DashboardInvalidInputError(f"/widgets/{number}/properties: should have property 'region'")
        return super().put_dashboard(name, body)

    def _check(self, alarm: dict[str, Any]) -> None:
        queries, metric = alarm.get("metric_data_queries") or [], alarm.get("metric_name")
        if bool(queries) is bool(metric):
            raise ValidationError("Exactly one of the parameters MetricName and Metrics must be set.")
        if queries and sum(str(query.return_data).lower() == "true" for query in queries) != 1:
            raise ValidationError("Exactly one element of the metrics list should return data.")
        if metric and bool(alarm.get("statistic")) is bool(alarm.get("extended_statistic")):
            raise InvalidParameterCombination("Exactly one of Statistic and ExtendedStatistic must be specified.")
        _one_of("ComparisonOperator", alarm.get("comparison_operator"), _COMPARISONS)
        _one_of("Statistic", alarm.get("statistic") or "Sum", _STATISTICS)
        _one_of("TreatMissingData", alarm.get("treat_missing_data") or "missing", _MISSING)
        if metric:
            _check_time(alarm.get("period") or 0, alarm.get("evaluation_periods") or 0)
        for key in ("alarm_actions", "ok_actions", "insufficient_data_actions"):
            self._check_actions(alarm.get(key) or [])

    def _check_actions(self, arns: Sequence[str]) -> None:
        if len(arns) > _ACTIONS:
            raise ValidationError(f"An alarm has at most {_ACTIONS} actions for a state.")
        for arn in arns:
            parts = arn.split(":")
            if len(parts) < 6 or parts[0] != "arn":
                raise ValidationError(f"Invalid arn syntax: {arn}")
            if parts[2] == "sns" and parts[3] != self.region_name:
                raise ValidationError(f"Invalid region {parts[3]} specified. Only {self.region_name} is supported.")


def _one_of(name: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValidationError(f"{name} must be one of {', '.join(allowed)}, not {value}")


def _check_time(period: int, periods: int) -> None:
    if period not in (10, 20, 30) and (period < 60 or period % 60):
        raise ValidationError("Period must be 10, 20, 30 or a multiple of 60.")
    longest = 7 * _DAY if period >= _HOUR else _DAY
    if periods < 1 or period * periods > longest:
        raise ValidationError(f"Metrics cannot be checked across more than {longest} seconds.")


def install(_host: Host) -> None:
    """Puts this backend in the place of moto's."""
    cloudwatch_backends.backend = AlarmsBackend
