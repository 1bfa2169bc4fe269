"""The fleet's machines: what the program says of them, and what the account has.

Machines are found by their tags: ``cluster``, ``role`` (``seed`` or ``worker``) and ``node``, the name of the node
that runs on them. A seed's name is that of the interface it keeps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.fabric.errors import FabricServiceError

SEED_ROLE: Final = "seed"
WORKER_ROLE: Final = "worker"
ALIVE: Final = ("pending", "running", "shutting-down", "stopping", "stopped")
RETAINED: Final = "Terminating:Retained"
"""An instance whose termination was abandoned and that the group keeps for somebody to look at (Amazon EC2 Auto
Scaling User Guide, "Control instance retention with instance lifecycle policies")."""
HTTP_PORT: Final = 19080
DEFAULT_WORKERS: Final = 3


@dataclass(frozen=True)
class SeedPlace:
    """What the program made for a seed: an address that stays, a zone, and a group of one."""

    address: str
    zone: str
    group: str


@dataclass(frozen=True)
class Fleet:
    """The fleet as the program describes it in its output ``fleet``."""

    cluster: str
    seeds: Mapping[str, SeedPlace]
    worker_group: str
    bucket: str
    administrator_secret: str
    node_secret: str
    client_secret: str
    management_address: str
    version: str
    """Of Service Fabric, for a cluster that is formed now."""
    diagnostics: str | None = None
    workers: int = DEFAULT_WORKERS

    @property
    def gateway(self) -> str:
        """Where the cluster's gateway is reached."""
        return f"https://{self.management_address}:{HTTP_PORT}"


def described(outputs: Mapping[str, Any]) -> Fleet:
    """The fleet of a stack's outputs. Raises `FabricServiceError` when they do not describe one."""
    try:
        found = outputs["fleet"]
        return Fleet(
            cluster=found["cluster"],
            seeds={
                name: SeedPlace(place["address"], place["zone"], place["group"])
                for name, place in sorted(found["seeds"].items(), key=lambda item: _natural(item[0]))
            },
            worker_group=found["worker_group"],
            bucket=found["configuration_bucket"],
            administrator_secret=found["administrator_secret"],
            node_secret=found["node_certificate_secret"],
            client_secret=found["client_certificate_secret"],
            management_address=found["management_address"],
            version=found["service_fabric_version"],
            diagnostics=found.get("diagnostics_share"),
            workers=int(found.get("workers", DEFAULT_WORKERS)),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise FabricServiceError(
            f"the stack's outputs describe no fleet ({error!r} is missing): `fleetstream up` the environment first"
        ) from error


def _natural(name: str) -> tuple[str, int]:
    head, _, number = name.rpartition("-")
    return (head, int(number)) if number.isdigit() else (name, -1)


@dataclass(frozen=True)
class Machine:
    """An EC2 instance of the fleet. `node` is its tag, empty when it has none."""

    id: str
    role: str
    state: str
    node: str
    address: str
    interface: str
    zone: str
    group: str


def machines(ec2: Any, cluster: str, states: Sequence[str] = ALIVE, role: str | None = None) -> list[Machine]:
    """The fleet's instances in these states, from all pages."""
    filters = [
        {"Name": "tag:cluster", "Values": [cluster]},
        {"Name": "tag:role", "Values": [role] if role else [SEED_ROLE, WORKER_ROLE]},
        {"Name": "instance-state-name", "Values": list(states)},
    ]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    found = [
        _machine(each) for page in pages for reservation in page["Reservations"] for each in reservation["Instances"]
    ]
    return sorted(found, key=lambda machine: (machine.role, _natural(machine.node), machine.id))


def _machine(instance: Mapping[str, Any]) -> Machine:
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags") or ()}
    primary = next(
        (
            each
            for each in instance.get("NetworkInterfaces") or ()
            if (each.get("Attachment") or {}).get("DeviceIndex") == 0
        ),
        {},
    )
    return Machine(
        id=instance["InstanceId"],
        role=tags.get("role", ""),
        state=instance["State"]["Name"],
        node=tags.get("node", ""),
        address=primary.get("PrivateIpAddress") or instance.get("PrivateIpAddress") or "",
        interface=primary.get("NetworkInterfaceId", ""),
        zone=(instance.get("Placement") or {}).get("AvailabilityZone", ""),
        group=tags.get("aws:autoscaling:groupName", ""),
    )


@dataclass(frozen=True)
class Interface:
    """A seed's persistent interface."""

    id: str
    node: str
    address: str


def seed_interfaces(ec2: Any, cluster: str) -> dict[str, Interface]:
    """The seeds' persistent interfaces by their id, from all pages."""
    filters = [{"Name": "tag:cluster", "Values": [cluster]}, {"Name": "tag:role", "Values": [SEED_ROLE]}]
    found = {}
    for page in ec2.get_paginator("describe_network_interfaces").paginate(Filters=filters):
        for each in page["NetworkInterfaces"]:
            node = next((tag["Value"] for tag in each.get("TagSet") or () if tag["Key"] == "node"), "")
            identity = each["NetworkInterfaceId"]
            found[identity] = Interface(identity, node, each["PrivateIpAddress"])
    return found


def tag_node(ec2: Any, instance: str, node: str) -> None:
    """Writes the name of the node that runs on an instance to its tags."""
    ec2.create_tags(Resources=[instance], Tags=[{"Key": "node", "Value": node}])


@dataclass(frozen=True)
class Member:
    """An instance as its group has it."""

    instance: str
    group: str
    state: str
    """Its life cycle state, such as InService or Terminating:Wait."""


def members(autoscaling: Any, groups: Sequence[str]) -> dict[str, Member]:
    """The instances of these groups by id, from all pages."""
    found = {}
    for group in _groups(autoscaling, groups):
        for each in group["Instances"]:
            found[each["InstanceId"]] = Member(
                each["InstanceId"], group["AutoScalingGroupName"], each["LifecycleState"]
            )
    return found


def group(autoscaling: Any, name: str) -> Mapping[str, Any]:
    """A group as AWS describes it. Raises `FabricServiceError` when there is none."""
    found = next(iter(_groups(autoscaling, [name])), None)
    if found is None:
        raise FabricServiceError(f"there is no group {name}: `fleetstream up` the environment first")
    return found


def _groups(autoscaling: Any, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    pages = autoscaling.get_paginator("describe_auto_scaling_groups")
    for page in pages.paginate(AutoScalingGroupNames=list(names)):
        yield from page["AutoScalingGroups"]
