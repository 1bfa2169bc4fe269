"""Elastic file systems: the file system, who may use it, and its backups."""

import uuid
from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, Resource, Tagging
from envs.sandbox.provider.schema import block, boolean, document, integer, sequence, text
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map

_NO_FILE_SYSTEM: Final = "FileSystemNotFound"


def _add_tags(aws: Aws, identifier: str, _: Args, tags: dict[str, str]) -> None:
    aws.client("efs").tag_resource(ResourceId=identifier, Tags=tag_list(tags))


def _remove_tags(aws: Aws, identifier: str, _: Args, keys: list[str]) -> None:
    aws.client("efs").untag_resource(ResourceId=identifier, TagKeys=keys)


TAGGING: Final = Tagging(_add_tags, _remove_tags)


def host(aws: Aws, *labels: str) -> str:
    """The name in DNS of a file system, or of its mount target in a zone."""
    return ".".join((*labels, "efs", aws.region, "amazonaws.com"))


def file_system_arn(aws: Aws, identifier: str) -> str:
    """The ARN of a file system."""
    return aws.arn("elasticfilesystem", f"file-system/{identifier}")


# File system ----------------------------------------------------------------------------------------------------

_SOURCE: Final = "internal/service/efs/file_system.go"
_THROUGHPUT: Final = {
    "provisionedThroughputInMibps": integer(),
    "throughputMode": text(default="bursting"),
}
_FIXED: Final = {
    "availabilityZoneName": text(computed=True),
    "creationToken": text(computed=True),
    "encrypted": boolean(computed=True),
    "kmsKeyId": text(computed=True),
    "performanceMode": text(computed=True),
}
_FILE_SYSTEM: Final = {**_FIXED, **_THROUGHPUT}
_LIFECYCLE: Final = sequence(
    block(
        {
            "transitionToArchive": text(),
            "transitionToIa": text(api="TransitionToIA"),
            "transitionToPrimaryStorageClass": text(),
        }
    ),
    api="LifecyclePolicies",
)


def _throughput(args: Args) -> dict[str, Any]:
    # The official provider sends a figure in this mode only, whatever the program says.
    provisioned = args.get("throughputMode") == "provisioned"
    return request(_THROUGHPUT, args, _THROUGHPUT if provisioned else ("throughputMode",))


def _create_file_system(aws: Aws, args: Args) -> str:
    wanted = {"CreationToken": uuid.uuid4().hex, **request(_FIXED, args), **_throughput(args)}
    return aws.client("efs").create_file_system(**wanted, Tags=tag_list(args.get("tagsAll")))["FileSystemId"]


def _file_system(aws: Aws, identifier: str) -> dict[str, Any] | None:
    describe = aws.client("efs").describe_file_systems
    found = find(lambda: describe(FileSystemId=identifier)["FileSystems"][0], _NO_FILE_SYSTEM)
    return found if found and found["LifeCycleState"] != "deleted" else None


def _wait_file_system(aws: Aws, identifier: str) -> None:
    aws.wait(
        f"file system {identifier} becomes available",
        lambda: (_file_system(aws, identifier) or {}).get("LifeCycleState") == "available",
        minutes=10,
    )


def _finish_file_system(aws: Aws, identifier: str, args: Args) -> None:
    _wait_file_system(aws, identifier)
    if args.get("lifecyclePolicies"):
        _put_lifecycle(aws, identifier, args)


def _put_lifecycle(aws: Aws, identifier: str, args: Args) -> None:
    wanted = request({"lifecyclePolicies": _LIFECYCLE}, {"lifecyclePolicies": args.get("lifecyclePolicies") or []})
    aws.client("efs").put_lifecycle_configuration(FileSystemId=identifier, **wanted)


