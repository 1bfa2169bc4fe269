"""What a group did and why, and what it reports to EventBridge.

Sources: Auto Scaling API Reference (Activity, DescribeScalingActivities), Amazon EC2 Auto Scaling User Guide ("Amazon
EC2 Auto Scaling event reference", "Verify a scaling activity").
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from moto.moto_api._internal import mock_random

from envs.sandbox.aws import events
from envs.sandbox.aws.autoscaling_hooks import LAUNCHING, TERMINATING, Action
from envs.sandbox.aws.clock import CLOCK

_REMEMBERED: Final = 100
"""AWS tells the activities of the last six weeks."""
_RUNNING: Final = ("InProgress", "MidLifecycleAction")
_WAITS: Final = {
    LAUNCHING: ("EC2 Instance-launch Lifecycle Action", "EC2", "AutoScalingGroup"),
    TERMINATING: ("EC2 Instance-terminate Lifecycle Action", "AutoScalingGroup", "EC2"),
}


@dataclass
class Activity:
    """One launch or one termination."""

    group: str
    group_arn: str
    description: str
    cause: str
    details: Mapping[str, str]
    instance: str = ""
    id: str = field(default_factory=lambda: str(mock_random.uuid4()))
    started: datetime = field(default_factory=CLOCK.date)
    ended: datetime | None = None
    status: str = "InProgress"
    message: str = ""

    @property
    def launches(self) -> bool:
        """Whether it brings an instance, or ends one."""
        return self.description.startswith("Launching")

    def told(self) -> dict[str, Any]:
        """As the API shows it."""
        shown = {
            "ActivityId": self.id,
            "AutoScalingGroupName": self.group,
            "AutoScalingGroupARN": self.group_arn,
            "Description": self.description,
            "Cause": self.cause,
            "StartTime": self.started,
            "StatusCode": self.status,
            "Progress": 50 if self.status in _RUNNING else 100,
        }
        more = {"EndTime": self.ended, "StatusMessage": self.message}
        return shown | {name: value for name, value in more.items() if value}


class Journal:
    """The activities of a group, newest first; what ends is reported."""

    def __init__(self, group: str, arn: str, account: str, region: str) -> None:
        self.activities: list[Activity] = []
        self._group = group
        self._arn = arn
        self._account = account
        self._region = region

    def begin(self, description: str, cause: str, details: Mapping[str, str], instance: str = "") -> Activity:
        """Notes an activity that goes on."""
        made = Activity(self._group, self._arn, description, cause, details, instance)
        self.activities = [made, *self.activities][:_REMEMBERED]
        return made

    def end(self, activity: Activity, status: str = "Successful", message: str = "") -> None:
        """Notes how it ended, and reports it."""
        activity.status, activity.message, activity.ended = status, message, CLOCK.date()
        kind, good = "Launch" if activity.launches else "Terminate", status == "Successful"
        origin, destination = ("EC2", "AutoScalingGroup") if activity.launches else ("AutoScalingGroup", "EC2")
        machine = f"arn:aws:ec2:{self._region}:{self._account}:instance/{activity.instance}"
        detail = {
            "StatusCode": "InProgress" if good else "Failed",
            "Description": activity.description,
            "AutoScalingGroupName": self._group,
            "ActivityId": activity.id,
            "RequestId": activity.id,
            "Details": dict(activity.details),
            "StatusMessage": message,
            "StartTime": _stamp(activity.started),
            "EndTime": _stamp(activity.ended),
            "EC2InstanceId": activity.instance,
            "Cause": activity.cause,
            "Origin": origin,
            "Destination": destination,
        }
        detail_type = f"EC2 Instance {kind} {'Successful' if good else 'Unsuccessful'}"
        self._publish(detail_type, [self._arn, machine] if activity.instance else [self._arn], detail)

    def wait(self, activity: Activity, actions: list[Action]) -> None:
        """Notes that an instance waits, and reports each wait."""
        activity.status = "MidLifecycleAction"
        for action in actions:
            detail_type, origin, destination = _WAITS[action.hook.transition]
            metadata = {"NotificationMetadata": action.hook.metadata} if action.hook.metadata else {}
            detail = {
                "LifecycleActionToken": action.token,
                "AutoScalingGroupName": self._group,
                "LifecycleHookName": action.hook.name,
                "EC2InstanceId": action.instance,
                "LifecycleTransition": action.hook.transition,
                **metadata,
                "Origin": origin,
                "Destination": destination,
            }
            self._publish(detail_type, [self._arn], detail)

    def _publish(self, detail_type: str, resources: list[str], detail: dict[str, Any]) -> None:
        events.publish(
            self._account,
            self._region,
            source="aws.autoscaling",
            detail_type=detail_type,
            resources=resources,
            detail=detail,
        )


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
