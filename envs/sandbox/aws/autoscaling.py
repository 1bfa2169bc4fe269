"""Auto Scaling: groups whose instances live as on AWS, with life cycle hooks, health checks and capacity.

Sources: Amazon EC2 Auto Scaling User Guide ("Troubleshoot Amazon EC2 Auto Scaling: EC2 instance launch failures",
"Service-linked roles"), Auto Scaling API Reference. moto starts and ends instances at once, keeps hooks and does not
act on them, and knows no activities; what an instance goes through is in `autoscaling_group`.
"""

import logging
import threading
from typing import Any, Final

from moto.autoscaling import models, urls
from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import (
    AutoScalingBackend,
    FakeAutoScalingGroup,
    FakeScalingPolicy,
    FakeScheduledAction,
    autoscaling_backends,
)
from moto.iam.models import iam_backends

from envs.sandbox.aws import autoscaling_victims
from envs.sandbox.aws.autoscaling_group import RETAINED, Group, Member
from envs.sandbox.aws.autoscaling_rules import check_capacity, check_desired, check_template, not_emulated
from envs.sandbox.aws.autoscaling_schedules import Minutes, due
from envs.sandbox.aws.clock import CLOCK
from envs.sandbox.aws.host import Host

log = logging.getLogger("envs.sandbox.aws")

SERVICE: Final = "autoscaling.amazonaws.com"
_ROLE: Final = "AWSServiceRoleForAutoScaling"
_STEP_S: Final = 0.2


