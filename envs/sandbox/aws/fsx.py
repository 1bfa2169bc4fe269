"""FSx for Windows File Server: what moto lacks (states, changes, interfaces, backups on the way out), and refusals.

Amazon FSx API Reference: the errors of each action. FSx for Windows File Server User Guide, "Using Active Directory":
a file system joins an AWS Managed Microsoft AD and has its name in that domain.
"""

import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

from moto.core.common_types import TYPE_RESPONSE
from moto.ds.models import ds_backends
from moto.ec2.exceptions import InvalidSubnetIdError
from moto.ec2.models import ec2_backends
from moto.fsx import urls
from moto.fsx.exceptions import FileSystemNotFound
from moto.fsx.models import FileSystem, FSxBackend, fsx_backends
from moto.fsx.responses import FSxResponse

from envs.sandbox.aws import fsx_rules
from envs.sandbox.aws.clock import CLOCK
from envs.sandbox.aws.host import Host
from envs.sandbox.aws.permission_terms import find_key

_MOMENT_S: Final = 0.5
_WINDOWS: Final = "WINDOWS"
_DIRECTORY: Final = "MicrosoftAD"
_KNOWN: Final = frozenset(
    {
        *("ClientRequestToken", "FileSystemType", "KmsKeyId", "SecurityGroupIds", "StorageCapacity", "StorageType"),
        *("SubnetIds", "Tags", "WindowsConfiguration"),
    }
)
_DEFAULTS: Final = {
    "AutomaticBackupRetentionDays": 7,
    "CopyTagsToBackups": False,
    "DailyAutomaticBackupStartTime": "04:00",
    "DeploymentType": fsx_rules.SINGLE_AZ,
    "WeeklyMaintenanceStartTime": "7:05:00",
}
"""AWS picks the times itself."""


class WindowsFiles(FileSystem):
    """moto's file system, with its state and its place in the network."""

    lifecycle = "CREATING"
    updating = False
    """Whether a change of its configuration is going on; what it will be is told at once."""

    def place(self, vpc_id: str, interfaces: Mapping[str, str], domain: str) -> None:
        """Where it stands: an interface and its address for each subnet, and its names in the domain."""
        self.vpc_id = vpc_id
        self.network_interface_ids = list(interfaces)
        self.created = time.time()
        stem = self.file_system_id.removeprefix("fs-")
        self.dns_name = f"amznfsx{stem}.{domain}"
        self.windows_configuration |= {  # type: ignore[operator] (it always has one)
            "PreferredFileServerIp": next(iter(interfaces.values())),
            "RemoteAdministrationEndpoint": f"amznfsx{stem}.{domain}",
        }

    def to_dict(self) -> dict[str, Any]:
        action = {
            "AdministrativeActionType": "FILE_SYSTEM_UPDATE",
            "Status": "IN_PROGRESS" if self.updating else "COMPLETED",
        }
        return {
            **super().to_dict(),
            "AdministrativeActions": [action],
            "CreationTime": self.created,
            "Lifecycle": self.lifecycle,
            "NetworkInterfaceIds": self.network_interface_ids,
            "OwnerId": self.backend.account_id,
            "VpcId": self.vpc_id,
        }


