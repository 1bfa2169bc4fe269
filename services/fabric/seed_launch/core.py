"""Gives a seed's machine the data disk of its node: the disk itself, or what the newest snapshot holds of it. Pure.

Each look asks what is there now, and does one thing about it; so it may be cut off anywhere, and an event may come
twice. A disk is made with its tags, which is how the next look finds it, and with a token, which is how EC2 tells a
second request for it from the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from services.fabric.errors import FabricServiceError
from services.fabric.launch import State, Verdict
from services.fabric.lifecycle import Instance

ROLE: Final = "seed-data"
"""The tag `role` of a seed's data disk."""
RESTORED_FROM: Final = "restored-from"
"""The tag of a disk made from a snapshot: what it holds is old, and the node starts empty."""
DEVICE: Final = "xvdf"
"""Where Windows machines see it (EC2 User Guide, "Device names for volumes on Amazon EC2 instances")."""


class DiskBusyError(FabricServiceError):
    """EC2 does not attach the disk in the state that it or the machine is in: a little later it may."""


@dataclass(frozen=True)
class Disk:
    """A data disk."""

    id: str
    state: str
    zone: str
    holder: str = ""
    """The instance it is attached to, or being attached or detached."""
    attachment: str = ""
    restored_from: str = ""


class Disks(Protocol):
    """EBS, as far as this function speaks to it."""

    def of_node(self, node: str) -> list[Disk]:
        """The data disks of a node, but those that are being deleted."""
        ...

    def newest_snapshot(self, node: str) -> str:
        """The newest completed snapshot of a node's data disk; empty when there is none."""
        ...

    def restore(self, snapshot: str, node: str, instance: Instance) -> None:
        """Begins to make a disk in the machine's zone, once a machine. Raises `DiskBusyError`."""
        ...

    def attach(self, disk: str, instance: str, /) -> None:
        """Begins to attach a disk. Raises `DiskBusyError`."""
        ...


def look(disks: Disks, instance: Instance) -> Verdict:
    """One look at a seed's machine, and one step towards its disk."""
    if not instance.node:
        return Verdict(State.HOPELESS, "it has no tag `node`: the launch template of a seed's group sets it")
    found = disks.of_node(instance.node)
    usable = _current([disk for disk in found if disk.state != "error"])
    try:
        if len(usable) > 1:
            names = ", ".join(sorted(disk.id for disk in usable))
            return Verdict(State.HOPELESS, f"{names} all are tagged as the data of {instance.node}: leave one so")
        if usable:
            return _attached(disks, usable[0], instance)
        return _restored(disks, found, instance)
    except DiskBusyError as error:
        return Verdict(State.NOT_YET, str(error))


def _current(usable: Sequence[Disk]) -> Sequence[Disk]:
    """A disk is made from a snapshot only when there is no other: what stands beside it came later, and is empty."""
    return [disk for disk in usable if disk.restored_from] or usable


def _attached(disks: Disks, disk: Disk, instance: Instance) -> Verdict:
    if disk.zone != instance.zone:
        return Verdict(
            State.HOPELESS,
            f"disk {disk.id} is in {disk.zone}, and the instance in {instance.zone}: a seed stays in its zone",
        )
    if disk.state == "available":
        disks.attach(disk.id, instance.id)
        return Verdict(State.NOT_YET, f"disk {disk.id} is being attached")
    if disk.holder == instance.id and disk.attachment == "attached":
        origin = f", restored from {disk.restored_from}" if disk.restored_from else ""
        return Verdict(State.READY, f"disk {disk.id} is attached{origin}")
    holder = f", {disk.attachment} at {disk.holder}" if disk.holder else ""
    return Verdict(State.NOT_YET, f"disk {disk.id} is {disk.state}{holder}")


def _restored(disks: Disks, broken: Sequence[Disk], instance: Instance) -> Verdict:
    """The disk is gone, or in error: what is left of it is in snapshots."""
    if any(disk.restored_from for disk in broken):
        names = ", ".join(sorted(disk.id for disk in broken))
        return Verdict(State.HOPELESS, f"{names}, made from a snapshot, is in error: delete it, and see why")
    snapshot = disks.newest_snapshot(instance.node)
    if not snapshot:
        return Verdict(
            State.HOPELESS,
            f"the data disk of {instance.node} is gone, and there is no completed snapshot of it: run "
            "`fleetstream up`, which makes an empty one",
        )
    disks.restore(snapshot, instance.node, instance)
    return Verdict(State.NOT_YET, f"a disk is being made from {snapshot}")
