"""Life cycle actions of Auto Scaling: the events that announce them, and what a group and a machine tell. Pure.

Events are best effort: they come late, twice or not at all (EC2 Auto Scaling User Guide, "Use EventBridge to handle
Auto Scaling events"). So an event only says where to look; whether a hook waits is read from the group itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from services.fabric.errors import FabricServiceError

CLUSTER_TAG: Final = "cluster"
NODE_TAG: Final = "node"
ROLE_TAG: Final = "role"
SNAPSHOTS_TAG: Final = "snapshots"
"""On a seed's data disk, with the cluster's name: by this tag alone Data Lifecycle Manager finds it."""
SEED: Final = "seed"

LAUNCHING: Final = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING: Final = "autoscaling:EC2_INSTANCE_TERMINATING"
DETAIL_TYPES: Final[Mapping[str, str]] = {
    LAUNCHING: "EC2 Instance-launch Lifecycle Action",
    TERMINATING: "EC2 Instance-terminate Lifecycle Action",
}
SOURCE: Final = "aws.autoscaling"

IN_SERVICE: Final = "InService"
PENDING: Final = "Pending"
WAITS: Final[Mapping[str, str]] = {LAUNCHING: "Pending:Wait", TERMINATING: "Terminating:Wait"}
RETAINED: Final = "Terminating:Retained"

CONTINUE: Final = "CONTINUE"
ABANDON: Final = "ABANDON"


class MalformedEventError(FabricServiceError):
    """What arrived is no event of that kind: sending it again cannot help."""


class ActionOverError(FabricServiceError):
    """Auto Scaling waits for no answer: the action was completed, timed out, or never was."""


@dataclass(frozen=True)
class Action:
    """A machine that a hook holds, until somebody completes the action.

    It carries no token: the machine's id names the action as well, and never expires.
    """

    group: str
    hook: str
    instance: str
    began: float
    """When it was first heard of, in seconds since the epoch."""
    attempt: int = 0
    """How often it was looked at again."""


@dataclass(frozen=True)
class Hook:
    """A life cycle hook of a group."""

    name: str
    transition: str
    global_seconds: int
    """Heartbeats or not: after this the action ends with the hook's default."""


@dataclass(frozen=True)
class Group:
    """An Auto Scaling group."""

    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    hooks: Mapping[str, Hook] = field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """A machine as its group sees it."""

    instance: str
    group: str
    state: str


@dataclass(frozen=True)
class Instance:
    """A machine as EC2 sees it."""

    id: str
    state: str
    tags: Mapping[str, str] = field(default_factory=dict)
    zone: str = ""
    address: str = ""
    vpc: str = ""

    @property
    def node(self) -> str:
        """The name of its node; empty when it never took one."""
        return self.tags.get(NODE_TAG, "")

    @property
    def halted(self) -> bool:
        """Whether nothing runs on it any more."""
        return self.state in ("stopped", "terminated")


class Groups(Protocol):
    """Auto Scaling, as far as a function speaks to it."""

    def group(self, name: str) -> Group | None:
        """A group with its hooks; None when there is none of that name."""
        ...

    def member(self, instance: str) -> Member | None:
        """What the machine's group does with it; None when it is in none."""
        ...

    def heartbeat(self, action: Action) -> None:
        """Asks for another heartbeat time-out. Raises `ActionOverError`."""
        ...

    def complete(self, action: Action, result: str) -> None:
        """Answers the hook. Raises `ActionOverError`."""
        ...


def parse(event: Mapping[str, Any], transition: str) -> Action:
    """The action that an EventBridge event announces. Raises `MalformedEventError`.

    Shape: EC2 Auto Scaling User Guide, "Amazon EC2 Auto Scaling event reference".
    """
    expected = DETAIL_TYPES[transition]
    kind = event.get("detail-type")
    if event.get("source") != SOURCE or kind != expected:
        raise MalformedEventError(f"an event {kind!r} of {event.get('source')!r}, not {expected!r} of {SOURCE!r}")
    detail = event.get("detail")
    if not isinstance(detail, Mapping):
        raise MalformedEventError("the event has no detail")
    if detail.get("LifecycleTransition") != transition:
        raise MalformedEventError(f"LifecycleTransition is {detail.get('LifecycleTransition')!r}, not {transition!r}")
    return Action(
        group=_text(detail, "AutoScalingGroupName"),
        hook=_text(detail, "LifecycleHookName"),
        instance=_text(detail, "EC2InstanceId"),
        began=_time(event.get("time")),
    )


def stray(groups: Groups, cluster: str, action: Action, transition: str) -> str:
    """Why an action is none of ours, or over; empty when its machine waits for an answer to this hook."""
    group = groups.group(action.group)
    if group is None:
        return f"there is no group {action.group} any more"
    if group.tags.get(CLUSTER_TAG) != cluster:
        return f"group {action.group} belongs to cluster {group.tags.get(CLUSTER_TAG)!r}, not to {cluster!r}"
    hook = group.hooks.get(action.hook)
    if hook is None or hook.transition != transition:
        return f"group {action.group} has no hook {action.hook} for {transition}"
    member = groups.member(action.instance)
    if member is None or member.group != action.group:
        return f"group {action.group} has no instance {action.instance} any more"
    if member.state != WAITS[transition]:
        return f"instance {action.instance} is {member.state}: the action is over"
    return ""


def _text(detail: Mapping[str, Any], name: str) -> str:
    value = detail.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedEventError(f"detail.{name} is {value!r}, not a name")
    return value


def _time(value: Any) -> float:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise MalformedEventError(f"time is {value!r}, not a time") from None
    if moment.tzinfo is None:
        raise MalformedEventError(f"time is {value!r}: it names no time zone")
    return moment.timestamp()
