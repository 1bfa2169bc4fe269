"""What belongs to an Auto Scaling group: life cycle hooks, scaling policies and scheduled actions."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, AutoName, Resource
from envs.sandbox.provider.schema import block, boolean, integer, text
from envs.sandbox.provider.translate import answer, request

_HOOK_SOURCE: Final = "internal/service/autoscaling/lifecycle_hook.go"
_POLICY_SOURCE: Final = "internal/service/autoscaling/policy.go"
_SCHEDULE_SOURCE: Final = "internal/service/autoscaling/schedule.go"
_GONE: Final = ("ValidationError",)
_HOOK: Final = {
    "autoscalingGroupName": text(required=True, api="AutoScalingGroupName"),
    "defaultResult": text(computed=True),
    "heartbeatTimeout": integer(),
    "lifecycleTransition": text(required=True),
    "name": text(computed=True, api="LifecycleHookName"),
    "notificationMetadata": text(),
    "notificationTargetArn": text(api="NotificationTargetARN"),
    "roleArn": text(api="RoleARN"),
}


def _named(identifier: str, prior: Args) -> tuple[str, str]:
    """Group and name, also of an id to import: ``<group>/<name>`` (`resourceLifecycleHookImport`)."""
    if group := prior.get("autoscalingGroupName"):
        return group, identifier
    group, _, name = identifier.partition("/")
    return group, name


# Life cycle hooks -----------------------------------------------------------------------------------------------


def _put_hook(aws: Aws, args: Args) -> str:
    aws.client("autoscaling").put_lifecycle_hook(**request(_HOOK, args))
    return args["name"]


def _read_hook(aws: Aws, identifier: str, prior: Args) -> Args | None:
    group, name = _named(identifier, prior)
    ask = aws.client("autoscaling").describe_lifecycle_hooks
    hooks = find(
        lambda: ask(AutoScalingGroupName=group, LifecycleHookNames=[name])["LifecycleHooks"],
        *_GONE,
    )
    return {**answer(_HOOK, hooks[0]), "id": name} if hooks else None


def _update_hook(aws: Aws, _: str, __: Args, new: Args, ___: set[str]) -> None:
    _put_hook(aws, new)


def _delete_hook(aws: Aws, identifier: str, state: Args) -> None:
    with ignoring(*_GONE):
        aws.client("autoscaling").delete_lifecycle_hook(
            AutoScalingGroupName=state["autoscalingGroupName"], LifecycleHookName=identifier
        )


LIFECYCLE_HOOK: Final = Resource(
    type_name="aws:autoscaling/lifecycleHook:LifecycleHook",
    inputs=_HOOK,
    outputs=(),
    replaces={"name": _HOOK_SOURCE},
    create=_put_hook,
    read=_read_hook,
    update=_update_hook,
    delete=_delete_hook,
    name=AutoName(longest=255),
    identity=("autoscalingGroupName", "name"),
)


# Scaling policies -----------------------------------------------------------------------------------------------

_PREDEFINED: Final = {"predefinedMetricType": text(required=True), "resourceLabel": text()}
_POLICY: Final = {
    "autoscalingGroupName": text(required=True, api="AutoScalingGroupName"),
    "enabled": boolean(default=True),
    "estimatedInstanceWarmup": integer(),
    "name": text(computed=True, api="PolicyName"),
    "policyType": text(default="SimpleScaling"),
    "targetTrackingConfiguration": block(
        {
            "disableScaleIn": boolean(default=False),
            "predefinedMetricSpecification": block(_PREDEFINED),
            "targetValue": integer(required=True),
        }
    ),
}


def _put_policy(aws: Aws, args: Args) -> str:
    aws.client("autoscaling").put_scaling_policy(**request(_POLICY, args))
    return args["name"]


def _read_policy(aws: Aws, identifier: str, prior: Args) -> Args | None:
    group, name = _named(identifier, prior)
    ask = aws.client("autoscaling").describe_policies
    told = find(lambda: ask(AutoScalingGroupName=group, PolicyNames=[name])["ScalingPolicies"], *_GONE)
    if not told:
        return None
    found: dict[str, Any] = answer(_POLICY, told[0])
    if tracking := found.get("targetTrackingConfiguration"):
        tracking["targetValue"] = int(tracking["targetValue"])
    return {**found, "arn": told[0]["PolicyARN"], "id": name}


def _update_policy(aws: Aws, _: str, __: Args, new: Args, ___: set[str]) -> None:
    _put_policy(aws, new)


def _delete_policy(aws: Aws, identifier: str, state: Args) -> None:
    with ignoring(*_GONE):
        aws.client("autoscaling").delete_policy(
            AutoScalingGroupName=state["autoscalingGroupName"], PolicyName=identifier
        )


POLICY: Final = Resource(
    type_name="aws:autoscaling/policy:Policy",
    inputs=_POLICY,
    outputs=("arn",),
    replaces=dict.fromkeys(("autoscalingGroupName", "name"), _POLICY_SOURCE),
    create=_put_policy,
    read=_read_policy,
    update=_update_policy,
    delete=_delete_policy,
    name=AutoName(longest=255),
    identity=("autoscalingGroupName", "name"),
)

# Scheduled actions ----------------------------------------------------------------------------------------------

_UNCHANGED: Final = -1
"""For a number that the action leaves alone (`resourceScheduleCreate`)."""
_SCHEDULE_NUMBERS: Final = ("desiredCapacity", "maxSize", "minSize")
_SCHEDULE: Final = {
    "autoscalingGroupName": text(required=True, api="AutoScalingGroupName"),
    "desiredCapacity": integer(default=0),
    "maxSize": integer(default=0),
    "minSize": integer(default=0),
    "recurrence": text(required=True),
    "scheduledActionName": text(required=True),
}


def _put_schedule(aws: Aws, args: Args) -> str:
    said = {name: value for name, value in args.items() if name not in _SCHEDULE_NUMBERS or value != _UNCHANGED}
    aws.client("autoscaling").put_scheduled_update_group_action(**request(_SCHEDULE, said))
    return args["scheduledActionName"]


def _read_schedule(aws: Aws, identifier: str, prior: Args) -> Args | None:
    group, name = _named(identifier, prior)
    ask = aws.client("autoscaling").describe_scheduled_actions
    told = find(
        lambda: ask(AutoScalingGroupName=group, ScheduledActionNames=[name])["ScheduledUpdateGroupActions"], *_GONE
    )
    if not told:
        return None
    unchanged = dict.fromkeys(_SCHEDULE_NUMBERS, _UNCHANGED)
    return {**unchanged, **answer(_SCHEDULE, told[0]), "arn": told[0]["ScheduledActionARN"], "id": name}


def _update_schedule(aws: Aws, _: str, __: Args, new: Args, ___: set[str]) -> None:
    _put_schedule(aws, new)


def _delete_schedule(aws: Aws, identifier: str, state: Args) -> None:
    with ignoring(*_GONE):
        aws.client("autoscaling").delete_scheduled_action(
            AutoScalingGroupName=state["autoscalingGroupName"], ScheduledActionName=identifier
        )


SCHEDULE: Final = Resource(
    type_name="aws:autoscaling/schedule:Schedule",
    inputs=_SCHEDULE,
    outputs=("arn",),
    replaces=dict.fromkeys(("autoscalingGroupName", "scheduledActionName"), _SCHEDULE_SOURCE),
    create=_put_schedule,
    read=_read_schedule,
    update=_update_schedule,
    delete=_delete_schedule,
    identity=("autoscalingGroupName", "scheduledActionName"),
)

RESOURCES: Final = (LIFECYCLE_HOOK, POLICY, SCHEDULE)