def _read_file_system(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _file_system(aws, identifier)
    if found is None:
        return None
    lifecycle = aws.client("efs").describe_lifecycle_configuration(FileSystemId=identifier)
    size = found["SizeInBytes"]
    return {
        **answer(_FILE_SYSTEM, found),
        **answer({"lifecyclePolicies": _LIFECYCLE}, lifecycle),
        "arn": found["FileSystemArn"],
        "availabilityZoneId": found.get("AvailabilityZoneId") or "",
        "dnsName": host(aws, identifier),
        "name": found.get("Name", ""),
        "numberOfMountTargets": found["NumberOfMountTargets"],
        "ownerId": found["OwnerId"],
        "sizeInBytes": [
            {
                "value": size["Value"],
                "valueInIa": size.get("ValueInIA", 0),
                "valueInStandard": size.get("ValueInStandard", 0),
            }
        ],
        "tagsAll": tag_map(found.get("Tags")),
    }


def _update_file_system(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    if changed & _THROUGHPUT.keys():
        aws.client("efs").update_file_system(FileSystemId=identifier, **_throughput(new))
        _wait_file_system(aws, identifier)
    if "lifecyclePolicies" in changed:
        _put_lifecycle(aws, identifier, new)


def _delete_file_system(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring(_NO_FILE_SYSTEM):
        aws.client("efs").delete_file_system(FileSystemId=identifier)


FILE_SYSTEM: Final = Resource(
    type_name="aws:efs/fileSystem:FileSystem",
    inputs={**_FILE_SYSTEM, "lifecyclePolicies": _LIFECYCLE},
    outputs=(
        "arn",
        "availabilityZoneId",
        "dnsName",
        "name",
        "numberOfMountTargets",
        "ownerId",
        "sizeInBytes",
    ),
    replaces=dict.fromkeys(_FIXED, _SOURCE),
    create=_create_file_system,
    finish=_finish_file_system,
    read=_read_file_system,
    update=_update_file_system,
    delete=_delete_file_system,
    tagging=TAGGING,
    recomputed_by={"name": ("tagsAll",)},
)


# File system policy ---------------------------------------------------------------------------------------------


def _put_policy(aws: Aws, args: Args) -> str:
    aws.client("efs").put_file_system_policy(
        FileSystemId=args["fileSystemId"],
        Policy=args["policy"],
        BypassPolicyLockoutSafetyCheck=bool(args.get("bypassPolicyLockoutSafetyCheck")),
    )
    return args["fileSystemId"]


def _read_policy(aws: Aws, identifier: str, _: Args) -> Args | None:
    describe = aws.client("efs").describe_file_system_policy
    found = find(lambda: describe(FileSystemId=identifier), _NO_FILE_SYSTEM, "PolicyNotFound")
    return found and {"fileSystemId": identifier, "policy": found["Policy"]}


def _update_policy(aws: Aws, _: str, __: Args, new: Args, ___: set[str]) -> None:
    _put_policy(aws, new)


def _delete_policy(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring(_NO_FILE_SYSTEM):
        aws.client("efs").delete_file_system_policy(FileSystemId=identifier)


FILE_SYSTEM_POLICY: Final = Resource(
    type_name="aws:efs/fileSystemPolicy:FileSystemPolicy",
    inputs={
        "bypassPolicyLockoutSafetyCheck": boolean(default=False, write_only=True),
        "fileSystemId": text(required=True),
        "policy": document(required=True),
    },
    outputs=(),
    replaces={"fileSystemId": "internal/service/efs/file_system_policy.go"},
    create=_put_policy,
    read=_read_policy,
    update=_update_policy,
    delete=_delete_policy,
    identity=("fileSystemId",),
)


# Backup policy --------------------------------------------------------------------------------------------------


def _put_backup(aws: Aws, identifier: str, status: str) -> None:
    efs = aws.client("efs")
    efs.put_backup_policy(FileSystemId=identifier, BackupPolicy={"Status": status})
    aws.wait(
        f"backups of {identifier} are {status}",
        lambda: efs.describe_backup_policy(FileSystemId=identifier)["BackupPolicy"]["Status"] == status,
        minutes=10,
    )


def _create_backup(aws: Aws, args: Args) -> str:
    _put_backup(aws, args["fileSystemId"], args["backupPolicy"]["status"])
    return args["fileSystemId"]


def _read_backup(aws: Aws, identifier: str, _: Args) -> Args | None:
    describe = aws.client("efs").describe_backup_policy
    found = find(lambda: describe(FileSystemId=identifier)["BackupPolicy"], _NO_FILE_SYSTEM, "PolicyNotFound")
    return found and {"fileSystemId": identifier, "backupPolicy": {"status": found["Status"]}}


def _update_backup(aws: Aws, identifier: str, _: Args, new: Args, __: set[str]) -> None:
    _put_backup(aws, identifier, new["backupPolicy"]["status"])


def _delete_backup(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring(_NO_FILE_SYSTEM):
        _put_backup(aws, identifier, "DISABLED")


BACKUP_POLICY: Final = Resource(
    type_name="aws:efs/backupPolicy:BackupPolicy",
    inputs={
        "backupPolicy": block({"status": text(required=True)}, required=True),
        "fileSystemId": text(required=True),
    },
    outputs=(),
    replaces={"fileSystemId": "internal/service/efs/backup_policy.go"},
    create=_create_backup,
    read=_read_backup,
    update=_update_backup,
    delete=_delete_backup,
    identity=("fileSystemId",),
    remains=True,
)

RESOURCES: Final = (FILE_SYSTEM, FILE_SYSTEM_POLICY, BACKUP_POLICY)
