"""EFS: what moto lacks (backup policies, throughput changes, policies that can be taken away), and AWS's refusals.

Amazon EFS API Reference: the errors of each action. Amazon EFS User Guide, "Managing mount targets": one in each
zone, all in one VPC, with security groups of that VPC; its default group where none is named.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from moto.ec2.exceptions import InvalidSubnetIdError
from moto.efs import urls
from moto.efs.exceptions import (
    AccessPointNotFound,
    BadRequest,
    FileSystemNotFound,
    PolicyNotFound,
    SecurityGroupLimitExceeded,
    SecurityGroupNotFound,
    SubnetNotFound,
)
from moto.efs.models import AccessPoint, EFSBackend, FileSystem, MountTarget, efs_backends
from moto.efs.responses import EFSResponse
from moto.kms.models import kms_backends

from envs.sandbox.aws import efs_rules
from envs.sandbox.aws.host import Host

_GROUP_LIMIT: Final = 5
_BETWEEN_CHANGES: Final = timedelta(hours=24)
"""UpdateFileSystem: throughput is lowered, or its mode changed, at most once in this time."""
_BACKUPS: Final = ("ENABLED", "DISABLED")


class FileSystemsBackend(EFSBackend):
    """moto's backend, with AWS's refusals and what it does not keep."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._backups: dict[str, str] = {}
        self._changed: dict[str, datetime] = {}

    @property
    def _url_module(self) -> Any:
        return urls

    # File systems

    def create_file_system(self, *arguments: Any, **options: Any) -> FileSystem:
        mode = options.get("throughput_mode") or "bursting"
        figure, zone = options.get("provisioned_throughput_in_mibps"), options.get("availability_zone_name")
        efs_rules.check_throughput(mode, figure, options.get("performance_mode"), zone)
        if key := options.get("kms_key_id"):
            self._check_key(key)
        made = super().create_file_system(*arguments, **options)
        if made.backup_policy:
            self._backups[made.file_system_id] = "ENABLED"
        return made

    def update_file_system(self, file_system_id: str, mode: str | None, mibps: float | None) -> FileSystem:
        """UpdateFileSystem: another throughput mode or figure."""
        found = self._existing(file_system_id)
        had = found.provisioned_throughput_in_mibps
        mode = mode or found.throughput_mode
        if mibps is None and mode == efs_rules.PROVISIONED:
            mibps = had
        efs_rules.check_throughput(mode, mibps, found.performance_mode, found.availability_zone_name)
        efs_rules.check_lifecycle(found.lifecycle_policies, mode, found.performance_mode)
        if mode != found.throughput_mode or (mibps and had and mibps < had):
            self._check_pause(file_system_id)
        found.throughput_mode = mode
        found.provisioned_throughput_in_mibps = mibps  # type: ignore[assignment] (None in the other modes)
        return found

    def delete_file_system(self, file_system_id: str) -> None:
        super().delete_file_system(file_system_id)
        self._backups.pop(file_system_id, None)
        self._changed.pop(file_system_id, None)

    def put_lifecycle_configuration(self, file_system_id: str, policies: list[dict[str, str]]) -> None:
        found = self._existing(file_system_id)
        efs_rules.check_lifecycle(policies, found.throughput_mode, found.performance_mode)
        super().put_lifecycle_configuration(file_system_id, policies)

    # Policies

    def put_backup_policy(self, file_system_id: str, status: str) -> None:
        """PutBackupPolicy. AWS passes through ENABLING and DISABLING, which nothing here waits for."""
        self._existing(file_system_id)
        if status not in _BACKUPS:
            raise BadRequest(f"Invalid backup policy status {status}: {' or '.join(_BACKUPS)}")
        self._backups[file_system_id] = status

    def describe_backup_policy(self, file_system_id: str) -> dict[str, str]:
        self._existing(file_system_id)
        if file_system_id not in self._backups:
            raise PolicyNotFound(f"{file_system_id} has no backup policy")
        return {"Status": self._backups[file_system_id]}

    def put_file_system_policy(
        self, file_system_id: str, policy: str, bypass_policy_lockout_safety_check: bool
    ) -> None:
        efs_rules.check_policy(policy, self._existing(file_system_id).file_system_arn)
        super().put_file_system_policy(file_system_id, policy, bypass_policy_lockout_safety_check)

    def describe_file_system_policy(self, file_system_id: str) -> str:
        self._existing(file_system_id)
        return super().describe_file_system_policy(file_system_id)

    def delete_file_system_policy(self, file_system_id: str) -> None:
        """DeleteFileSystemPolicy: no error when there is none."""
        self._existing(file_system_id).file_system_policy = None

    # Access points

    def create_access_point(
        self,
        client_token: str,
        tags: list[dict[str, str]],
        file_system_id: str,
        posix_user: dict[str, Any],
        root_directory: dict[str, Any],
    ) -> AccessPoint:
        self._existing(file_system_id)
        efs_rules.check_root(root_directory or {})
        return super().create_access_point(client_token, tags, file_system_id, posix_user, root_directory)

    def delete_access_point(self, access_point_id: str) -> None:
        if access_point_id not in self.access_points:
            raise AccessPointNotFound(access_point_id)
        super().delete_access_point(access_point_id)

    # Mount targets

    def create_mount_target(
        self,
        file_system_id: str,
        subnet_id: str,
        ip_address: str | None = None,
        security_groups: list[str] | None = None,
    ) -> MountTarget:
        found = self._existing(file_system_id)
        try:
            subnet = self.ec2_backend.get_subnet(subnet_id)
        except InvalidSubnetIdError as error:
            raise SubnetNotFound(subnet_id) from error
        if found.availability_zone_name not in (None, subnet.availability_zone):
            raise efs_rules.ZonesMismatchError(
                f"The file system is in {found.availability_zone_name}, the subnet in {subnet.availability_zone}."
            )
        if ip_address is not None and ip_address in subnet._subnet_ips:
            raise efs_rules.AddressInUseError(ip_address)
        groups = security_groups or [self._default_group(subnet.vpc_id)]
        self._check_groups(groups, subnet.vpc_id)
        made = super().create_mount_target(file_system_id, subnet_id, ip_address, groups)
        interface = self.ec2_backend.enis[made.network_interface_id]
        interface.description = f"EFS mount target for {file_system_id} ({made.mount_target_id})"
        interface.interface_type = "efs"
        return made

    def modify_mount_target_security_groups(self, mount_target_id: str, security_groups: list[str]) -> None:
        target = self.mount_targets_by_id.get(mount_target_id)
        if target is not None:
            security_groups = security_groups or [self._default_group(target.vpc_id)]
            self._check_groups(security_groups, target.vpc_id)
        super().modify_mount_target_security_groups(mount_target_id, security_groups)

    def _existing(self, file_system_id: str) -> FileSystem:
        if file_system_id not in self.file_systems_by_id:
            raise FileSystemNotFound(file_system_id)
        return self.file_systems_by_id[file_system_id]

    def _check_key(self, key_id: str) -> None:
        kms = kms_backends[self.account_id][self.region_name]
        key = kms.keys.get(kms.get_key_id(key_id))
        if key is None or key.key_state != "Enabled":
            raise BadRequest(f"The KMS key {key_id} does not exist or is not enabled.")

    def _check_pause(self, file_system_id: str) -> None:
        now, last = datetime.now(UTC), self._changed.get(file_system_id)
        if last is not None and now - last < _BETWEEN_CHANGES:
            raise efs_rules.TooManyRequestsError(
                "Throughput was lowered, or its mode changed, less than 24 hours ago."
            )
        self._changed[file_system_id] = now

    def _default_group(self, vpc_id: str) -> str:
        return next(group.id for group in self.ec2_backend.groups[vpc_id].values() if group.is_default)

    def _check_groups(self, groups: Sequence[str], vpc_id: str) -> None:
        known: Mapping[str, Any] = self.ec2_backend.groups.get(vpc_id, {})
        for group in groups:
            if group not in known:
                raise SecurityGroupNotFound(group)
        if len(groups) > _GROUP_LIMIT:
            raise SecurityGroupLimitExceeded("The maximum number of security groups per interface has been reached.")


