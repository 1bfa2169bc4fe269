"""The Windows machines of the Service Fabric cluster: seeds keep address and data, workers come and go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.keys import DataKey, DataKeyArgs
from infra.nodes import SEED, SEED_DATA, WORKER, Entrance, Nodes, NodesArgs
from infra.sections import Fleet as FleetSettings

IMAGE: Final = "resolve:ssm:/aws/service/ami-windows-latest/Windows_Server-2022-English-Full-Base"
"""The newest one when an instance is launched (EC2 User Guide, "Use a Systems Manager parameter instead of an AMI
ID")."""
_ROOT: Final = "/dev/sda1"
_DATA: Final = "xvdf"
_GRACE_SECONDS: Final = 900
"""Windows takes minutes to start, and Service Fabric more."""
_LAUNCH_RIGHTS: Final = (
    "CreateGrant",
    "Decrypt",
    "DescribeKey",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
)
"""Amazon EC2 Auto Scaling User Guide, "Required AWS KMS key policy for use with encrypted volumes"."""


@dataclass(frozen=True, kw_only=True)
class FleetArgs:
    """Where the machines stand, who reaches them, and how their disks are kept."""

    settings: FleetSettings
    cluster: str
    """The cluster's name: the tag by which machines, disks and scripts find each other."""
    tags: Mapping[str, str]
    """On machines and disks that Auto Scaling makes: the provider's default tags do not reach them."""
    region: str
    account: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    subnet_ids: Mapping[str, pulumi.Input[str]]
    """A private subnet of each zone."""
    endpoint_group_id: pulumi.Input[str]
    s3_prefix_list_id: pulumi.Input[str]
    client_group_ids: Sequence[pulumi.Input[str]] = ()
    """Groups that let their members use something, such as the brokers."""
    entrances: Sequence[Entrance] = ()
    seed_target_group_arns: Sequence[pulumi.Input[str]] = ()
    worker_target_group_arns: Sequence[pulumi.Input[str]] = ()
    key_alias: str
    key_deletion_days: int
    disposable: bool
    protect: bool


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A seed node as the cluster's configuration names it."""

    zone: str
    address: pulumi.Output[str]
    group_name: pulumi.Output[str]


class Fleet(pulumi.ComponentResource):
    """One group of exactly one machine for each seed, and one group of workers over all zones."""

    seeds: dict[str, Seed]
    worker_group_name: pulumi.Output[str]
    node_group_id: pulumi.Output[str]
    """Security group of all nodes."""

    def __init__(self, name: str, args: FleetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:fleet:Fleet", name, None, opts)
        self._name = name
        self._args = args
        self._key = DataKey(
            name,
            DataKeyArgs(
                description="The fleet's disks and scripts",
                alias=args.key_alias,
                deletion_days=args.key_deletion_days,
                protect=args.protect,
            ),
            opts=self._child(),
        )
        self._nodes = Nodes(
            f"{name}-nodes",
            NodesArgs(
                cluster=args.cluster,
                region=args.region,
                account=args.account,
                vpc_id=args.vpc_id,
                endpoint_group_id=args.endpoint_group_id,
                s3_prefix_list_id=args.s3_prefix_list_id,
                entrances=args.entrances,
                key_arn=self._key.arn,
                certificate_secret_arn=args.settings.certificate_secret_arn,
                disposable=args.disposable,
                protect=args.protect,
            ),
            opts=self._child(),
        )
        self.node_group_id = self._nodes.group_id
        self._groups = [self.node_group_id, *args.client_group_ids]
        workers = self._workers()
        self.worker_group_name = workers.name
        grant = aws.kms.Grant(
            f"{name}-launches",
            key_id=self._key.arn,
            grantee_principal=pulumi.Output.concat(
                "arn:aws:iam::",
                args.account,
                ":role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
            ),
            operations=list(_LAUNCH_RIGHTS),
            # Auto Scaling makes its role with the first group of an account, and this group launches nothing yet.
            opts=self._child(depends_on=[workers]),
        )
        zones = list(args.subnet_ids)
        self.seeds = {
            f"{SEED}-{number}": self._seed(f"{SEED}-{number}", zones[number % len(zones)], grant)
            for number in range(args.settings.seeds)
        }
        self.register_outputs({"worker_group_name": self.worker_group_name, "node_group_id": self.node_group_id})

    def _child(
        self, depends_on: Sequence[pulumi.Resource] = (), protect: bool | None = None
    ) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on), protect=protect)

    def _seed(self, node: str, zone: str, grant: pulumi.Resource) -> Seed:
        args, settings = self._args, self._args.settings
        name = f"{self._name}-{node}"
        tags = {"Name": name, "cluster": args.cluster, "node": node}
        interface = aws.ec2.NetworkInterface(
            name,
            description=f"The address of {node}",
            subnet_id=args.subnet_ids[zone],
            security_groups=self._groups,
            tags={**tags, "role": SEED},
            opts=self._child(protect=args.protect),
        )
        aws.ebs.Volume(
            f"{name}-data",
            availability_zone=zone,
            type="gp3",
            size=settings.seed_data_gb,
            encrypted=True,
            kms_key_id=self._key.arn,
            tags={**tags, "role": SEED_DATA},
            opts=self._child(protect=args.protect),
        )
        template = self._template(name, SEED, node, settings.seed_instance_type, interface=interface)
        group = aws.autoscaling.Group(
            name,
            min_size=1,
            max_size=1,
            desired_capacity=1,
            # The interface brings its subnet: Auto Scaling takes the zone alone.
            availability_zones=[zone],
            launch_template=_newest(template),
            target_group_arns=args.seed_target_group_arns,
            health_check_type="EC2",
            health_check_grace_period=_GRACE_SECONDS,
            tags=_group_tags({**tags, "role": SEED}),
            opts=self._child(depends_on=[*self._nodes.ready, grant]),
        )
        return Seed(zone=zone, address=interface.private_ip, group_name=group.name)

    def _workers(self) -> aws.autoscaling.Group:
        args, settings = self._args, self._args.settings
        name = f"{self._name}-workers"
        template = self._template(name, WORKER, "", settings.worker_instance_type, data_gb=settings.worker_data_gb)
        return aws.autoscaling.Group(
            name,
            min_size=0,
            max_size=settings.workers_max,
            # A worker is ready when its node is Up, which takes a cluster: that is formed after this, and then the
            # group is raised. From there on the number belongs to whoever scales.
            desired_capacity=0,
            vpc_zone_identifiers=list(args.subnet_ids.values()),
            launch_template=_newest(template),
            target_group_arns=args.worker_target_group_arns,
            health_check_type="EC2",
            health_check_grace_period=_GRACE_SECONDS,
            tags=_group_tags({"Name": name, "cluster": args.cluster, "role": WORKER}),
            opts=pulumi.ResourceOptions.merge(
                self._child(depends_on=self._nodes.ready), pulumi.ResourceOptions(ignore_changes=["desiredCapacity"])
            ),
        )

    def _template(
        self,
        name: str,
        kind: str,
        node: str,
        instance_type: str,
        *,
        interface: aws.ec2.NetworkInterface | None = None,
        data_gb: int | None = None,
    ) -> aws.ec2.LaunchTemplate:
        args = self._args
        # A worker's node name is known when it joins: the bootstrap adds the tag.
        tags = {**args.tags, "Name": name, "cluster": args.cluster, "role": kind, **({"node": node} if node else {})}
        disks = {_ROOT: args.settings.root_gb, **({_DATA: data_gb} if data_gb else {})}
        return aws.ec2.LaunchTemplate(
            name,
            image_id=IMAGE,
            instance_type=instance_type,
            user_data=self._nodes.user_data(kind, node),
            iam_instance_profile=aws.ec2.LaunchTemplateIamInstanceProfileArgs(arn=self._nodes.profile_arns[kind]),
            metadata_options=aws.ec2.LaunchTemplateMetadataOptionsArgs(
                http_endpoint="enabled",
                http_tokens="required",
                # Not a step further than the machine itself: containers and proxies get no credentials of it.
                http_put_response_hop_limit=1,
            ),
            block_device_mappings=[self._disk(device, size) for device, size in disks.items()],
            network_interfaces=None
            if interface is None
            else [aws.ec2.LaunchTemplateNetworkInterfaceArgs(device_index=0, network_interface_id=interface.id)],
            vpc_security_group_ids=self._groups if interface is None else None,
            tag_specifications=[
                aws.ec2.LaunchTemplateTagSpecificationArgs(resource_type="instance", tags=tags),
                aws.ec2.LaunchTemplateTagSpecificationArgs(
                    resource_type="volume", tags={**tags, "role": f"{kind}-disk"}
                ),
            ],
            tags={"Name": name},
            opts=self._child(),
        )

    def _disk(self, device: str, size: int) -> aws.ec2.LaunchTemplateBlockDeviceMappingArgs:
        return aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
            device_name=device,
            ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                volume_type="gp3",
                volume_size=size,
                encrypted="true",
                kms_key_id=self._key.arn,
                delete_on_termination="true",
            ),
        )


def _newest(template: aws.ec2.LaunchTemplate) -> aws.autoscaling.GroupLaunchTemplateArgs:
    return aws.autoscaling.GroupLaunchTemplateArgs(id=template.id, version=template.latest_version.apply(str))


def _group_tags(tags: Mapping[str, str]) -> list[aws.autoscaling.GroupTagArgs]:
    """Machines get theirs from the template."""
    return [
        aws.autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=False) for key, value in tags.items()
    ]
