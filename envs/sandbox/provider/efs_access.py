"""The ways into an elastic file system: access points and mount targets."""

import uuid
from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.efs import TAGGING, file_system_arn, host
from envs.sandbox.provider.resource import Args, Resource
from envs.sandbox.provider.schema import block, integer, text, unordered
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map

# Access point ---------------------------------------------------------------------------------------------------

_POINT_SOURCE: Final = "internal/service/efs/access_point.go"
_POINT: Final = {
    "fileSystemId": text(required=True),
    "posixUser": block(
        {
            "gid": integer(required=True),
            "secondaryGids": unordered(integer()),
            "uid": integer(required=True),
        }
    ),
    "rootDirectory": block(
        {
            "creationInfo": block(
                {
                    "ownerGid": integer(required=True),
                    "ownerUid": integer(required=True),
                    "permissions": text(required=True),
                },
                computed=True,
            ),
            "path": text(computed=True),
        },
        computed=True,
    ),
}


def _create_point(aws: Aws, args: Args) -> str:
    wanted = {"ClientToken": uuid.uuid4().hex, **request(_POINT, args)}
    return aws.client("efs").create_access_point(**wanted, Tags=tag_list(args.get("tagsAll")))["AccessPointId"]


def _point(aws: Aws, identifier: str) -> dict[str, Any] | None:
    describe = aws.client("efs").describe_access_points
    found = find(lambda: describe(AccessPointId=identifier)["AccessPoints"][0], "AccessPointNotFound")
    return found if found and found["LifeCycleState"] != "deleted" else None


def _finish_point(aws: Aws, identifier: str, _: Args) -> None:
    aws.wait(
        f"access point {identifier} becomes available",
        lambda: (_point(aws, identifier) or {}).get("LifeCycleState") == "available",
        minutes=10,
    )


def _read_point(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _point(aws, identifier)
    return found and {
        **answer(_POINT, found),
        "arn": found["AccessPointArn"],
        "fileSystemArn": file_system_arn(aws, found["FileSystemId"]),
        "ownerId": found["OwnerId"],
        "tagsAll": tag_map(found.get("Tags")),
    }


def _delete_point(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("AccessPointNotFound"):
        aws.client("efs").delete_access_point(AccessPointId=identifier)


ACCESS_POINT: Final = Resource(
    type_name="aws:efs/accessPoint:AccessPoint",
    inputs=_POINT,
    outputs=("arn", "fileSystemArn", "ownerId"),
    replaces=dict.fromkeys(
        (
            "fileSystemId",
            "posixUser",
            "posixUser.gid",
            "posixUser.secondaryGids",
            "posixUser.uid",
            "rootDirectory",
            "rootDirectory.creationInfo",
            "rootDirectory.creationInfo.ownerGid",
            "rootDirectory.creationInfo.ownerUid",
            "rootDirectory.creationInfo.permissions",
            "rootDirectory.path",
        ),
        _POINT_SOURCE,
    ),
    create=_create_point,
    finish=_finish_point,
    read=_read_point,
    delete=_delete_point,
    tagging=TAGGING,
)


# Mount target ---------------------------------------------------------------------------------------------------

_TARGET: Final = {
    "fileSystemId": text(required=True),
    "ipAddress": text(computed=True),
    "securityGroups": unordered(text(), computed=True),
    "subnetId": text(required=True),
}


def _create_target(aws: Aws, args: Args) -> str:
    return aws.client("efs").create_mount_target(**request(_TARGET, args))["MountTargetId"]


def _target(aws: Aws, identifier: str) -> dict[str, Any] | None:
    describe = aws.client("efs").describe_mount_targets
    return find(lambda: describe(MountTargetId=identifier)["MountTargets"][0], "MountTargetNotFound")


def _finish_target(aws: Aws, identifier: str, _: Args) -> None:
    aws.wait(
        f"mount target {identifier} becomes available",
        lambda: (_target(aws, identifier) or {}).get("LifeCycleState") == "available",
        minutes=30,
    )


def _read_target(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _target(aws, identifier)
    if found is None:
        return None
    groups = aws.client("efs").describe_mount_target_security_groups(MountTargetId=identifier)
    file_system, zone = found["FileSystemId"], found["AvailabilityZoneName"]
    return {
        **answer(_TARGET, found, ("fileSystemId", "ipAddress", "subnetId")),
        **answer(_TARGET, groups, ("securityGroups",)),
        "availabilityZoneId": found["AvailabilityZoneId"],
        "availabilityZoneName": zone,
        "dnsName": host(aws, file_system),
        "fileSystemArn": file_system_arn(aws, file_system),
        "mountTargetDnsName": host(aws, zone, file_system),
        "networkInterfaceId": found["NetworkInterfaceId"],
        "ownerId": found["OwnerId"],
    }


def _update_target(aws: Aws, identifier: str, _: Args, new: Args, __: set[str]) -> None:
    aws.client("efs").modify_mount_target_security_groups(
        MountTargetId=identifier, SecurityGroups=new.get("securityGroups") or []
    )


def _delete_target(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("MountTargetNotFound"):
        aws.client("efs").delete_mount_target(MountTargetId=identifier)


MOUNT_TARGET: Final = Resource(
    type_name="aws:efs/mountTarget:MountTarget",
    inputs=_TARGET,
    outputs=(
        "availabilityZoneId",
        "availabilityZoneName",
        "dnsName",
        "fileSystemArn",
        "mountTargetDnsName",
        "networkInterfaceId",
        "ownerId",
    ),
    replaces=dict.fromkeys(("fileSystemId", "ipAddress", "subnetId"), "internal/service/efs/mount_target.go"),
    create=_create_target,
    finish=_finish_target,
    read=_read_target,
    update=_update_target,
    delete=_delete_target,
    identity=("fileSystemId", "subnetId"),
)

RESOURCES: Final = (ACCESS_POINT, MOUNT_TARGET)
