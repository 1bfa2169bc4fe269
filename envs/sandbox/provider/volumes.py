"""Disks that outlive the instances they are attached to."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.ec2 import TAGGING, specifications
from envs.sandbox.provider.resource import Args, Busy, Resource
from envs.sandbox.provider.schema import boolean, integer, text
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map

_SOURCE: Final = "internal/service/ec2/ebs_volume.go"
_GONE: Final = ("InvalidVolume.NotFound",)
_VOLUME: Final = {
    "availabilityZone": text(required=True),
    "encrypted": boolean(computed=True),
    "iops": integer(computed=True),
    "kmsKeyId": text(computed=True),
    "multiAttachEnabled": boolean(),
    "size": integer(computed=True),
    "snapshotId": text(computed=True),
    "throughput": integer(computed=True),
    "type": text(computed=True, api="VolumeType"),
}
_CHANGEABLE: Final = ("iops", "size", "throughput", "type")


def _create(aws: Aws, args: Args) -> str:
    return aws.client("ec2").create_volume(**request(_VOLUME, args), **specifications("volume", args))["VolumeId"]


def _finish(aws: Aws, identifier: str, _: Args) -> None:
    aws.wait(
        f"volume {identifier} becomes available",
        lambda: (_volume(aws, identifier) or {}).get("State") in ("available", "in-use"),
        minutes=5,
    )


def _volume(aws: Aws, identifier: str) -> dict[str, Any] | None:
    describe = aws.client("ec2").describe_volumes
    found = find(lambda: describe(VolumeIds=[identifier])["Volumes"], *_GONE)
    return found[0] if found else None


def _read(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _volume(aws, identifier)
    return found and {
        **answer(_VOLUME, found),
        "arn": aws.arn("ec2", f"volume/{identifier}"),
        "createTime": found["CreateTime"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "tagsAll": tag_map(found.get("Tags")),
    }


def _update(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    names = {*(name for name in _CHANGEABLE if name in changed)}
    if not names:
        return
    # What is left out falls back to AWS's default with a new type (`resourceEBSVolumeUpdate`).
    names |= {"throughput"} if new.get("type") == "gp3" else set()
    names |= {"iops"} if "type" in names else set()
    aws.client("ec2").modify_volume(VolumeId=identifier, **request(_VOLUME, new, sorted(names)))
    aws.wait(f"volume {identifier} is modified", lambda: _is_modified(aws, identifier), minutes=5)


def _is_modified(aws: Aws, identifier: str) -> bool:
    told = aws.client("ec2").describe_volumes_modifications(VolumeIds=[identifier])["VolumesModifications"]
    return all(each["ModificationState"] in ("optimizing", "completed") for each in told)


def _delete(aws: Aws, identifier: str, state: Args) -> None:
    ec2 = aws.client("ec2")
    with ignoring(*_GONE):
        if state.get("finalSnapshot"):
            tags = [{"ResourceType": "snapshot", "Tags": tag_list(state.get("tagsAll"))}]
            kept = ec2.create_snapshot(
                VolumeId=identifier, **({"TagSpecifications": tags} if tags[0]["Tags"] else {})
            )
            ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[kept["SnapshotId"]])
        ec2.delete_volume(VolumeId=identifier)


VOLUME: Final = Resource(
    type_name="aws:ebs/volume:Volume",
    inputs={**_VOLUME, "finalSnapshot": boolean(default=False, write_only=True)},
    outputs=("arn", "createTime"),
    replaces=dict.fromkeys(
        ("availabilityZone", "encrypted", "kmsKeyId", "multiAttachEnabled", "snapshotId"), _SOURCE
    ),
    create=_create,
    finish=_finish,
    read=_read,
    update=_update,
    delete=_delete,
    busy=Busy(_SOURCE, 10, ("VolumeInUse",)),
    tagging=TAGGING,
)

RESOURCES: Final = (VOLUME,)
