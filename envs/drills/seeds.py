"""Drills of seeds: a machine is lost, or its disk as well, and the node comes back where it was."""

from dataclasses import dataclass
from typing import Any

from envs.drills.field import Field
from envs.drills.judge import IN_SERVICE, Look
from envs.errors import FleetstreamError
from services.fabric import fleet as machinery
from services.fabric.client import UP
from services.fabric.waiting import NotYet

_ORIGIN = "restored-from"
"""The tag by which the launch function says which snapshot a disk was made from."""


@dataclass(frozen=True)
class Seat:
    """A seed's machine and disk."""

    node: str
    instance: str
    address: str
    volume: str
    origin: str
    born: str
    """Service Fabric's own id of the running node: another one after each start."""


def seed_loss(field: Field) -> None:
    """A seed's machine ends: its group starts another one with the same address, disk and node."""
    before = _found(field)
    _terminate(field, before)
    after = _back(field, before)
    field.require(after.volume == before.volume, f"the disk is {after.volume}, and was {before.volume}")
    field.require(not after.origin or after.origin == before.origin, "the disk was made from a snapshot")


def seed_volume_loss(field: Field) -> None:
    """A seed's disk is lost with its machine: the newest snapshot becomes its disk, and the node starts empty."""
    ec2 = field.place.clients.ec2
    before = _found(field)
    snapshots = field.faults.snapshots()
    if len(snapshots) < len(field.fleet.seeds):
        raise FleetstreamError(
            f"the snapshot policy made {len(snapshots)} snapshots of {len(field.fleet.seeds)} disks, and so no disk "
            "is deleted: `aws dlm get-lifecycle-policy` says in its StatusMessage what is missing"
        )
    field.act(f"the snapshot policy makes {len(snapshots)} snapshots")
    field.wait("completed snapshots", lambda _: _completed(ec2, snapshots))
    # Taken from the running machine, so that no other can have it before it is deleted.
    field.act(f"disk {before.volume} is taken from {before.instance} by force, and deleted")
    ec2.detach_volume(VolumeId=before.volume, Force=True)
    field.wait("a detached disk", lambda _: _detached(ec2, before.volume))
    ec2.delete_volume(VolumeId=before.volume)
    _terminate(field, before)
    after = _back(field, before)
    field.require(after.volume != before.volume, "the disk is the one that was deleted")
    field.require(after.origin in snapshots, f"the disk says it was restored from {after.origin or 'nothing'}")
    for snapshot in snapshots:
        ec2.delete_snapshot(SnapshotId=snapshot)
    field.act(f"the {len(snapshots)} snapshots are deleted")
    field.notes.append(
        f"disk {after.volume} of {after.node} is the cluster's own now: the program's was deleted, and the next "
        "refresh and `fleetstream up` make an empty one beside it"
    )


def _found(field: Field) -> Seat:
    """The last seed: the first one is the one that commands run on."""
    name = list(field.fleet.seeds)[-1]
    return field.wait(f"the machine and disk of {name}", lambda _: _seat(field, name))


def _terminate(field: Field, seat: Seat) -> None:
    field.act(f"{seat.instance} of {seat.node} is terminated")
    field.place.clients.ec2.terminate_instances(InstanceIds=[seat.instance])


def _back(field: Field, before: Seat) -> Seat:
    """Waits until the node is Up on another machine, and compares its address."""
    begun = field.timeline.now

    def look(look: Look) -> Seat:
        node = next((node for node in look.nodes or () if node.name == before.node), None)
        if node is None or node.status != UP or node.instance_id == before.born:
            raise NotYet(f"{before.node} is {node.status if node else 'not to be seen'}")
        found = _seat(field, before.node)
        if found.instance == before.instance:
            raise NotYet(f"{before.node} still runs on {before.instance}")
        member = look.members.get(found.instance)
        if member is None or member.state != IN_SERVICE:
            raise NotYet(f"{found.instance} is {member.state if member else 'not in its group yet'}")
        return found

    after = field.wait(f"{before.node} on another machine", look)
    field.figures["seconds_until_up"] = round(field.timeline.now - begun, 1)
    field.figures |= {"node": after.node, "address": after.address, "disk": after.volume}
    field.require(after.address == before.address, f"its address is {after.address}, and was {before.address}")
    return after


def _seat(field: Field, node: str) -> Seat:
    """Where a seed sits. Raises `NotYet` while it has no machine or no disk."""
    clients, cluster = field.place.clients, field.fleet.cluster
    machines = machinery.machines(clients.ec2, cluster, ["running"], machinery.SEED_ROLE)
    machine = next((machine for machine in machines if machine.node == node), None)
    if machine is None:
        raise NotYet(f"no machine of {node} runs")
    filters = [
        {"Name": "tag:cluster", "Values": [cluster]},
        {"Name": "tag:node", "Values": [node]},
        {"Name": "attachment.instance-id", "Values": [machine.id]},
        {"Name": "tag:role", "Values": ["seed-data"]},
    ]
    volumes = clients.ec2.describe_volumes(Filters=filters)["Volumes"]
    if not volumes:
        raise NotYet(f"{machine.id} of {node} has no disk for its data")
    tags = {tag["Key"]: tag["Value"] for tag in volumes[0].get("Tags", ())}
    known = field.gateway.node(node)
    if known is None:
        raise FleetstreamError(f"the cluster knows no {node}: `fleetstream cluster reconcile`")
    origin = tags.get(_ORIGIN, "")
    return Seat(node, machine.id, machine.address, volumes[0]["VolumeId"], origin, known.instance_id)


def _completed(ec2: Any, snapshots: list[str]) -> None:
    found = ec2.describe_snapshots(SnapshotIds=snapshots)["Snapshots"]
    if open_ones := [each["SnapshotId"] for each in found if each["State"] != "completed"]:
        raise NotYet(f"{len(open_ones)} of {len(snapshots)} are being made")


def _detached(ec2: Any, volume: str) -> None:
    state = ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"]
    if state != "available":
        raise NotYet(f"disk {volume} is {state}")