class WindowsBackend(FSxBackend):
    """moto's backend for file systems of Windows, with AWS's refusals; others are refused by name."""

    @property
    def _url_module(self) -> Any:
        return urls

    def create_windows(self, wanted: Mapping[str, Any]) -> WindowsFiles:
        """CreateFileSystem, of Windows."""
        if wanted["FileSystemType"] != _WINDOWS:
            raise NotImplementedError(f"FSx file systems of type {wanted['FileSystemType']}")
        fsx_rules.check_known(wanted, _KNOWN)
        given = wanted.get("WindowsConfiguration") or {}
        fsx_rules.check_known(given)
        windows = {**_DEFAULTS, **given}
        deployment, capacity = windows["DeploymentType"], wanted.get("StorageCapacity")
        storage, key_id = wanted.get("StorageType") or fsx_rules.SSD, wanted.get("KmsKeyId")
        fsx_rules.check_sizes(storage, deployment, capacity, windows.get("ThroughputCapacity"))
        fsx_rules.check_times(windows)
        domain = self._domain(windows.get("ActiveDirectoryId"))
        if key_id:
            self._check_key(key_id)
        subnet_ids = wanted["SubnetIds"]
        subnets = self._subnets(subnet_ids)
        zones = [each.availability_zone for each in subnets]
        fsx_rules.check_places(deployment, subnet_ids, zones, windows.get("PreferredSubnetId"))
        windows.setdefault("PreferredSubnetId", subnet_ids[0])
        vpc_id = subnets[0].vpc_id
        groups = self._groups(vpc_id, wanted.get("SecurityGroupIds"))
        # moto's metaclass hides what it makes from a type checker.
        made = cast(
            "WindowsFiles",
            WindowsFiles(
                account_id=self.account_id,
                region_name=self.region_name,
                file_system_type=_WINDOWS,
                storage_capacity=capacity,
                storage_type=storage,
                subnet_ids=subnet_ids,
                security_group_ids=groups,
                tags=wanted.get("Tags"),
                kms_key_id=key_id,
                windows_configuration=windows,
                lustre_configuration=None,
                ontap_configuration=None,
                open_zfs_configuration=None,
                backend=self,
            ),
        )
        preferred = sorted(subnets, key=lambda each: each.id != windows["PreferredSubnetId"])
        made.place(vpc_id, self._interfaces(made.file_system_id, preferred, groups), domain)
        self.file_systems[made.file_system_id] = made
        CLOCK.after(_MOMENT_S, partial(setattr, made, "lifecycle", "AVAILABLE"))
        return made

    def update_file_system(
        self, file_system_id: str, storage_capacity: int | None, configuration: Mapping[str, Any]
    ) -> WindowsFiles:
        """UpdateFileSystem: more storage, another throughput, other times."""
        found = self.existing(file_system_id)
        fsx_rules.check_known(configuration, fsx_rules.CHANGEABLE)
        fsx_rules.check_times(configuration)
        if found.lifecycle != "AVAILABLE" or found.updating:
            raise fsx_rules.BadRequestError(f"{file_system_id} is {found.lifecycle} or being updated.")
        wanted = {**(found.windows_configuration or {}), **configuration}
        if storage_capacity is not None:
            fsx_rules.check_growth(found.storage_capacity, storage_capacity, wanted["ThroughputCapacity"])
        capacity = storage_capacity or found.storage_capacity
        fsx_rules.check_sizes(found.storage_type, wanted["DeploymentType"], capacity, wanted["ThroughputCapacity"])
        found.windows_configuration, found.storage_capacity, found.updating = wanted, capacity, True
        CLOCK.after(_MOMENT_S, partial(setattr, found, "updating", False))
        return found

    def delete_windows(self, file_system_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """DeleteFileSystem: a backup is left behind unless the request says otherwise."""
        found = self.existing(file_system_id)
        fsx_rules.check_known(given, frozenset({"SkipFinalBackup"}))
        told: dict[str, Any] = {}
        if not given.get("SkipFinalBackup"):
            backup = self.create_backup(file_system_id, None, None, None)
            backup.lifecycle = "AVAILABLE"
            told = {"FinalBackupId": backup.backup_id}
        found.lifecycle = "DELETING"
        CLOCK.after(_MOMENT_S, partial(self._end, found))
        return {"FileSystemId": file_system_id, "Lifecycle": found.lifecycle, "WindowsResponse": told}

    def _end(self, found: WindowsFiles) -> None:
        ec2 = ec2_backends[self.account_id][self.region_name]
        for interface in found.network_interface_ids:
            if interface in ec2.enis:
                ec2.delete_network_interface(interface)
        self.file_systems.pop(found.file_system_id, None)
        self.tagger.delete_all_tags_for_resource(found.resource_arn)

    def existing(self, file_system_id: str) -> WindowsFiles:
        """A file system that is there. Raises `FileSystemNotFound`."""
        found = self.file_systems.get(file_system_id)
        if not isinstance(found, WindowsFiles):
            raise FileSystemNotFound(file_system_id)
        return found

    def _domain(self, directory_id: str | None) -> str:
        """The name of the domain that the file system joins."""
        directory = ds_backends[self.account_id][self.region_name].directories.get(directory_id or "")
        if directory is None:
            raise fsx_rules.DirectoryError(f"The directory {directory_id} does not exist (DOMAIN_NOT_FOUND).")
        if directory.directory_type != _DIRECTORY:
            raise fsx_rules.DirectoryError(f"The directory {directory_id} is no AWS Managed Microsoft AD.")
        return str(directory.name)

    def _check_key(self, key_id: str) -> None:
        key = find_key(key_id, self.account_id, self.region_name)
        if key is None or key.key_state != "Enabled":
            raise fsx_rules.BadRequestError(f"The KMS key {key_id} does not exist or is not enabled.")

    def _subnets(self, subnet_ids: Sequence[str]) -> list[Any]:
        ec2 = ec2_backends[self.account_id][self.region_name]
        try:
            found = [ec2.get_subnet(each) for each in subnet_ids]
        except InvalidSubnetIdError as error:
            raise fsx_rules.NetworkError(f"One of the subnets {', '.join(subnet_ids)} does not exist.") from error
        if len({each.vpc_id for each in found}) > 1:
            raise fsx_rules.NetworkError("The subnets are not of one VPC.")
        return found

    def _groups(self, vpc_id: str, given: Sequence[str] | None) -> list[str]:
        known = ec2_backends[self.account_id][self.region_name].groups.get(vpc_id, {})
        for group in given or ():
            if group not in known:
                raise fsx_rules.NetworkError(f"The security group {group} is not one of {vpc_id}.")
        return list(given or (group.id for group in known.values() if group.is_default))

    def _interfaces(self, name: str, subnets: Sequence[Any], groups: list[str]) -> dict[str, str]:
        ec2 = ec2_backends[self.account_id][self.region_name]
        found = {}
        for subnet in subnets:
            interface = ec2.create_network_interface(subnet, [], group_ids=groups, description=f"FSx {name}")
            found[interface.id] = str(interface.private_ip_address)
        return found


class _Response(FSxResponse):
    """moto's responses, with what differs."""

    @property
    def _backend(self) -> WindowsBackend:
        backend = self.fsx_backend
        assert isinstance(backend, WindowsBackend)  # noqa: S101 (for the type checker; `install` sees to it)
        return backend

    def create_file_system(self) -> str:
        return json.dumps({"FileSystem": self._backend.create_windows(json.loads(self.body)).to_dict()})

    def describe_file_systems(self) -> str:
        for each in json.loads(self.body).get("FileSystemIds") or ():
            self._backend.existing(each)
        return super().describe_file_systems()

    def update_file_system(self) -> TYPE_RESPONSE:
        wanted = json.loads(self.body)
        found = self._backend.update_file_system(
            wanted["FileSystemId"], wanted.get("StorageCapacity"), wanted.get("WindowsConfiguration") or {}
        )
        return 200, {}, json.dumps({"FileSystem": found.to_dict()})

    def delete_file_system(self) -> str:
        wanted = json.loads(self.body)
        return json.dumps(
            self._backend.delete_windows(wanted["FileSystemId"], wanted.get("WindowsConfiguration") or {})
        )


def install(_host: Host) -> None:
    """Puts this backend and its responses in the place of moto's."""
    fsx_backends.backend = WindowsBackend
    urls.url_paths = dict.fromkeys(urls.url_paths, _Response.dispatch)
