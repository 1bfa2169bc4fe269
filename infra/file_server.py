"""A Windows share for the cluster's diagnostics (FSx): EFS cannot be mounted from Windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.sections import FileServer as FileServerSettings

SMB: Final = 445
SHARE: Final = "share"
"""Every file system has this one (FSx for Windows File Server User Guide, "Managing file shares")."""
_BACKUP_DAYS: Final = 7


@dataclass(frozen=True, kw_only=True)
class FileServerArgs:
    """Its size and directory, and where it stands: in two zones."""

    settings: FileServerSettings
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    key_arn: pulumi.Input[str]
    protect: bool


class FileServer(pulumi.ComponentResource):
    """The file system, and two security groups: its own, and one that lets its members use it."""

    share: pulumi.Output[str]
    """The share's path, for the cluster's configuration."""
    client_group_id: pulumi.Output[str]

    def __init__(self, name: str, args: FileServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:file_server:FileServer", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        groups = {
            role: aws.ec2.SecurityGroup(
                f"{name}-{role}",
                description=about,
                vpc_id=args.vpc_id,
                tags={"Name": f"{name}-{role}"},
                opts=child,
            )
            for role, about in (("server", "The diagnostics share"), ("clients", "Who may use the diagnostics share"))
        }
        ports = {"ip_protocol": "tcp", "from_port": SMB, "to_port": SMB}
        entrance = aws.vpc.SecurityGroupIngressRule(
            f"{name}-from-clients",
            security_group_id=groups["server"].id,
            description="SMB",
            referenced_security_group_id=groups["clients"].id,
            **ports,
            opts=child,
        )
        aws.vpc.SecurityGroupEgressRule(
            f"{name}-to-server",
            security_group_id=groups["clients"].id,
            description="SMB",
            referenced_security_group_id=groups["server"].id,
            **ports,
            opts=child,
        )
        files = aws.fsx.WindowsFileSystem(
            name,
            active_directory_id=args.settings.directory_id,
            deployment_type="MULTI_AZ_1",
            subnet_ids=args.subnet_ids[:2],
            preferred_subnet_id=args.subnet_ids[0],
            security_group_ids=[groups["server"].id],
            storage_capacity=args.settings.storage_gb,
            throughput_capacity=args.settings.throughput_mb,
            kms_key_id=args.key_arn,
            automatic_backup_retention_days=_BACKUP_DAYS,
            skip_final_backup=not args.protect,
            tags={"Name": name},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[entrance], protect=args.protect),
        )
        self.share = pulumi.Output.concat("\\\\", files.dns_name, "\\", SHARE)
        self.client_group_id = groups["clients"].id
        self.register_outputs({"share": self.share, "client_group_id": self.client_group_id})
