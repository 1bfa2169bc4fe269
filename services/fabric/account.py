"""What the fleet's functions ask of Auto Scaling and EC2, through boto3."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from botocore.exceptions import ClientError

from services.fabric.errors import FabricServiceError
from services.fabric.lifecycle import CLUSTER_TAG, Action, ActionOverError, Group, Hook, Instance, Member

_ABSENT: Final = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")
_NOT_STOPPED: Final = ("IncorrectInstanceState", "UnsupportedOperation", "OperationNotPermitted")
"""EC2 API Reference, "Error codes": between two states, of a kind that cannot stop, protected against it."""


class InstanceRefusedError(FabricServiceError):
    """EC2 does not do that to the instance as it is now."""


def code(error: ClientError) -> str:
    """The error's code in AWS's words."""
    return str(error.response.get("Error", {}).get("Code", ""))


def tags_of(item: Mapping[str, Any], key: str = "Tags") -> dict[str, str]:
    """Tags as a mapping."""
    return {tag["Key"]: tag["Value"] for tag in item.get(key) or ()}


def filters(values: Mapping[str, str | Sequence[str]]) -> list[dict[str, Any]]:
    """Filters as EC2 and Auto Scaling take them."""
    return [
        {"Name": name, "Values": [value] if isinstance(value, str) else list(value)} for name, value in values.items()
    ]


class AutoScaling:
    """The groups; `client` is boto3's of Auto Scaling."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def group(self, name: str) -> Group | None:
        """A group with its hooks; None when there is none of that name."""
        found = self._client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
        if not found:
            return None
        try:
            hooks = self._client.describe_lifecycle_hooks(AutoScalingGroupName=name)["LifecycleHooks"]
        except ClientError as error:
            # Deleted since the call before.
            if code(error) == "ValidationError":
                return None
            raise
        return Group(name, tags_of(found[0]), {hook["LifecycleHookName"]: _hook(hook) for hook in hooks})

    def member(self, instance: str) -> Member | None:
        """What the machine's group does with it; None when it is in none."""
        found = self._client.describe_auto_scaling_instances(InstanceIds=[instance])["AutoScalingInstances"]
        if not found:
            return None
        return Member(instance, found[0]["AutoScalingGroupName"], found[0]["LifecycleState"])

    def members(self, cluster: str) -> list[Member]:
        """The machines of every group of the cluster."""
        pages = self._client.get_paginator("describe_auto_scaling_groups").paginate(
            Filters=filters({f"tag:{CLUSTER_TAG}": cluster})
        )
        return [
            Member(instance["InstanceId"], group["AutoScalingGroupName"], instance["LifecycleState"])
            for page in pages
            for group in page["AutoScalingGroups"]
            for instance in group["Instances"]
        ]

    def heartbeat(self, action: Action) -> None:
        """Asks for another heartbeat time-out. Raises `ActionOverError`."""
        self._answer(action, self._client.record_lifecycle_action_heartbeat)

    def complete(self, action: Action, result: str) -> None:
        """Answers the hook. Raises `ActionOverError`."""
        self._answer(action, self._client.complete_lifecycle_action, LifecycleActionResult=result)

    def _answer(self, action: Action, operation: Any, **more: str) -> None:
        try:
            operation(
                AutoScalingGroupName=action.group,
                LifecycleHookName=action.hook,
                # Not the token, which a late or doubled event may carry from an action that is over.
                InstanceId=action.instance,
                **more,
            )
        except ClientError as error:
            if code(error) == "ValidationError":
                raise ActionOverError(str(error)) from error
            raise


def _hook(hook: Mapping[str, Any]) -> Hook:
    return Hook(hook["LifecycleHookName"], hook["LifecycleTransition"], hook["GlobalTimeout"])


class Ec2:
    """The machines; `client` is boto3's of EC2."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def instance(self, instance_id: str) -> Instance | None:
        """A machine; None when EC2 knows none of that id (any more)."""
        try:
            return next(self._instances(InstanceIds=[instance_id]), None)
        except ClientError as error:
            if code(error) in _ABSENT:
                return None
            raise

    def instances(self, cluster: str) -> list[Instance]:
        """The cluster's machines, but those that are gone."""
        states = ("pending", "running", "shutting-down", "stopping", "stopped")
        return list(self._instances(Filters=filters({f"tag:{CLUSTER_TAG}": cluster, "instance-state-name": states})))

    def stop(self, instance_id: str) -> None:
        """Begins to stop a machine; asking twice changes nothing. Raises `InstanceRefusedError`."""
        try:
            self._client.stop_instances(InstanceIds=[instance_id])
        except ClientError as error:
            if code(error) in (*_NOT_STOPPED, *_ABSENT):
                raise InstanceRefusedError(f"instance {instance_id} does not stop: {error}") from error
            raise

    def _instances(self, **criteria: Any) -> Iterator[Instance]:
        for page in self._client.get_paginator("describe_instances").paginate(**criteria):
            for reservation in page["Reservations"]:
                for item in reservation["Instances"]:
                    yield Instance(
                        id=item["InstanceId"],
                        state=item["State"]["Name"],
                        tags=tags_of(item),
                        zone=item.get("Placement", {}).get("AvailabilityZone", ""),
                        address=item.get("PrivateIpAddress") or "",
                        vpc=item.get("VpcId") or "",
                    )
