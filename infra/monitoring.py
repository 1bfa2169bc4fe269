"""Monitoring: alarms that tell people by mail through an encrypted topic, and one dashboard of the same list."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.alarms import Alarm
from infra.keys import DataKey, DataKeyArgs
from infra.policies import Statement, document
from infra.sections import Monitoring as MonitoringSettings

_SERVICE: Final = "cloudwatch.amazonaws.com"
_TOPIC_ACTIONS: Final = tuple(
    f"sns:{action}"
    for action in (
        "AddPermission",
        "DeleteTopic",
        "GetTopicAttributes",
        "ListSubscriptionsByTopic",
        "Publish",
        "RemovePermission",
        "SetTopicAttributes",
        "Subscribe",
    )
)
"""All that a topic's policy may name: SNS refuses ``sns:*`` ("action out of service scope")."""
_COMPARISONS: Final = {"above": "GreaterThanThreshold", "below": "LessThanThreshold"}
_MINUTE: Final = 60
_COLUMNS: Final = 3
_WIDTH: Final = 8
_HEIGHT: Final = 6
"""Of a chart; a dashboard is 24 units wide (CloudWatch API Reference, "Dashboard Body Structure and Syntax")."""


@dataclass(frozen=True, kw_only=True)
class MonitoringArgs:
    """Who is told, and of what."""

    settings: MonitoringSettings
    alarms: Sequence[Alarm]
    region: str
    account: pulumi.Input[str]
    dashboard_name: str
    key_alias: str
    key_deletion_days: int


class Monitoring(pulumi.ComponentResource):
    """The topic, its subscriptions, the alarms that publish to it, and the dashboard."""

    topic_arn: pulumi.Output[str]
    dashboard_name: pulumi.Output[str]

    def __init__(self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:monitoring:Monitoring", name, None, opts)
        self._name = name
        self._args = args
        self.topic_arn = self._topic()
        for address in args.settings.alarm_emails:
            # Whoever owns the address confirms by mail; until then it is told nothing.
            aws.sns.TopicSubscription(
                f"{name}-{address}", topic=self.topic_arn, protocol="email", endpoint=address, opts=self._child()
            )
        for alarm in args.alarms:
            self._alarm(alarm)
        dashboard = aws.cloudwatch.Dashboard(
            f"{name}-dashboard",
            dashboard_name=args.dashboard_name,
            dashboard_body=pulumi.Output.json_dumps({"widgets": self._widgets()}),
            opts=self._child(),
        )
        self.dashboard_name = dashboard.dashboard_name
        self.register_outputs({"topic_arn": self.topic_arn, "dashboard_name": self.dashboard_name})

    def _child(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self)

    def _own_alarms(self) -> dict[str, dict[str, Any]]:
        """Conditions: CloudWatch, when it speaks for an alarm of this account and region."""
        account = pulumi.Output.from_input(self._args.account)
        alarms = pulumi.Output.concat("arn:aws:cloudwatch:", self._args.region, ":", account, ":alarm:*")
        return {"StringEquals": {"aws:SourceAccount": account}, "ArnLike": {"aws:SourceArn": alarms}}

    def _topic(self) -> pulumi.Output[str]:
        name, args = self._name, self._args
        root = pulumi.Output.concat("arn:aws:iam::", args.account, ":root")
        key = DataKey(
            name,
            DataKeyArgs(
                description="Alarms on their way to people",
                alias=args.key_alias,
                deletion_days=args.key_deletion_days,
                # What it encrypts is gone as soon as it was told.
                protect=False,
                # CloudWatch may use a key of ours, and cannot use the one that AWS manages for SNS (Amazon SNS
                # Developer Guide, "Enable compatibility between event sources from AWS services and encrypted
                # topics"). The first statement is KMS's default: IAM decides who else.
                policy=document(
                    Statement(sid="Account", actions=["kms:*"], principals={"AWS": root}, resources=["*"]),
                    Statement(
                        sid="Alarms",
                        actions=["kms:Decrypt", "kms:GenerateDataKey"],
                        principals={"Service": _SERVICE},
                        resources=["*"],
                        conditions=self._own_alarms(),
                    ),
                ),
            ),
            opts=self._child(),
        )
        topic = aws.sns.Topic(
            f"{name}-alarms",
            display_name="fleetstream",
            kms_master_key_id=key.arn,
            opts=self._child(),
        )
        aws.sns.TopicPolicy(
            f"{name}-alarms",
            arn=topic.arn,
            policy=document(
                Statement(
                    sid="TlsOnly",
                    effect="Deny",
                    principals="*",
                    actions=_TOPIC_ACTIONS,
                    resources=[topic.arn],
                    conditions={"Bool": {"aws:SecureTransport": "false"}},
                ),
                Statement(
                    sid="Alarms",
                    principals={"Service": _SERVICE},
                    actions=["sns:Publish"],
                    resources=[topic.arn],
                    conditions=self._own_alarms(),
                ),
            ),
            opts=self._child(),
        )
        return topic.arn

    def _alarm(self, alarm: Alarm) -> None:
        single = len(alarm.metrics) == 1 and alarm.worst_of is None
        aws.cloudwatch.MetricAlarm(
            f"{self._name}-{alarm.name}",
            alarm_description=alarm.about,
            comparison_operator=_COMPARISONS[alarm.comparison],
            threshold=alarm.threshold,
            evaluation_periods=alarm.minutes,
            datapoints_to_alarm=alarm.times,
            treat_missing_data=alarm.missing,
            alarm_actions=[self.topic_arn],
            ok_actions=[self.topic_arn],
            namespace=alarm.namespace if single else None,
            metric_name=alarm.metrics[0] if single else None,
            dimensions=alarm.dimensions if single else None,
            statistic=alarm.statistic if single else None,
            period=_MINUTE if single else None,
            metric_queries=None if single else _queries(alarm),
            opts=self._child(),
        )

    def _widgets(self) -> list[dict[str, Any]]:
        return [
            {
                "type": "metric",
                "x": number % _COLUMNS * _WIDTH,
                "y": number // _COLUMNS * _HEIGHT,
                "width": _WIDTH,
                "height": _HEIGHT,
                "properties": {
                    "title": alarm.name,
                    "region": self._args.region,
                    "stat": alarm.statistic,
                    "period": _MINUTE,
                    "metrics": _chart(alarm),
                    "annotations": {"horizontal": [{"label": f"alarm {alarm.comparison}", "value": alarm.threshold}]},
                },
            }
            for number, alarm in enumerate(self._args.alarms)
        ]


def _queries(alarm: Alarm) -> list[aws.cloudwatch.MetricAlarmMetricQueryArgs]:
    queries = alarm.queries()
    return [aws.cloudwatch.MetricAlarmMetricQueryArgs(**each, return_data=each is queries[-1]) for each in queries]


def _chart(alarm: Alarm) -> list[list[Any]]:
    if alarm.worst_of is None and len(alarm.metrics) == 1:
        named = [part for pair in alarm.dimensions.items() for part in pair]
        return [[alarm.namespace, alarm.metrics[0], *named]]
    queries = alarm.queries()
    return [[{**each, "label": alarm.name, "visible": each is queries[-1]}] for each in queries]
