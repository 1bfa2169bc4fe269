"""File systems of FSx for Windows File Server."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, Resource, Tagging
from envs.sandbox.provider.schema import boolean, integer, sequence, text, unordered
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map

_NO_FILE_SYSTEM: Final = "FileSystemNotFound"
_SOURCE: Final = "internal/service/fsx/windows_file_system.go"
_WINDOWS: Final = "WindowsConfiguration"
_CHANGE_MINUTES: Final = 45
"""The official provider's time-outs for a creation and an update."""

_CHANGEABLE: Final = {
    "automaticBackupRetentionDays": integer(default=7, api=f"{_WINDOWS}.AutomaticBackupRetentionDays"),
    "dailyAutomaticBackupStartTime": text(computed=True, api=f"{_WINDOWS}.DailyAutomaticBackupStartTime"),
    "storageCapacity": integer(computed=True),
    "throughputCapacity": integer(required=True, api=f"{_WINDOWS}.ThroughputCapacity"),
    "weeklyMaintenanceStartTime": text(computed=True, api=f"{_WINDOWS}.WeeklyMaintenanceStartTime"),
}
_SECURITY_GROUPS: Final = {"securityGroupIds": unordered(text(), write_only=True)}
"""FSx never tells them."""
_FIXED: Final = {
    "activeDirectoryId": text(api=f"{_WINDOWS}.ActiveDirectoryId"),
    "copyTagsToBackups": boolean(default=False, api=f"{_WINDOWS}.CopyTagsToBackups"),
    "deploymentType": text(default="SINGLE_AZ_1", api=f"{_WINDOWS}.DeploymentType"),
    "kmsKeyId": text(computed=True),
    "preferredSubnetId": text(computed=True, api=f"{_WINDOWS}.PreferredSubnetId"),
    "storageType": text(default="SSD"),
    "subnetIds": sequence(text(), required=True),
    **_SECURITY_GROUPS,
}
_FIELDS: Final = {**_CHANGEABLE, **_FIXED}


def _add_tags(aws: Aws, identifier: str, _: Args, tags: dict[str, str]) -> None:
    aws.client("fsx").tag_resource(ResourceARN=_arn(aws, identifier), Tags=tag_list(tags))


def _remove_tags(aws: Aws, identifier: str, _: Args, keys: list[str]) -> None:
    aws.client("fsx").untag_resource(ResourceARN=_arn(aws, identifier), TagKeys=keys)


def _arn(aws: Aws, identifier: str) -> str:
    return aws.arn("fsx", f"file-system/{identifier}")


def _create(aws: Aws, args: Args) -> str:
    made = aws.client("fsx").create_file_system(
        FileSystemType="WINDOWS", **request(_FIELDS, args), Tags=tag_list(args.get("tagsAll"))
    )
    return made["FileSystem"]["FileSystemId"]


def _find(aws: Aws, identifier: str) -> dict[str, Any] | None:
    describe = aws.client("fsx").describe_file_systems
    return find(lambda: describe(FileSystemIds=[identifier])["FileSystems"][0], _NO_FILE_SYSTEM)


def _finish(aws: Aws, identifier: str, _: Args) -> None:
    aws.wait(
        f"file system {identifier} becomes available",
        lambda: (_find(aws, identifier) or {}).get("Lifecycle") == "AVAILABLE",
        minutes=_CHANGE_MINUTES,
    )


def _read(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _find(aws, identifier)
    if found is None:
        return None
    windows = found[_WINDOWS]
    return {
        **answer(_FIELDS, found, _FIELDS.keys() - _SECURITY_GROUPS.keys()),
        "arn": found["ResourceARN"],
        "dnsName": found["DNSName"],
        "networkInterfaceIds": found["NetworkInterfaceIds"],
        "ownerId": found["OwnerId"],
        "preferredFileServerIp": windows["PreferredFileServerIp"],
        "remoteAdministrationEndpoint": windows["RemoteAdministrationEndpoint"],
        "vpcId": found["VpcId"],
        "tagsAll": tag_map(found.get("Tags")),
    }


def _update(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    if not (wanted := request(_FIELDS, new, changed & _CHANGEABLE.keys())):
        return
    aws.client("fsx").update_file_system(FileSystemId=identifier, **wanted)
    aws.wait(
        f"the change of file system {identifier}",
        lambda: _is_updated(_find(aws, identifier) or {}),
        minutes=_CHANGE_MINUTES,
    )


def _is_updated(found: dict[str, Any]) -> bool:
    actions = found.get("AdministrativeActions") or []
    updates = [each for each in actions if each["AdministrativeActionType"] == "FILE_SYSTEM_UPDATE"]
    return bool(found) and all(each["Status"] == "COMPLETED" for each in updates)


def _delete(aws: Aws, identifier: str, args: Args) -> None:
    with ignoring(_NO_FILE_SYSTEM):
        aws.client("fsx").delete_file_system(
            FileSystemId=identifier, WindowsConfiguration={"SkipFinalBackup": bool(args.get("skipFinalBackup"))}
        )


WINDOWS_FILE_SYSTEM: Final = Resource(
    type_name="aws:fsx/windowsFileSystem:WindowsFileSystem",
    inputs={**_FIELDS, "skipFinalBackup": boolean(default=False, write_only=True)},
    outputs=(
        "arn",
        "dnsName",
        "networkInterfaceIds",
        "ownerId",
        "preferredFileServerIp",
        "remoteAdministrationEndpoint",
        "vpcId",
    ),
    replaces=dict.fromkeys(_FIXED, _SOURCE),
    create=_create,
    finish=_finish,
    read=_read,
    update=_update,
    delete=_delete,
    tagging=Tagging(_add_tags, _remove_tags),
)

RESOURCES: Final = (WINDOWS_FILE_SYSTEM,)
