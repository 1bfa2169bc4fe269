"""Auto Scaling groups, with the waits for their capacity."""

import re
from collections.abc import Sequence
from typing import Any, Final

from envs.sandbox.provider.aws import Aws, ignoring
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Args, AutoName, Resource
from envs.sandbox.provider.schema import block, boolean, integer, sequence, text, unordered
from envs.sandbox.provider.translate import answer, request

_SOURCE: Final = "internal/service/autoscaling/group.go"
_DURATION: Final = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_DRAIN_MINUTES: Final = 10.0
_PROTECTIONS: Final = 50
"""Instances that one call of SetInstanceProtection takes."""

_HOOK: Final = {
    "defaultResult": text(computed=True),
    "heartbeatTimeout": integer(),
    "lifecycleTransition": text(required=True),
    "name": text(required=True, api="LifecycleHookName"),
    "notificationMetadata": text(),
    "notificationTargetArn": text(api="NotificationTargetARN"),
    "roleArn": text(api="RoleARN"),
}
_GROUP: Final = {
    "availabilityZones": unordered(text(), computed=True),
    "defaultCooldown": integer(computed=True),
    "desiredCapacity": integer(computed=True),
    "healthCheckGracePeriod": integer(default=300),
    "healthCheckType": text(computed=True),
    "instanceLifecyclePolicy": block({"retentionTriggers": block({"terminateHookAbandon": text()})}),
    "launchTemplate": block(
        {
            "id": text(computed=True, api="LaunchTemplateId"),
            "name": text(computed=True, api="LaunchTemplateName"),
            "version": text(computed=True),
        },
        computed=True,
    ),
    "maxSize": integer(required=True),
    "minSize": integer(required=True),
    "name": text(computed=True, api="AutoScalingGroupName"),
    "protectFromScaleIn": boolean(default=False, api="NewInstancesProtectedFromScaleIn"),
    "serviceLinkedRoleArn": text(computed=True, api="ServiceLinkedRoleARN"),
    "targetGroupArns": unordered(text(), computed=True, api="TargetGroupARNs"),
    "terminationPolicies": sequence(text()),
    "vpcZoneIdentifiers": unordered(text(), computed=True),
}
_CAPACITY: Final = ("desiredCapacity", "maxSize", "minSize")


def _group(aws: Aws, name: str) -> dict[str, Any] | None:
    told = aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    return next(iter(told["AutoScalingGroups"]), None)


def _wanted(args: Args, *names: str) -> dict[str, Any]:
    wanted = request(_GROUP, args, [name for name in names if name != "vpcZoneIdentifiers"])
    if "vpcZoneIdentifiers" in names and args.get("vpcZoneIdentifiers"):
        wanted["VPCZoneIdentifier"] = ",".join(args["vpcZoneIdentifiers"])
    # An id and a name of a launch template exclude each other.
    if "LaunchTemplateId" in wanted.get("LaunchTemplate", {}):
        wanted["LaunchTemplate"].pop("LaunchTemplateName", None)
    return wanted


def _tags(args: Args, name: str) -> list[dict[str, Any]]:
    return [
        {
            "Key": tag["key"],
            "Value": tag["value"],
            "PropagateAtLaunch": tag["propagateAtLaunch"],
            "ResourceId": name,
            "ResourceType": "auto-scaling-group",
        }
        for tag in args.get("tags") or []
    ]


def _create(aws: Aws, args: Args) -> str:
    name, hooks = args["name"], args.get("initialLifecycleHooks")
    wanted = _wanted(args, *_GROUP)
    if hooks:
        # Two phases: the hooks must be there before the first instance is.
        wanted |= {"MinSize": 0, "MaxSize": 0}
        wanted.pop("DesiredCapacity", None)
    aws.client("autoscaling").create_auto_scaling_group(**wanted, Tags=_tags(args, name))
    return name