class _Response(EFSResponse):
    """moto's responses, with the actions that it lacks."""

    @property
    def _backend(self) -> FileSystemsBackend:
        backend = self.efs_backend
        assert isinstance(backend, FileSystemsBackend)  # noqa: S101 (for the type checker; `install` sees to it)
        return backend

    def update_file_system(self) -> Any:
        found = self._backend.update_file_system(
            self._get_param("FileSystemId"),
            self._get_param("ThroughputMode"),
            self._get_param("ProvisionedThroughputInMibps"),
        )
        return json.dumps(found.info_json()), {"status": 202, "Content-Type": "application/json"}

    def put_backup_policy(self) -> Any:
        wanted = self._get_param("BackupPolicy")
        self._backend.put_backup_policy(self._get_param("FileSystemId"), wanted["Status"])
        return json.dumps({"BackupPolicy": wanted}), {"Content-Type": "application/json"}

    def delete_file_system_policy(self) -> Any:
        self._backend.delete_file_system_policy(self._get_param("FileSystemId"))
        return "{}", {"Content-Type": "application/json"}


def install(_host: Host) -> None:
    """Puts this backend and its responses in the place of moto's."""
    efs_backends.backend = FileSystemsBackend
    urls.url_paths = dict.fromkeys(urls.url_paths, _Response.dispatch)
