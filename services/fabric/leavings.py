"""What the cluster has made by itself and no program knows of: disks from snapshots, and the snapshots.

A program that takes its resources away leaves these behind, and they cost on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from services.fabric.account import filters
from services.fabric.lifecycle import CLUSTER_TAG, ROLE_TAG
from services.fabric.seed_launch.core import RESTORED_FROM, ROLE


@dataclass(frozen=True)
class Leavings:
    """The ids of what is there."""

    disks: tuple[str, ...]
    snapshots: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.disks or self.snapshots)


def find(ec2: Any, cluster: str) -> Leavings:
    """What of it there is of one cluster, from all pages."""
    own = {f"tag:{CLUSTER_TAG}": cluster, f"tag:{ROLE_TAG}": ROLE}
    restored = _ids(ec2, "describe_volumes", "Volumes", "VolumeId", Filters=filters(own | {"tag-key": RESTORED_FROM}))
    snapshots = _ids(ec2, "describe_snapshots", "Snapshots", "SnapshotId", OwnerIds=["self"], Filters=filters(own))
    return Leavings(tuple(restored), tuple(snapshots))


def _ids(ec2: Any, operation: str, result: str, key: str, **arguments: Any) -> Iterator[str]:
    for page in ec2.get_paginator(operation).paginate(**arguments):
        yield from (item[key] for item in page[result])


def delete(ec2: Any, leavings: Leavings) -> None:
    """Deletes all of it; a disk that is in use is refused by EC2."""
    for disk in leavings.disks:
        ec2.delete_volume(VolumeId=disk)
    for snapshot in leavings.snapshots:
        ec2.delete_snapshot(SnapshotId=snapshot)