class GroupsBackend(AutoScalingBackend):
    """moto's backend with groups that live; whoever uses it holds `lock`."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.lock = threading.RLock()
        self._minutes = Minutes(CLOCK.date())

    @property
    def _url_module(self) -> Any:
        return urls

    def step(self) -> None:
        """Goes on with every group."""
        with self.lock:
            for minute in self._minutes.passed(CLOCK.date()):
                for action in due(self.scheduled_actions.values(), minute):
                    self._perform(action)
            for group in self.groups():
                group.step()
                if group.status is not None and not group.members:
                    self._remove(group)

    # Groups

    def create_auto_scaling_group(self, *arguments: Any, **options: Any) -> FakeAutoScalingGroup:
        if options["name"] in self.autoscaling_groups:
            raise AutoscalingClientError("AlreadyExists", "AutoScalingGroup by this name already exists")
        if not options.get("launch_template"):
            raise not_emulated("a group without a launch template")
        check_template(self.ec2_backend, options["launch_template"])
        autoscaling_victims.check(options.get("termination_policies") or ())
        check_capacity(options["min_size"], options["max_size"], options["desired_capacity"])
        self._make_role()
        return super().create_auto_scaling_group(*arguments, **options)

    def update_auto_scaling_group(self, *arguments: Any, **options: Any) -> FakeAutoScalingGroup:
        group = self.group(options["name"])
        check_template(self.ec2_backend, options.get("launch_template"))
        low = group.min_size if options["min_size"] is None else options["min_size"]
        high = group.max_size if options["max_size"] is None else options["max_size"]
        if options["desired_capacity"] is None:
            options["desired_capacity"] = max(low or 0, min(high or 0, group.desired_capacity or 0))
        check_capacity(low, high, options["desired_capacity"])
        return super().update_auto_scaling_group(*arguments, **options)

    def delete_auto_scaling_group(self, group_name: str, force: bool = False) -> None:
        """Takes a group away; with `force` its instances go first, and whatever waits for them is not asked."""
        group = self.group(group_name)
        if force:
            group.dissolve()
        elif any(member.counts or member.lifecycle_state == RETAINED for member in group.members):
            raise AutoscalingClientError(
                "ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances still in the group."
            )
        elif group.members:
            raise AutoscalingClientError(
                "ScalingActivityInProgress",
                "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that "
                "group.",
            )
        if not group.members:
            self._remove(group)

    def set_desired_capacity(self, group_name: str, desired_capacity: int | None) -> None:
        group = self.group(group_name)
        check_desired(group.min_size, group.max_size, desired_capacity or 0)
        group.set_desired_capacity(desired_capacity)

    def group(self, name: str | None) -> Group:
        """A group that is there and stays. Raises AWS's refusal."""
        found = self.autoscaling_groups.get(name or "")
        if not isinstance(found, Group):
            raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
        if found.status is not None:
            raise ValidationError(f"AutoScalingGroup '{name}' is pending delete")
        return found

    def update_attached_target_groups(self, group_name: str) -> None:
        group = self.group(group_name)
        group.register([each for each in group.members if each.lifecycle_state == "InService"])

    def notify_terminate_instances(self, instance_ids: list[str]) -> None:
        """What EC2 ends on its own, the health check finds."""

    # Instances

    def member(self, instance_id: str) -> tuple[Group, Member]:
        """An instance of a group, and its group. Raises AWS's refusal."""
        for group in self.groups():
            for member in group.members:
                if member.instance_id == instance_id:
                    return group, member
        raise ValidationError(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")

    def terminate_instance(self, instance_id: str, should_decrement: bool) -> Any:
        group, member = self.member(instance_id)
        retained = member.lifecycle_state == RETAINED
        if not member.counts and not retained:
            raise AutoscalingClientError(
                "ScalingActivityInProgress", f"Instance {instance_id} is being terminated already."
            )
        before = group.desired_capacity or 0
        if should_decrement and not retained:
            if before <= (group.min_size or 0):
                raise ValidationError(
                    f"Currently, desiredSize equals minSize ({before}). Terminating instance without replacement "
                    "will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to "
                    "false or lower group's min size."
                )
            group.desired_capacity = before - 1
        shrinks = f", shrinking the capacity from {before} to {group.desired_capacity}" if should_decrement else ""
        when = f"{CLOCK.date():%Y-%m-%dT%H:%M:%SZ}"
        cause = f"At {when} instance {instance_id} was taken out of service in response to a user request{shrinks}."
        return group.retire(member, cause)

    def set_instance_health(self, instance_id: str, health_status: str, respect_grace: bool = True) -> None:
        if health_status not in ("Healthy", "Unhealthy"):
            raise ValidationError("Valid instance health states are: [Healthy, Unhealthy].")
        group, member = self.member(instance_id)
        served = CLOCK.now() - member.in_service_since
        if not (respect_grace and served < (group.health_check_grace_period or 0)):
            member.health_status = health_status

    def set_instance_protection(
        self, group_name: str, instance_ids: list[str], protected_from_scale_in: bool | None
    ) -> None:
        group = self.group(group_name)
        members = {member.instance_id: member for member in group.members}
        for instance_id in instance_ids:
            if instance_id not in members:
                raise ValidationError(f"The instance {instance_id} is not part of Auto Scaling group {group_name}.")
            if members[instance_id].lifecycle_state != "InService":
                raise ValidationError(
                    f"The instance {instance_id} is not in InService or EnteringStandby or Standby."
                )
        for instance_id in instance_ids:
            members[instance_id].protected_from_scale_in = protected_from_scale_in

    # Policies

    def put_scaling_policy(self, *arguments: Any, **options: Any) -> FakeScalingPolicy:
        """As moto's, which has one name for all groups. No metric moves a policy here."""
        if options["policy_type"] != "TargetTrackingScaling":
            raise not_emulated(f"scaling policies of type {options['policy_type']}")
        self.group(options["as_name"])
        policy = super().put_scaling_policy(*arguments, **options)
        self.policies[_policy_key(policy.auto_scaling_group_name, policy.name)] = self.policies.pop(policy.name)
        return policy

    def policy(self, group_name: str | None, policy: str) -> FakeScalingPolicy:
        """A group's policy, which is told by its name or its ARN; an ARN needs no group. Raises AWS's refusal."""
        for known in self.policies.values():
            if policy == known.arn or (policy == known.name and group_name == known.auto_scaling_group_name):
                return known
        raise ValidationError(f"PolicyName not found - policy {policy} of group {group_name} not found")

    def remove_policy(self, group_name: str | None, policy: str) -> None:
        """Takes a policy away. Raises AWS's refusal when there is none."""
        found = self.policy(group_name, policy)
        del self.policies[_policy_key(found.auto_scaling_group_name, found.name)]

    # Scheduled actions

    def delete_scheduled_action(self, auto_scaling_group_name: str, scheduled_action_name: str) -> None:
        self.group(auto_scaling_group_name)
        super().delete_scheduled_action(auto_scaling_group_name, scheduled_action_name)

    def _perform(self, action: FakeScheduledAction) -> None:
        """A group whose numbers the action would contradict stays as it is, as on AWS, where its log says so."""
        try:
            group = self.group(action.auto_scaling_group_name)
            least, most, desired = (
                before if wanted is None else int(wanted)
                for before, wanted in (
                    (group.min_size or 0, action.min_size),
                    (group.max_size or 0, action.max_size),
                    (group.desired_capacity or 0, action.desired_capacity),
                )
            )
            check_capacity(least, most, desired)
            group.min_size, group.max_size = least, most
            group.set_desired_capacity(desired)
        except AutoscalingClientError as error:
            log.warning("scheduled action %s: %s", action.scheduled_action_name, error)

    def groups(self) -> list[Group]:
        """All groups, also those that are being deleted."""
        return [group for group in self.autoscaling_groups.values() if isinstance(group, Group)]

    def _remove(self, group: Group) -> None:
        """A group goes with its hooks, its policies and its scheduled actions."""
        del self.autoscaling_groups[group.name]
        self.policies = {k: p for k, p in self.policies.items() if p.auto_scaling_group_name != group.name}
        for action in self.describe_scheduled_actions(group.name):
            del self.scheduled_actions[action.scheduled_action_name]

    def _make_role(self) -> None:
        """The first group of an account makes the service-linked role."""
        iam = iam_backends[self.account_id][self.partition]
        if all(role.name != _ROLE for role in iam.roles.values()):
            iam.create_service_linked_role(SERVICE, "Default Service-Linked Role", "")


def install(_host: Host) -> None:
    """Puts this backend, its groups and its responses in the place of moto's."""
    from envs.sandbox.aws.autoscaling_responses import Response

    models.autoscaling_backends.backend = GroupsBackend
    models.FakeAutoScalingGroup = Group  # type: ignore[misc]
    urls.url_paths = dict.fromkeys(urls.url_paths, Response.dispatch)
    CLOCK.every(_STEP_S, _step)


def _step() -> None:
    for regions in list(autoscaling_backends.values()):
        for backend in list(regions.values()):
            if isinstance(backend, GroupsBackend):
                backend.step()


def _policy_key(group: str, policy: str) -> str:
    return f"{group}/{policy}"
