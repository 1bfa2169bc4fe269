"""A group and its instances: how they come, wait, serve, leave, and are replaced.

Sources: Amazon EC2 Auto Scaling User Guide ("Amazon EC2 Auto Scaling instance lifecycle", "How lifecycle hooks work",
"Control instance retention with instance lifecycle policies", "Health checks for instances in an Auto Scaling group",
"Configure termination policies", "Use instance scale-in protection"), API Reference.

A machine that somebody ended outside of the group goes through the group's terminate hooks all the same, once the
health check has found it: its wait is for a machine that is no more (getsocial-rnd/ecs-drain-lambda issue 6,
jenkinsci/ec2-fleet-plugin issue 452). One whose launch was given up never served, and is ended without them.
"""

from collections.abc import Iterator
from typing import Any, Final

from moto.autoscaling.models import FakeAutoScalingGroup, InstanceState
from moto.core.exceptions import ServiceException
from moto.ec2.models.instances import Instance

from envs.sandbox.aws import autoscaling_launch
from envs.sandbox.aws.autoscaling_activities import Activity, Journal
from envs.sandbox.aws.autoscaling_hooks import ABANDON, LAUNCHING, TERMINATING, Lifecycle, Outcome
from envs.sandbox.aws.autoscaling_victims import victims
from envs.sandbox.aws.clock import CLOCK

RETAINED: Final = "Terminating:Retained"
_LEAVING: Final = ("Terminating", "Terminating:Wait", "Terminating:Proceed")
_RETRY_S: Final = 1.0
"""AWS tries a failed launch again, the sooner the fewer failures there were."""
_ABANDONED: Final = "Instance failed to complete user's Lifecycle Action: "


class Member(InstanceState):
    """An instance of a group, and where it is in its life."""

    def __init__(self, machine: Instance, group: "Group", version: str, activity: Activity) -> None:
        super().__init__(machine, "Pending", "Healthy", False, group)
        self.machine: Any = machine
        self.version = version
        self.activity = activity
        self.in_service_since = 0.0

    @property
    def launch_template(self) -> dict[str, Any] | None:
        told = super().launch_template
        return told and {**told, "Version": self.version}

    @property
    def counts(self) -> bool:
        """Whether it is part of the group's capacity."""
        return self.lifecycle_state == "InService" or self.lifecycle_state.startswith("Pending")


