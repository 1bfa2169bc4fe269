"""Volumes and snapshots: states that take a moment, and what EC2 refuses to attach, detach or restore.

Sources: EBS User Guide ("Amazon EBS volume lifecycle", "Create an Amazon EBS volume from a snapshot", "Amazon EBS
encryption": a copy keeps the key), EC2 API Reference (AttachVolume, DetachVolume, CreateVolume, "Error codes").
"""

import threading
from functools import partial
from typing import Any, Final

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, elastic_block_store
from moto.ec2.models.elastic_block_store import Snapshot, Volume, VolumeAttachment
from moto.ec2.models.instances import Instance
from moto.ec2.responses import EC2Response

from envs.sandbox.aws.clock import CLOCK
from envs.sandbox.aws.ec2_machines import check_attachable

_MOMENT_S: Final = 0.3


class StoredVolume(Volume):
    """A volume that is not there at once when somebody asks EC2 for it."""

    creating = False

    @property
    def status(self) -> str:
        return "creating" if self.creating else super().status


class TakenSnapshot(Snapshot):
    """A snapshot that says how far it is."""

    @property
    def progress(self) -> str:
        return "100%" if self.status == "completed" else "0%"


class Storage(EC2Backend):
    """moto's backend with volumes and snapshots that take their time."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self._disks = threading.RLock()
        super().__init__(region_name, account_id)

    def create_volume(
        self, size: int, zone_name: str, snapshot_id: str | None = None, *arguments: Any, **options: Any
    ) -> Volume:
        """As moto's; of an encrypted snapshot comes a volume under the same key, unless another is named."""
        snapshot = self.get_snapshot(snapshot_id) if snapshot_id else None
        if snapshot is not None:
            if snapshot.status != "completed":
                raise EC2ClientError("IncorrectState", f"Snapshot is in invalid state - {snapshot.status}")
            if size is not None and int(size) < snapshot.volume_size:
                raise EC2ClientError(
                    "InvalidParameterValue",
                    f"Volume of {size}GiB is smaller than snapshot '{snapshot.id}', expect size >= "
                    f"{snapshot.volume_size}GiB",
                )
            if snapshot.encrypted and not arguments and not options.get("kms_key_id"):
                options |= {"encrypted": True, "kms_key_id": snapshot.kms_key_id}
        return super().create_volume(size, zone_name, snapshot_id, *arguments, **options)

    def create_snapshot(self, volume_id: str, *arguments: Any, **options: Any) -> Snapshot:
        volume = self.get_volume(volume_id)
        snapshot = super().create_snapshot(volume_id, *arguments, **options)
        snapshot.kms_key_id = volume.kms_key_id
        snapshot.status = "pending"
        CLOCK.after(_MOMENT_S, partial(setattr, snapshot, "status", "completed"))
        return snapshot

    def attach_volume(self, volume_id: str, instance_id: str, *arguments: Any, **options: Any) -> Any:
        volume, instance = self.get_volume(volume_id), self.get_instance(instance_id)
        if volume.attachment is not None:
            raise EC2ClientError("VolumeInUse", f"{volume_id} is already attached to an instance")
        if volume.zone is not None and volume.availability_zone != instance.availability_zone:
            raise EC2ClientError(
                "InvalidVolume.ZoneMismatch",
                f"The volume '{volume_id}' is not in the same availability zone as instance '{instance_id}'",
            )
        return super().attach_volume(volume_id, instance_id, *arguments, **options)

    def attach_slowly(self, volume_id: str, instance_id: str, device: str) -> VolumeAttachment:
        """AttachVolume: the attachment is made at once, and usable a moment later."""
        with self._disks:
            volume, instance = self.get_volume(volume_id), self.get_instance(instance_id)
            check_attachable(instance)
            if volume.status == "creating":
                raise EC2ClientError("IncorrectState", f"{volume_id} is not 'available'.")
            if device in instance.block_device_mapping:
                raise EC2ClientError(
                    "InvalidParameterValue",
                    f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use",
                )
            attachment: VolumeAttachment = self.attach_volume(volume_id, instance_id, device)
            self._enter(attachment, "attaching")
            CLOCK.after(_MOMENT_S, partial(self._attached, attachment))
            return attachment

    def detach_slowly(self, volume_id: str, instance_id: str | None, device: str | None) -> VolumeAttachment:
        """DetachVolume: the volume is available a moment later."""
        with self._disks:
            attachment = self.get_volume(volume_id).attachment
            if attachment is None:
                raise EC2ClientError("IncorrectState", f"Volume '{volume_id}' is in the 'available' state.")
            if instance_id not in (None, attachment.instance.id) or device not in (None, attachment.device):
                raise EC2ClientError(
                    "InvalidAttachment.NotFound",
                    f"Volume '{volume_id}' is not attached to instance '{instance_id}' as device '{device}'",
                )
            instance: Instance = attachment.instance
            if attachment.device == instance.root_device_name and instance.state != "stopped":
                raise EC2ClientError(
                    "OperationNotPermitted",
                    f"Unable to detach root volume '{volume_id}' from instance '{instance.id}'",
                )
            if attachment.status != "detaching":
                self._enter(attachment, "detaching")
                CLOCK.after(_MOMENT_S, partial(self._detached, attachment))
            return attachment

    @staticmethod
    def _enter(attachment: VolumeAttachment, status: str) -> None:
        attachment.status = status
        attachment.instance.block_device_mapping[attachment.device].status = status

    def _attached(self, attachment: VolumeAttachment) -> None:
        with self._disks:
            # The instance may have ended meanwhile, or somebody taken the volume away.
            if attachment.volume.attachment is attachment and attachment.status == "attaching":
                self._enter(attachment, "attached")

    def _detached(self, attachment: VolumeAttachment) -> None:
        with self._disks:
            if attachment.volume.attachment is attachment:
                self.detach_volume(attachment.volume.id, attachment.instance.id, attachment.device)


