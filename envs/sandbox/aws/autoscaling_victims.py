"""Which instances a smaller capacity ends: termination policies and protection.

Sources: Amazon EC2 Auto Scaling User Guide ("Configure termination policies for Amazon EC2 Auto Scaling", "Use
instance scale-in protection to control instance termination").
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from envs.sandbox.aws.autoscaling_rules import not_emulated

if TYPE_CHECKING:
    from envs.sandbox.aws.autoscaling_group import Group, Member

Rank = Callable[["Member"], Any]
"""The lower, the sooner an instance is ended."""

_HOUR_S: Final = 3600
_RANKS: Final[dict[str, Rank]] = {
    "Default": lambda member: (_version(member), *_nearest_to_an_hour(member)),
    "NewestInstance": lambda member: -member.machine.launch_time.timestamp(),
    "OldestInstance": lambda member: member.machine.launch_time.timestamp(),
    "OldestLaunchTemplate": lambda member: _version(member),
    "ClosestToNextInstanceHour": lambda member: _nearest_to_an_hour(member),
}


def check(policies: Sequence[str]) -> None:
    """Refuses a policy that is not emulated."""
    for name in policies:
        if name not in _RANKS:
            raise not_emulated(f"termination policy {name} (but {', '.join(sorted(_RANKS))})")


def victims(group: "Group", members: Sequence["Member"], count: int) -> list["Member"]:
    """Up to so many of the instances, one after the other: first the zone that has most of them, then the policies.

    None that is protected; so there can be fewer.
    """
    left, chosen = list(members), []
    while len(chosen) < count and (free := [member for member in left if not member.protected_from_scale_in]):
        zones = Counter(member.availability_zone for member in left)
        most = max(zones[member.availability_zone] for member in free)
        fullest = [member for member in free if zones[member.availability_zone] == most]
        ranks = [_RANKS[name] for name in group.termination_policies]
        victim = min(fullest, key=lambda member: tuple(rank(member) for rank in ranks))
        left.remove(victim)
        chosen.append(victim)
    return chosen


def _version(member: "Member") -> int:
    return int(member.version)


def _nearest_to_an_hour(member: "Member") -> tuple[float, str]:
    """Of instances that are equally near, any: the one with the lowest id."""
    return (-(member.machine.launch_time.timestamp() % _HOUR_S), member.instance_id)
