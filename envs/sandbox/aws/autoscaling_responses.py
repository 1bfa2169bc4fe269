"""The API of Auto Scaling: moto's responses, with the operations and parameters that they lack or would not act on.

Auto Scaling API Reference. What is not emulated is refused by its name.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.common_types import TYPE_RESPONSE
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import camelcase_to_underscores

from envs.sandbox.aws import autoscaling_schedules, autoscaling_victims
from envs.sandbox.aws.autoscaling import GroupsBackend
from envs.sandbox.aws.autoscaling_group import Group
from envs.sandbox.aws.autoscaling_hooks import Hook, HookError
from envs.sandbox.aws.autoscaling_rules import not_emulated
from envs.sandbox.aws.clock import CLOCK

_HOOK: Final = {
    "LifecycleTransition": "transition",
    "HeartbeatTimeout": "heartbeat_timeout",
    "DefaultResult": "default_result",
    "NotificationMetadata": "metadata",
}
_NOT_OF_A_HOOK: Final = ("NotificationTargetARN", "RoleARN")
_NOT_OF_A_GROUP: Final = (
    "AvailabilityZoneDistribution",
    "AvailabilityZoneImpairmentPolicy",
    "CapacityReservationSpecification",
    "Context",
    "DefaultInstanceWarmup",
    "DeletionProtection",
    "DesiredCapacityType",
    "InstanceId",
    "InstanceMaintenancePolicy",
    "LaunchConfigurationName",
    "LoadBalancerNames",
    "MaxInstanceLifetime",
    "MixedInstancesPolicy",
    "PlacementGroup",
    "TrafficSources",
)
_METRICS: Final = (
    "GroupDesiredCapacity",
    "GroupInServiceInstances",
    "GroupMaxSize",
    "GroupMinSize",
    "GroupPendingInstances",
    "GroupTerminatingInstances",
    "GroupTerminatingRetainedInstances",
    "GroupTotalInstances",
)
"""What a group reports when nobody says which."""
_UNKNOWN: Final = frozenset(
    {
        "AttachInstances",
        "AttachLoadBalancers",
        "BatchPutScheduledUpdateGroupAction",
        "CreateLaunchConfiguration",
        "DetachInstances",
        "EnterStandby",
        "ExecutePolicy",
        "ExitStandby",
        "PutWarmPool",
    }
)
"""What moto would accept although nothing here acts on it."""


class Response(AutoScalingResponse):
    """moto's responses on this backend; each request sees what it has changed."""

    def call_action(self) -> TYPE_RESPONSE:
        if (action := self._get_action()) in _UNKNOWN:
            # In moto's words, which the server turns into an answer.
            raise NotImplementedError(f"The {camelcase_to_underscores(action)} action has not been implemented")
        with self.backend.lock:
            return super().call_action()

    @property
    def backend(self) -> GroupsBackend:
        found = self.autoscaling_backend
        assert isinstance(found, GroupsBackend)  # noqa: S101 (for the type checker; `install` sees to it)
        return found

    # Groups

    def create_auto_scaling_group(self) -> ActionResult:
        self._refuse_unknown(_NOT_OF_A_GROUP)
        hooks = [
            (each["LifecycleHookName"], _hook(each)) for each in self._get_param("LifecycleHookSpecificationList", [])
        ]
        super().create_auto_scaling_group()
        group = self._group()
        group.instance_lifecycle_policy = self._get_param("InstanceLifecyclePolicy", {})
        try:
            for name, given in hooks:
                group.lifecycle.put(name, given)
        except HookError as error:
            del self.backend.autoscaling_groups[group.name]
            raise ValidationError(str(error)) from error
        group.step()
        return EmptyResult()

    def update_auto_scaling_group(self) -> ActionResult:
        self._refuse_unknown(_NOT_OF_A_GROUP)
        group, policies = self._group(), self._get_param("TerminationPolicies", [])
        autoscaling_victims.check(policies)
        super().update_auto_scaling_group()
        group.termination_policies = policies or group.termination_policies
        cooldown, lifecycle = self._get_int_param("DefaultCooldown"), self._get_param("InstanceLifecyclePolicy")
        group.default_cooldown = group.default_cooldown if cooldown is None else cooldown
        group.instance_lifecycle_policy = group.instance_lifecycle_policy if lifecycle is None else lifecycle
        group.step()
        return EmptyResult()

    def delete_auto_scaling_group(self) -> ActionResult:
        force = self._get_bool_param("ForceDelete", False)
        self.backend.delete_auto_scaling_group(self._get_param("AutoScalingGroupName"), bool(force))
        return EmptyResult()

    def set_desired_capacity(self) -> ActionResult:
        if self._get_bool_param("HonorCooldown", False):
            raise not_emulated("HonorCooldown")
        super().set_desired_capacity()
        self._group().step()
        return EmptyResult()

    # Instances

    def terminate_instance_in_auto_scaling_group(self) -> ActionResult:
        decrement = self._get_bool_param("ShouldDecrementDesiredCapacity", False)
        activity = self.backend.terminate_instance(self._get_param("InstanceId"), bool(decrement))
        return ActionResult({"Activity": activity.told()})

    def set_instance_health(self) -> ActionResult:
        respect = self._get_bool_param("ShouldRespectGracePeriod", True)
        self.backend.set_instance_health(
            self._get_param("InstanceId"), self._get_param("HealthStatus"), respect_grace=bool(respect)
        )
        return EmptyResult()

    def describe_scaling_activities(self) -> ActionResult:
        name, wanted = self._get_param("AutoScalingGroupName"), self._get_param("ActivityIds", [])
        groups = [group for group in self.backend.groups() if name in (None, group.name)]
        if name and not groups:
            raise ValidationError(f"Group {name} not found")
        found = [each for group in groups for each in group.journal.activities if not wanted or each.id in wanted]
        return ActionResult({"Activities": [activity.told() for activity in found]})

    # Life cycle hooks

    def put_lifecycle_hook(self) -> ActionResult:
        self._on_hooks(lambda name, group: group.lifecycle.put(name, _hook(self._get_params())))
        return EmptyResult()

    def describe_lifecycle_hooks(self) -> ActionResult:
        group, names = self._group(), self._get_param("LifecycleHookNames", [])
        found = [hook for hook in group.lifecycle.hooks.values() if not names or hook.name in names]
        return ActionResult({"LifecycleHooks": [_told(group, hook) for hook in found]})

    def delete_lifecycle_hook(self) -> ActionResult:
        self._on_hooks(lambda name, group: group.lifecycle.delete(name))
        return EmptyResult()

    def complete_lifecycle_action(self) -> ActionResult:
        result, instance, token = map(
            self._get_param, ("LifecycleActionResult", "InstanceId", "LifecycleActionToken")
        )
        self._on_hooks(lambda name, group: group.lifecycle.complete(name, result, instance, token))
        return EmptyResult()

    def record_lifecycle_action_heartbeat(self) -> ActionResult:
        instance, token = map(self._get_param, ("InstanceId", "LifecycleActionToken"))
        self._on_hooks(lambda name, group: group.lifecycle.beat(name, instance, token, CLOCK.now()))
        return EmptyResult()

    # Metrics

    def enable_metrics_collection(self) -> ActionResult:
        group, metrics = self._group(), self._get_param("Metrics", [])
        group.metrics = sorted({*group.metrics, *(metrics or _METRICS)})
        return EmptyResult()

    def disable_metrics_collection(self) -> ActionResult:
        group, metrics = self._group(), self._get_param("Metrics", [])
        group.metrics = sorted(set(group.metrics) - set(metrics or group.metrics))
        return EmptyResult()

    # Policies

    def put_scaling_policy(self) -> ActionResult:
        result = super().put_scaling_policy()
        policy = self.backend.policy(self._get_param("AutoScalingGroupName"), self._get_param("PolicyName"))
        policy.enabled = self._get_bool_param("Enabled", True)  # type: ignore[attr-defined]
        return result

    def delete_policy(self) -> ActionResult:
        self.backend.remove_policy(self._get_param("AutoScalingGroupName"), self._get_param("PolicyName"))
        return EmptyResult()

    # Scheduled actions

    def put_scheduled_update_group_action(self) -> ActionResult:
        autoscaling_schedules.check(self._get_params())
        self._group()
        result = super().put_scheduled_update_group_action()
        name = self._get_param("ScheduledActionName")
        action: Any = self.backend.scheduled_actions[name]
        action.scheduled_action_arn = (
            f"arn:aws:autoscaling:{self.region}:{self.current_account}:scheduledUpdateGroupAction:"
            f"{uuid.uuid4()}:autoScalingGroupName/{action.auto_scaling_group_name}:scheduledActionName/{name}"
        )
        return result

    def _group(self) -> Group:
        return self.backend.group(self._get_param("AutoScalingGroupName"))

    def _on_hooks(self, act: Callable[[str, Group], None]) -> None:
        """Does something to a hook of the group, and has the group go on."""
        group = self._group()
        try:
            act(self._get_param("LifecycleHookName"), group)
        except HookError as error:
            raise ValidationError(str(error)) from error
        group.step()

    def _refuse_unknown(self, names: Iterable[str]) -> None:
        for name in names:
            if self._get_param(name):
                raise not_emulated(name)


def _hook(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a request says of a hook, by the model's names."""
    for name in _NOT_OF_A_HOOK:
        if given.get(name):
            raise not_emulated(name)
    return {ours: given[name] for name, ours in _HOOK.items() if given.get(name) is not None}


def _told(group: Group, hook: Hook) -> dict[str, Any]:
    metadata = {"NotificationMetadata": hook.metadata} if hook.metadata else {}
    return {
        "LifecycleHookName": hook.name,
        "AutoScalingGroupName": group.name,
        "LifecycleTransition": hook.transition,
        "HeartbeatTimeout": hook.heartbeat_timeout,
        "GlobalTimeout": hook.global_timeout,
        "DefaultResult": hook.default_result,
        **metadata,
    }
