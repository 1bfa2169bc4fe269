"""A seed's data disks and their snapshots, through boto3."""

from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from services.fabric.account import code, filters, tags_of
from services.fabric.lifecycle import CLUSTER_TAG, NODE_TAG, ROLE_TAG, SNAPSHOTS_TAG, Instance
from services.fabric.seed_launch.core import DEVICE, RESTORED_FROM, ROLE, Disk, DiskBusyError

_USABLE: Final = ("creating", "available", "in-use", "error")
_BUSY: Final = ("VolumeInUse", "IncorrectState", "IncorrectInstanceState", "InvalidVolume.NotFound")
"""EC2 API Reference, "Error codes": all of them can be different a moment later."""


class EbsDisks:
    """The cluster's seed disks; `client` is boto3's of EC2."""

    def __init__(self, client: Any, cluster: str, key_arn: str) -> None:
        self._client = client
        self._cluster = cluster
        self._key_arn = key_arn

    def of_node(self, node: str) -> list[Disk]:
        """The data disks of a node, but those that are being deleted."""
        pages = self._client.get_paginator("describe_volumes").paginate(
            Filters=filters({**self._tagged(node), "status": _USABLE})
        )
        return [_disk(item) for page in pages for item in page["Volumes"]]

    def newest_snapshot(self, node: str) -> str:
        """The newest completed snapshot of a node's data disk; empty when there is none.

        Data Lifecycle Manager copies the disk's tags to its snapshots.
        """
        pages = self._client.get_paginator("describe_snapshots").paginate(
            OwnerIds=["self"], Filters=filters({**self._tagged(node), "status": "completed"})
        )
        found = [item for page in pages for item in page["Snapshots"]]
        return max(found, key=lambda item: item["StartTime"])["SnapshotId"] if found else ""

    def restore(self, snapshot: str, node: str, instance: Instance) -> None:
        """Begins to make a disk in the machine's zone, once a machine. Raises `DiskBusyError`."""
        tags = {
            "Name": f"{self._cluster}-{node}",
            CLUSTER_TAG: self._cluster,
            NODE_TAG: node,
            ROLE_TAG: ROLE,
            SNAPSHOTS_TAG: self._cluster,
            RESTORED_FROM: snapshot,
        }
        try:
            self._client.create_volume(
                SnapshotId=snapshot,
                AvailabilityZone=instance.zone,
                VolumeType="gp3",
                Encrypted=True,
                KmsKeyId=self._key_arn,
                # One disk a machine, whichever snapshot was the newest when it was asked for.
                ClientToken=f"{ROLE}-{instance.id}",
                TagSpecifications=[
                    {"ResourceType": "volume", "Tags": [{"Key": key, "Value": tags[key]} for key in tags]}
                ],
            )
        except ClientError as error:
            if code(error) in ("IdempotentParameterMismatch", "InvalidSnapshot.NotFound"):
                raise DiskBusyError(f"no second disk is made for {instance.id}: {error}") from error
            raise

    def attach(self, disk: str, instance: str) -> None:
        """Begins to attach a disk. Raises `DiskBusyError`."""
        try:
            self._client.attach_volume(VolumeId=disk, InstanceId=instance, Device=DEVICE)
        except ClientError as error:
            if code(error) in _BUSY:
                raise DiskBusyError(f"disk {disk} is not attached: {error}") from error
            raise

    def _tagged(self, node: str) -> dict[str, str]:
        tags = {CLUSTER_TAG: self._cluster, NODE_TAG: node, ROLE_TAG: ROLE}
        return {f"tag:{name}": value for name, value in tags.items()}


def _disk(item: Mapping[str, Any]) -> Disk:
    attachment = next(iter(item.get("Attachments") or ()), {})
    return Disk(
        id=item["VolumeId"],
        state=item["State"],
        zone=item["AvailabilityZone"],
        holder=attachment.get("InstanceId", ""),
        attachment=attachment.get("State", ""),
        restored_from=tags_of(item).get(RESTORED_FROM, ""),
    )
