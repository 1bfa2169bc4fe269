"""Ends instances that a group retained: their removal was abandoned, and somebody has looked at them since.

A retained instance costs as any other, and stays until TerminateInstanceInAutoScalingGroup is called (Amazon EC2 Auto
Scaling API Reference, RetentionTriggers). Ending it while the cluster still has its node would leave a zombie.
"""

from dataclasses import dataclass
from typing import Any

from services.fabric import fleet as machinery
from services.fabric.client import GONE_STATUSES, Gateway
from services.fabric.fleet import RETAINED, Fleet


@dataclass(frozen=True)
class Retained:
    """A retained instance; `hindrance` says why it must not end yet, and is empty when it may."""

    instance: str
    node: str
    hindrance: str


def find(fleet: Fleet, ec2: Any, autoscaling: Any, gateway: Gateway) -> list[Retained]:
    """The retained instances of the workers' group, each with what stands against ending it."""
    members = machinery.members(autoscaling, [fleet.worker_group])
    machines = {machine.id: machine for machine in machinery.machines(ec2, fleet.cluster)}
    nodes = [node for node in gateway.nodes() if node.status not in GONE_STATUSES]
    found = []
    for member in members.values():
        if member.state != RETAINED:
            continue
        machine = machines.get(member.instance)
        name, address = (machine.node, machine.address) if machine else ("", "")
        node = next((each for each in nodes if each.name == name or (address and each.address == address)), None)
        hindrance = ""
        if node is not None and node.is_seed:
            hindrance = f"its node {node.name} is a seed"
        elif node is not None:
            hindrance = f"the cluster still has its node {node.name} ({node.status}): " + (
                "`fleetstream cluster reconcile --apply` removes its state" if node.zombie else _LEAVE
            )
        found.append(Retained(member.instance, name, hindrance))
    return sorted(found, key=lambda each: each.instance)


_LEAVE = "deactivate it for RemoveNode, stop the instance, then `fleetstream cluster reconcile --apply`"


def end(autoscaling: Any, retained: Retained) -> None:
    """Terminates an instance that may end."""
    # Retained instances do not count towards the group's capacity.
    autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=retained.instance, ShouldDecrementDesiredCapacity=False
    )