class StorageResponses(EC2Response):
    """moto's responses to what concerns volumes and snapshots."""

    @property
    def _storage(self) -> Storage:
        backend = self.ec2_backend
        assert isinstance(backend, Storage)  # noqa: S101 (for the type checker; `install` sees to it)
        return backend

    def create_volume(self) -> ActionResult:
        zone = self._get_param("AvailabilityZone")
        if self.ec2_backend.get_zone_by_name(zone) is None:
            raise EC2ClientError("InvalidZone.NotFound", f"The zone '{zone}' does not exist.")
        result = super().create_volume()
        made: Any = result.result
        made.creating = True
        CLOCK.after(_MOMENT_S, partial(setattr, made, "creating", False))
        return result

    def attach_volume(self) -> ActionResult:
        made = self._storage.attach_slowly(*map(self._get_param, ("VolumeId", "InstanceId", "Device")))
        return ActionResult(_told(made))

    def detach_volume(self) -> ActionResult:
        ending = self._storage.detach_slowly(*map(self._get_param, ("VolumeId", "InstanceId", "Device")))
        return ActionResult(_told(ending))

    def describe_snapshots(self) -> ActionResult:
        found = self.ec2_backend.describe_snapshots(
            snapshot_ids=self._get_param("SnapshotIds", []), filters=self._filters_from_querystring()
        )
        if owners := self._get_param("OwnerIds", []):
            wanted = {self.current_account if owner == "self" else owner for owner in owners}
            found = [snapshot for snapshot in found if snapshot.owner_id in wanted]
        return ActionResult({"Snapshots": found})


def install() -> None:
    """Makes moto's backend keep such volumes and snapshots."""
    elastic_block_store.Volume = StoredVolume  # type: ignore[misc]
    elastic_block_store.Snapshot = TakenSnapshot  # type: ignore[misc]


def _told(attachment: VolumeAttachment) -> dict[str, Any]:
    return {
        "VolumeId": attachment.volume.id,
        "InstanceId": attachment.instance.id,
        "Device": attachment.device,
        "State": attachment.status,
        "AttachTime": attachment.attach_time,
    }
