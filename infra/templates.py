"""Launch templates of the cluster's machines: image, disks, metadata service, user data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

IMAGE: Final = "resolve:ssm:/aws/service/ami-windows-latest/Windows_Server-2022-English-Full-Base"
"""The newest one when an instance is launched (EC2 User Guide, "Use a Systems Manager parameter instead of an AMI
ID")."""
_ROOT: Final = "/dev/sda1"
_DATA: Final = "xvdf"


@dataclass(frozen=True, kw_only=True)
class TemplateArgs:
    """One kind of machine: with a primary interface of its own, or with one that is made for it."""

    kind: str
    instance_type: str
    user_data: pulumi.Input[str]
    profile_arn: pulumi.Input[str]
    group_ids: Sequence[pulumi.Input[str]]
    """Security groups, unless the machine gets an interface, which has its own."""
    interface_id: pulumi.Input[str] | None
    key_arn: pulumi.Input[str]
    root_gb: int
    data_gb: int | None
    """Of a disk that goes with the machine."""
    tags: Mapping[str, str]


def launch_template(name: str, args: TemplateArgs, opts: pulumi.ResourceOptions) -> aws.ec2.LaunchTemplate:
    """The template; what starts from it is found by its tags."""
    disks = {_ROOT: args.root_gb, **({_DATA: args.data_gb} if args.data_gb else {})}
    return aws.ec2.LaunchTemplate(
        name,
        image_id=IMAGE,
        instance_type=args.instance_type,
        user_data=args.user_data,
        iam_instance_profile=aws.ec2.LaunchTemplateIamInstanceProfileArgs(arn=args.profile_arn),
        metadata_options=metadata_service(),
        block_device_mappings=[_disk(device, size, args.key_arn) for device, size in disks.items()],
        network_interfaces=None
        if args.interface_id is None
        else [aws.ec2.LaunchTemplateNetworkInterfaceArgs(device_index=0, network_interface_id=args.interface_id)],
        vpc_security_group_ids=args.group_ids if args.interface_id is None else None,
        tag_specifications=[
            aws.ec2.LaunchTemplateTagSpecificationArgs(
                resource_type="instance", tags={**args.tags, "role": args.kind}
            ),
            aws.ec2.LaunchTemplateTagSpecificationArgs(
                resource_type="volume", tags={**args.tags, "role": f"{args.kind}-disk"}
            ),
        ],
        tags={"Name": name},
        opts=opts,
    )


def metadata_service() -> aws.ec2.LaunchTemplateMetadataOptionsArgs:
    """For whoever asks with a session token (IMDSv2) only."""
    return aws.ec2.LaunchTemplateMetadataOptionsArgs(
        http_endpoint="enabled",
        http_tokens="required",
        # Not a step further than the machine itself: containers and proxies get no credentials of it.
        http_put_response_hop_limit=1,
    )


def newest(template: aws.ec2.LaunchTemplate) -> aws.autoscaling.GroupLaunchTemplateArgs:
    """For a group: what it launches next comes from the template's newest version."""
    return aws.autoscaling.GroupLaunchTemplateArgs(id=template.id, version=template.latest_version.apply(str))


def _disk(device: str, size: int, key_arn: pulumi.Input[str]) -> aws.ec2.LaunchTemplateBlockDeviceMappingArgs:
    return aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
        device_name=device,
        ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
            volume_type="gp3",
            volume_size=size,
            encrypted="true",
            kms_key_id=key_arn,
            delete_on_termination="true",
        ),
    )