def _finish(aws: Aws, identifier: str, args: Args) -> None:
    client = aws.client("autoscaling")
    for hook in args.get("initialLifecycleHooks") or []:
        client.put_lifecycle_hook(AutoScalingGroupName=identifier, **request(_HOOK, hook))
    if metrics := args.get("enabledMetrics"):
        _collect(client, identifier, args, metrics)
    if args.get("initialLifecycleHooks"):
        client.update_auto_scaling_group(AutoScalingGroupName=identifier, **request(_GROUP, args, _CAPACITY))
    # On creation what is desired is a minimum (`resourceGroupCreate`).
    enough = args.get("desiredCapacity") or args["minSize"]
    _wait_capacity(aws, identifier, args, lambda healthy: healthy >= enough, f"at least {enough}")


def _wait_capacity(aws: Aws, identifier: str, args: Args, enough: Any, wanted: str) -> None:
    seconds = _seconds(args.get("waitForCapacityTimeout", "10m"))

    def is_enough() -> bool:
        if enough(_in_service(_group(aws, identifier) or {})):
            return True
        if not args.get("ignoreFailedScalingActivities"):
            _check_activities(aws, identifier)
        return False

    if seconds:
        what = f"group {identifier} has {wanted} healthy instances in service"
        aws.within(seconds).wait(what, is_enough, minutes=seconds / 60)


def _check_activities(aws: Aws, identifier: str) -> None:
    """A launch that failed ends the wait at once, with AWS's reason (`statusGroupCapacity`).

    Failures before the newest activity are over: the group has tried again.
    """
    told = aws.client("autoscaling").describe_scaling_activities(AutoScalingGroupName=identifier)["Activities"]
    if told and told[0]["StatusCode"] == "Failed":
        raise ProviderError(f"scaling activity ({told[0]['ActivityId']}): Failed: {told[0].get('StatusMessage', '')}")


def _in_service(group: dict[str, Any]) -> int:
    return sum(
        instance["LifecycleState"] == "InService" and instance["HealthStatus"].lower() == "healthy"
        for instance in group.get("Instances", [])
    )


def _seconds(duration: str) -> float:
    found = _DURATION.fullmatch(duration)
    if duration == "0":
        return 0
    if not duration or found is None:
        raise ProviderError(f"waitForCapacityTimeout must be a duration such as 10m or 90s, not {duration!r}")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _read(aws: Aws, identifier: str, prior: Args) -> Args | None:
    found = _group(aws, identifier)
    if found is None:
        return None
    zones = found.get("VPCZoneIdentifier")
    tags = [
        {"key": tag["Key"], "propagateAtLaunch": tag["PropagateAtLaunch"], "value": tag["Value"]}
        for tag in found.get("Tags", [])
    ]
    # "Default" alone is what a group has for which nobody chose (`resourceGroupRead`).
    policies = found.get("TerminationPolicies")
    chosen = policies if prior.get("terminationPolicies") or policies != ["Default"] else []
    return {
        **answer(_GROUP, found),
        "terminationPolicies": chosen,
        "vpcZoneIdentifiers": zones.split(",") if zones else [],
        "tags": tags,
        "arn": found["AutoScalingGroupARN"],
        "predictedCapacity": found.get("PredictedCapacity", 0),
        "warmPoolSize": found.get("WarmPoolSize", 0),
        "enabledMetrics": [each["Metric"] for each in found.get("EnabledMetrics", [])],
    }


def _update(aws: Aws, identifier: str, old: Args, new: Args, changed: set[str]) -> None:
    client = aws.client("autoscaling")
    apart = ("name", "serviceLinkedRoleArn", "targetGroupArns")
    names = [name for name in _GROUP if name in changed and name not in apart]
    if "instanceLifecyclePolicy" in names and not new.get("instanceLifecyclePolicy"):
        # What the program no longer says is taken back by its default.
        new = {**new, "instanceLifecyclePolicy": {"retentionTriggers": {"terminateHookAbandon": "terminate"}}}
    if wanted := _wanted(new, *names):
        client.update_auto_scaling_group(AutoScalingGroupName=identifier, **wanted)
    if "targetGroupArns" in changed:
        _set_target_groups(client, identifier, old, new)
    if "tags" in changed:
        kept = {tag["key"] for tag in new.get("tags") or []}
        if removed := [tag for tag in _tags(old, identifier) if tag["Key"] not in kept]:
            client.delete_tags(Tags=[{k: tag[k] for k in ("Key", "ResourceId", "ResourceType")} for tag in removed])
        if tags := _tags(new, identifier):
            client.create_or_update_tags(Tags=tags)
    if "enabledMetrics" in changed:
        _set_metrics(client, identifier, old, new)
    if changed & set(_CAPACITY):
        # On an update the number must be met exactly (`resourceGroupUpdate`).
        exactly = new.get("desiredCapacity") or new["minSize"]
        _wait_capacity(aws, identifier, new, lambda healthy: healthy == exactly, f"exactly {exactly}")


