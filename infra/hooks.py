"""Life cycle hooks: Auto Scaling waits for somebody's answer before a machine serves, or before it is gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pulumi
import pulumi_aws as aws

_TRANSITIONS: Final = {
    "launch": "autoscaling:EC2_INSTANCE_LAUNCHING",
    "terminate": "autoscaling:EC2_INSTANCE_TERMINATING",
}


@dataclass(frozen=True, kw_only=True)
class Hook:
    """One hook of a group: when it holds a machine, and how long without a sign of life."""

    name: str
    moment: Literal["launch", "terminate"]
    seconds: int

    @property
    def values(self) -> dict[str, str | int]:
        """As both kinds of declaration take them. Without an answer the machine is given up."""
        return {
            "name": self.name,
            "lifecycle_transition": _TRANSITIONS[self.moment],
            "heartbeat_timeout": self.seconds,
            "default_result": "ABANDON",
        }


def inline(hooks: Sequence[Hook]) -> list[aws.autoscaling.GroupInitialLifecycleHookArgs]:
    """For the group itself: a hook that is added afterwards misses the first launches."""
    return [aws.autoscaling.GroupInitialLifecycleHookArgs(**hook.values) for hook in hooks]  # type: ignore[arg-type]


def keep(
    name: str, group: aws.autoscaling.Group, hooks: Sequence[Hook], opts: pulumi.ResourceOptions
) -> list[aws.autoscaling.LifecycleHook]:
    """The same hooks as resources: in the group they act at its creation only, and a change would replace it."""
    return [
        aws.autoscaling.LifecycleHook(
            f"{name}-{hook.name}",
            autoscaling_group_name=group.name,
            **hook.values,  # type: ignore[arg-type]
            opts=opts,
        )
        for hook in hooks
    ]