class Group(FakeAutoScalingGroup):
    """A group that does what can be done now whenever `step` is called."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.lifecycle = Lifecycle(options["name"])
        self.instance_lifecycle_policy: dict[str, Any] = {}
        self.status: str | None = None
        self._again_at = 0.0
        super().__init__(*arguments, **options)
        self.journal = Journal(self.name, self.arn, self.account_id, self.region)

    @property
    def members(self) -> list[Member]:
        """Its instances, also those that leave."""
        return [state for state in self.instance_states if isinstance(state, Member)]

    def set_desired_capacity(self, new_capacity: int | None) -> None:
        """Says how many there shall be; `step` sees to it."""
        self.desired_capacity = self.min_size if new_capacity is None else new_capacity

    def step(self) -> None:
        """Goes on with everything that can go on."""
        self.lifecycle.expire(CLOCK.now())
        for member in self.members:
            self._advance(member)
        if self.status is None:
            if not self._suspended("HealthCheck", "ReplaceUnhealthy"):
                self._replace_unhealthy()
            self._reach_capacity()

    def retire(self, member: Member, cause: str) -> Activity:
        """Begins to end an instance; the group's terminate hooks come first, but not for one that was retained."""
        waits = member.lifecycle_state != RETAINED
        self._deregister(member)
        self._leave(member, cause)
        actions = self.lifecycle.begin(member.instance_id, TERMINATING, CLOCK.now()) if waits else []
        if actions:
            member.lifecycle_state = "Terminating:Wait"
            self.journal.wait(member.activity, actions)
        else:
            self._end(member)
        return member.activity

    def dissolve(self) -> None:
        """Ends all instances at once, whatever they wait for; the group goes with the last of them."""
        self.status = "Delete in progress"
        for member in self.members:
            self.lifecycle.forget(member.instance_id)
            if member.lifecycle_state not in _LEAVING:
                self._deregister(member)
                self._leave(member, f"At {_now()} the group was deleted.")
            member.lifecycle_state = "Terminating"
            self._end(member)

    # The life of an instance

    def _advance(self, member: Member) -> None:
        match member.lifecycle_state:
            case "Pending":
                self._arrive(member)
            case "Pending:Wait":
                if outcome := self.lifecycle.outcome(member.instance_id):
                    self._arrived(member, outcome)
            case "Pending:Proceed":
                self._serve(member)
            case "Terminating:Wait":
                if outcome := self.lifecycle.outcome(member.instance_id):
                    self._released(member, outcome)
            case "Terminating" | "Terminating:Proceed" if member.machine.state == "terminated":
                self._gone(member)
            case str(state) if state == RETAINED and member.machine.state == "terminated":
                self._leave(member, f"At {_now()} a retained instance was terminated.")
                self._gone(member)

    def _arrive(self, member: Member) -> None:
        if member.machine.state == "running":
            actions = self.lifecycle.begin(member.instance_id, LAUNCHING, CLOCK.now())
            if actions:
                member.lifecycle_state = "Pending:Wait"
                self.journal.wait(member.activity, actions)
            else:
                self._serve(member)
        elif member.machine.state != "pending":
            self._give_up(
                member, "Failed", "Instance became unhealthy while waiting for instance to be in running state."
            )

    def _arrived(self, member: Member, outcome: Outcome) -> None:
        if outcome.result == ABANDON:
            self._give_up(member, "Cancelled", _ABANDONED + outcome.reason)
        else:
            member.lifecycle_state = "Pending:Proceed"

    def _serve(self, member: Member) -> None:
        member.lifecycle_state = "InService"
        member.in_service_since = CLOCK.now()
        member.protected_from_scale_in = self.new_instances_protected_from_scale_in
        if member.machine.state == "running" and not self._suspended("AddToLoadBalancer"):
            self.register([member])
        self.journal.end(member.activity)

    def _give_up(self, member: Member, status: str, reason: str) -> None:
        """A launch that came to nothing is tried again."""
        self._again_at = CLOCK.now() + _RETRY_S
        self.journal.end(member.activity, status, reason)
        self._leave(member, f"At {_now()} an instance was taken out of service: {reason}")
        self._end(member)

    def _leave(self, member: Member, cause: str) -> None:
        member.lifecycle_state = "Terminating"
        description = f"Terminating EC2 instance: {member.instance_id}"
        member.activity = self.journal.begin(description, cause, _details(member.machine), member.instance_id)

    def _released(self, member: Member, outcome: Outcome) -> None:
        triggers = self.instance_lifecycle_policy.get("RetentionTriggers") or {}
        if outcome.result == ABANDON and triggers.get("TerminateHookAbandon") == "retain":
            member.lifecycle_state = RETAINED
            self.journal.end(member.activity, "Cancelled", _ABANDONED + outcome.reason)
            return
        member.lifecycle_state = "Terminating:Proceed"
        self._end(member)

    def _end(self, member: Member) -> None:
        self.ec2_backend.terminate_instances([member.instance_id])

    def _gone(self, member: Member) -> None:
        member.lifecycle_state = "Terminated"
        self.instance_states.remove(member)
        self.journal.end(member.activity)

    # Capacity

    def _replace_unhealthy(self) -> None:
        for member in [each for each in self.members if each.lifecycle_state == "InService"]:
            found = "EC2 health check indicating it has been terminated or stopped"
            if member.machine.state == "running":
                if member.health_status == "Healthy":
                    continue
                found = "user health-check"
            member.health_status = "Unhealthy"
            self.retire(member, f"At {_now()} an instance was taken out of service in response to an {found}.")

    def _reach_capacity(self) -> None:
        there = [member for member in self.members if member.counts]
        missing = (self.desired_capacity or 0) - len(there)
        if missing < 0 and not self._suspended("Terminate"):
            for member in victims(self, there, -missing):
                self.retire(member, _shrinks(len(there), missing))
        if missing <= 0 or self._suspended("Launch") or CLOCK.now() < self._again_at:
            return
        for count in range(len(there), len(there) + missing):
            if not self._launch(count):
                return

    def _launch(self, count: int) -> bool:
        cause = (
            f"At {_now()} an instance was started in response to a difference between desired and actual capacity, "
            f"increasing the capacity from {count} to {count + 1}."
        )
        activity = self.journal.begin("Launching a new EC2 instance", cause, {})
        try:
            machine, version = autoscaling_launch.launch(
                self, [member.machine for member in self.members if member.counts]
            )
        except ServiceException as error:
            self._again_at = CLOCK.now() + _RETRY_S
            self.journal.end(activity, "Failed", f"{error.message.rstrip('.')}. Launching EC2 instance failed.")
            return False
        activity.description += f": {machine.id}"
        activity.instance, activity.details = machine.id, _details(machine)
        self.instance_states.append(Member(machine, self, version, activity))
        return True

    def _suspended(self, *processes: str) -> bool:
        return any(process in self._suspended_processes for process in processes)

    # Target groups

    def register(self, members: list[Member]) -> None:
        """Makes running instances targets of the group's target groups."""
        for target_group in self._target_groups():
            target_group.register([{"Id": member.instance_id, "Port": target_group.port} for member in members])

    def _deregister(self, member: Member) -> None:
        for target_group in self._target_groups():
            # A machine that EC2 ended is no target any more.
            if member.instance_id in target_group.targets:
                target_group.deregister([{"Id": member.instance_id}])

    def _target_groups(self) -> Iterator[Any]:
        known = self.autoscaling_backend.elbv2_backend.target_groups
        # One can be deleted before the group.
        return (known[arn] for arn in self.target_group_arns if arn in known)


def _details(machine: Instance) -> dict[str, str]:
    return {"Availability Zone": str(machine.availability_zone), "Subnet ID": str(machine.subnet_id)}


def _shrinks(count: int, by: int) -> str:
    return (
        f"At {_now()} an instance was taken out of service in response to a difference between desired and actual "
        f"capacity, shrinking the capacity from {count} to {count + by}."
    )


def _now() -> str:
    return f"{CLOCK.date():%Y-%m-%dT%H:%M:%SZ}"