def _collect(client: Any, identifier: str, args: Args, metrics: Sequence[str]) -> None:
    client.enable_metrics_collection(
        AutoScalingGroupName=identifier, Granularity=args["metricsGranularity"], Metrics=metrics
    )


def _set_metrics(client: Any, identifier: str, old: Args, new: Args) -> None:
    had, wanted = set(old.get("enabledMetrics") or ()), set(new.get("enabledMetrics") or ())
    if removed := sorted(had - wanted):
        client.disable_metrics_collection(AutoScalingGroupName=identifier, Metrics=removed)
    if added := sorted(wanted - had):
        _collect(client, identifier, new, added)


def _set_target_groups(client: Any, identifier: str, old: Args, new: Args) -> None:
    had, wanted = set(old.get("targetGroupArns") or ()), set(new.get("targetGroupArns") or ())
    if added := sorted(wanted - had):
        client.attach_load_balancer_target_groups(AutoScalingGroupName=identifier, TargetGroupARNs=added)
    if removed := sorted(had - wanted):
        client.detach_load_balancer_target_groups(AutoScalingGroupName=identifier, TargetGroupARNs=removed)


def _delete(aws: Aws, identifier: str, state: Args) -> None:
    client = aws.client("autoscaling")
    with ignoring("ValidationError", "ResourceNotFound"):
        if not state.get("forceDelete"):
            _drain(aws, identifier)
        client.delete_auto_scaling_group(AutoScalingGroupName=identifier, ForceDelete=bool(state.get("forceDelete")))


def _drain(aws: Aws, identifier: str) -> None:
    """What the official provider does before it deletes a group that it may not force (`drainGroup`)."""
    client = aws.client("autoscaling")
    none = {"MinSize": 0, "MaxSize": 0, "DesiredCapacity": 0}
    client.update_auto_scaling_group(AutoScalingGroupName=identifier, **none)
    protected = [
        each["InstanceId"]
        for each in (_group(aws, identifier) or {}).get("Instances", [])
        if each.get("ProtectedFromScaleIn")
    ]
    for at in range(0, len(protected), _PROTECTIONS):
        # One that leaves already needs no protection taken away, and is refused.
        with ignoring("ValidationError"):
            client.set_instance_protection(
                AutoScalingGroupName=identifier,
                InstanceIds=protected[at : at + _PROTECTIONS],
                ProtectedFromScaleIn=False,
            )
    aws.wait(
        f"the instances of group {identifier} are gone",
        lambda: not (_group(aws, identifier) or {}).get("Instances"),
        _DRAIN_MINUTES,
    )


GROUP: Final = Resource(
    type_name="aws:autoscaling/group:Group",
    inputs={
        **_GROUP,
        "enabledMetrics": unordered(text()),
        "forceDelete": boolean(default=False, write_only=True),
        "ignoreFailedScalingActivities": boolean(default=False, write_only=True),
        "initialLifecycleHooks": unordered(block(_HOOK), write_only=True),
        "metricsGranularity": text(default="1Minute", write_only=True),
        "tags": unordered(
            block(
                {
                    "key": text(required=True),
                    "propagateAtLaunch": boolean(required=True),
                    "value": text(required=True),
                }
            )
        ),
        "waitForCapacityTimeout": text(default="10m", write_only=True),
    },
    outputs=("arn", "predictedCapacity", "warmPoolSize"),
    replaces=dict.fromkeys(
        ("initialLifecycleHooks", *(f"initialLifecycleHooks.{name}" for name in _HOOK), "name"), _SOURCE
    ),
    create=_create,
    finish=_finish,
    read=_read,
    update=_update,
    delete=_delete,
    name=AutoName(longest=255),
)

RESOURCES: Final = (GROUP,)
