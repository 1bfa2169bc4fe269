"""The shared file system (EFS): for functions and Linux hosts. Windows cannot mount it (Amazon EFS User Guide)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.keys import DataKey, DataKeyArgs
from infra.policies import Statement, document, tls_only
from infra.sections import Filesystem as FilesystemSettings

NFS: Final = 2049
ROOT: Final = "/fleetstream"
USER: Final = 1000
"""Whoever comes through the access point is this user and group, whatever they are at home."""
_PERMISSIONS: Final = "0750"


@dataclass(frozen=True, kw_only=True)
class FilesystemArgs:
    """How files age, and where the file system is mounted from."""

    settings: FilesystemSettings
    vpc_id: pulumi.Input[str]
    subnet_ids: Mapping[str, pulumi.Input[str]]
    """One private subnet of each zone: EFS takes one mount target a zone."""
    key_alias: str
    key_deletion_days: int
    protect: bool


class Filesystem(pulumi.ComponentResource):
    """The file system, its one way in, and the security groups on both sides of it."""

    file_system_id: pulumi.Output[str]
    access_point_arn: pulumi.Output[str]
    client_group_id: pulumi.Output[str]
    """Security group of whoever mounts it."""
    mount_targets: list[aws.efs.MountTarget]
    """Nobody can mount before they are there: functions name them nowhere and depend on them."""

    def __init__(self, name: str, args: FilesystemArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:filesystem:Filesystem", name, None, opts)
        self._name = name
        self._args = args
        files = self._files()
        self.file_system_id = files.id
        point = self._access_point()
        self.access_point_arn = point.arn
        aws.efs.FileSystemPolicy(
            f"{name}-policy",
            file_system_id=files.id,
            # While a file system has no policy of its own, everybody who reaches a mount target may do everything;
            # with this one, only whom IAM allows it (Amazon EFS User Guide, "Using IAM to control access to file
            # systems").
            policy=document(
                tls_only("elasticfilesystem", [files.arn]),
                Statement(
                    sid="AccessPointOnly",
                    effect="Deny",
                    principals="*",
                    actions=[f"elasticfilesystem:Client{action}" for action in ("Mount", "RootAccess", "Write")],
                    resources=[files.arn],
                    conditions={"StringNotEquals": {"elasticfilesystem:AccessPointArn": point.arn}},
                ),
            ),
            opts=self._child(),
        )
        aws.efs.BackupPolicy(
            f"{name}-backup",
            file_system_id=files.id,
            backup_policy=aws.efs.BackupPolicyBackupPolicyArgs(
                status="ENABLED" if args.settings.backup else "DISABLED"
            ),
            opts=self._child(),
        )
        target_group_id, self.client_group_id = self._groups()
        self.mount_targets = [
            aws.efs.MountTarget(
                f"{name}-{zone}",
                file_system_id=files.id,
                subnet_id=subnet_id,
                security_groups=[target_group_id],
                opts=self._child(),
            )
            for zone, subnet_id in args.subnet_ids.items()
        ]
        self.register_outputs(
            {
                "file_system_id": self.file_system_id,
                "access_point_arn": self.access_point_arn,
                "client_group_id": self.client_group_id,
            }
        )

    def _child(self, protect: bool | None = None) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, protect=protect)

    def _files(self) -> aws.efs.FileSystem:
        name, args = self._name, self._args
        key = DataKey(
            name,
            DataKeyArgs(
                description="Files of functions and hosts",
                alias=args.key_alias,
                deletion_days=args.key_deletion_days,
                protect=args.protect,
            ),
            opts=self._child(),
        )
        return aws.efs.FileSystem(
            f"{name}-files",
            encrypted=True,
            kms_key_id=key.arn,
            # Paid by what is read and written: nothing to size, and files that rest cost storage only.
            throughput_mode="elastic",
            lifecycle_policies=_ageing(args.settings),
            tags={"Name": name},
            opts=self._child(protect=args.protect),
        )

    def _access_point(self) -> aws.efs.AccessPoint:
        return aws.efs.AccessPoint(
            f"{self._name}-access",
            file_system_id=self.file_system_id,
            posix_user=aws.efs.AccessPointPosixUserArgs(uid=USER, gid=USER),
            root_directory=aws.efs.AccessPointRootDirectoryArgs(
                path=ROOT,
                creation_info=aws.efs.AccessPointRootDirectoryCreationInfoArgs(
                    owner_uid=USER, owner_gid=USER, permissions=_PERMISSIONS
                ),
            ),
            tags={"Name": self._name},
            opts=self._child(),
        )

    def _groups(self) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        """Mount targets listen to clients and to nobody else; clients speak to mount targets only."""
        name = self._name
        targets, clients = (
            aws.ec2.SecurityGroup(
                f"{name}-{role}",
                description=description,
                vpc_id=self._args.vpc_id,
                tags={"Name": f"{name}-{role}"},
                opts=self._child(),
            ).id
            for role, description in (("targets", "Mount targets"), ("clients", "Whoever mounts the file system"))
        )
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-targets-from-clients",
            security_group_id=targets,
            description="NFS",
            referenced_security_group_id=clients,
            ip_protocol="tcp",
            from_port=NFS,
            to_port=NFS,
            opts=self._child(),
        )
        aws.vpc.SecurityGroupEgressRule(
            f"{name}-clients-to-targets",
            security_group_id=clients,
            description="NFS",
            referenced_security_group_id=targets,
            ip_protocol="tcp",
            from_port=NFS,
            to_port=NFS,
            opts=self._child(),
        )
        return targets, clients


def _ageing(settings: FilesystemSettings) -> list[aws.efs.FileSystemLifecyclePolicyArgs]:
    """Where files go that nobody reads: one transition an entry (API Reference, PutLifecycleConfiguration)."""
    policies = []
    if settings.infrequent_access_days is not None:
        policies.append(
            aws.efs.FileSystemLifecyclePolicyArgs(transition_to_ia=_after(settings.infrequent_access_days))
        )
    if settings.archive_days is not None:
        policies.append(aws.efs.FileSystemLifecyclePolicyArgs(transition_to_archive=_after(settings.archive_days)))
    return policies


def _after(days: int) -> str:
    return f"AFTER_{days}_DAY{'S' if days > 1 else ''}"
