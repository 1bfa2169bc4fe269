"""Hosts that make load together: a group of Linux machines that is empty while no load runs."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.bucket import DataBucket, DataBucketArgs
from infra.keys import DataKey, DataKeyArgs, launch_grant
from infra.network import ANYWHERE, HTTPS
from infra.nodes import managed
from infra.packaging import Artifact
from infra.policies import Statement, document, trust
from infra.sections import Simulators as SimulatorsSettings
from infra.templates import metadata_service, newest

HANDLER: Final = "services.simulator.host.main"
BY_NAME: Final = ("services.consumer.__main__", "services.simulator.producer")
"""Modules that the host starts as processes of their own."""
GROUP: Final = "simulators"
"""The security group's name, and the role of the scaling group in fixed names."""
ROLE: Final = "simulator"
"""The tag `role` of the hosts."""
RUNS_PREFIX: Final = "simulations/"
ARTIFACTS_PREFIX: Final = "artifacts/"
IMAGE: Final = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
"""The newest Amazon Linux 2023 when a host is launched (its User Guide, "Launching AL2023 using the SSM parameter and
AWS CLI")."""

_ROOT: Final = "/dev/xvda"
_KEPT_DAYS: Final = 31
_USER_DATA: Final = Path(__file__).with_name("user_data") / "simulator.sh"


@dataclass(frozen=True, kw_only=True)
class SimulatorsArgs:
    """How many and how large, where they stand, what they reach, and what they run."""

    settings: SimulatorsSettings
    group_name: str
    tags: Mapping[str, str]
    """On machines that Auto Scaling makes: the provider's default tags do not reach them."""
    artifact: Artifact
    region: str
    account: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    endpoint_group_id: pulumi.Input[str]
    s3_prefix_list_id: pulumi.Input[str]
    client_group_ids: Sequence[pulumi.Input[str]]
    """Groups that let their members use the brokers and the file system."""
    kafka_statements: Sequence[Statement]
    file_system_id: pulumi.Input[str]
    access_point_arn: pulumi.Input[str]
    mount_targets: Sequence[pulumi.Resource]
    key_alias: str
    key_deletion_days: int
    disposable: bool
    protect: bool


class Simulators(pulumi.ComponentResource):
    """The group with what it runs, and the bucket in which hosts find their tasks and leave their reports."""

    facts: dict[str, Any]
    """What commands need to know to run a load on the hosts."""

    def __init__(self, name: str, args: SimulatorsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:simulators:Simulators", name, None, opts)
        self._name = name
        self._args = args
        self._key = DataKey(
            name,
            DataKeyArgs(
                description="The simulators' disks, tasks and reports",
                alias=args.key_alias,
                deletion_days=args.key_deletion_days,
                protect=args.protect,
            ),
            opts=self._child(),
        )
        self._bucket = DataBucket(
            f"{name}-runs",
            DataBucketArgs(
                key_arn=self._key.arn,
                expiration_days=_KEPT_DAYS,
                disposable=args.disposable,
                protect=False,
            ),
            opts=self._child(),
        )
        published = self._publish()
        group_id = self._security_group()
        profile_arn, rights = self._profile()
        template = self._template(published, group_id, profile_arn)
        group = aws.autoscaling.Group(
            name,
            name=args.group_name,
            min_size=0,
            max_size=args.settings.hosts_max,
            # Whoever runs a load raises the number and lowers it again.
            desired_capacity=0,
            vpc_zone_identifiers=args.subnet_ids,
            launch_template=newest(template),
            health_check_type="EC2",
            # A host has nothing that is worth waiting for.
            force_delete=True,
            tags=[
                aws.autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=False)
                for key, value in (("Name", name), ("role", ROLE))
            ],
            opts=pulumi.ResourceOptions.merge(
                self._child(depends_on=[published, rights, *args.mount_targets]),
                pulumi.ResourceOptions(ignore_changes=["desiredCapacity"]),
            ),
        )
        launch_grant(f"{name}-launches", self._key.arn, args.account, self._child(depends_on=[group]))
        hours, minutes = args.settings.emptied_at.split(":")
        aws.autoscaling.Schedule(
            f"{name}-emptied",
            scheduled_action_name=f"{args.group_name}-emptied",
            autoscaling_group_name=group.name,
            # Hosts that a killed command left standing cost their price until then, and no longer.
            recurrence=f"{int(minutes)} {int(hours)} * * *",
            min_size=0,
            desired_capacity=0,
            max_size=-1,
            opts=self._child(),
        )
        self.facts = {
            "group": group.name,
            "hosts_max": args.settings.hosts_max,
            "bucket": self._bucket.bucket_name,
            "prefix": RUNS_PREFIX,
        }
        self.register_outputs({"group": group.name, "bucket": self._bucket.bucket_name})

    def _child(self, depends_on: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on))

    def _publish(self) -> aws.s3.BucketObjectv2:
        """The simulator; a changed one is another object, so that hosts that start meanwhile find theirs."""
        artifact = self._args.artifact
        return aws.s3.BucketObjectv2(
            f"{self._name}-artifact",
            bucket=self._bucket.bucket_name,
            key=f"{ARTIFACTS_PREFIX}{artifact.sha256[:16]}/simulator.zip",
            source=pulumi.FileAsset(str(artifact.path)),
            source_hash=artifact.sha256,
            content_type="application/zip",
            # Encryption is the bucket's, which has to be set before.
            opts=self._child(depends_on=[self._bucket]),
        )

    def _security_group(self) -> pulumi.Output[str]:
        """Nobody is let in; out go the AWS APIs, by their endpoints or through NAT, and what installs Python."""
        name, args = self._name, self._args
        group = aws.ec2.SecurityGroup(
            name,
            description="Hosts that make load",
            vpc_id=args.vpc_id,
            tags={"Name": GROUP},
            opts=self._child(),
        )
        ways: dict[str, dict[str, Any]] = {
            "endpoints": {"referenced_security_group_id": args.endpoint_group_id},
            "s3": {"prefix_list_id": args.s3_prefix_list_id},
            "internet": {"cidr_ipv4": ANYWHERE},
        }
        for label, way in ways.items():
            aws.vpc.SecurityGroupEgressRule(
                f"{name}-to-{label}",
                security_group_id=group.id,
                description=f"To {label}",
                ip_protocol="tcp",
                from_port=HTTPS,
                to_port=HTTPS,
                **way,
                opts=self._child(),
            )
        return group.id

    def _profile(self) -> tuple[pulumi.Output[str], pulumi.Resource]:
        name, args = self._name, self._args
        role = aws.iam.Role(name, assume_role_policy=trust("ec2.amazonaws.com"), opts=self._child())
        rights = aws.iam.RolePolicy(
            name,
            role=role.id,
            policy=document(*managed(args.region, args.account), *self._statements(), *args.kafka_statements),
            opts=self._child(),
        )
        return aws.iam.InstanceProfile(name, role=role.name, opts=self._child()).arn, rights

    def _statements(self) -> list[Statement]:
        args, bucket = self._args, self._bucket.arn
        files = pulumi.Output.concat(
            *("arn:aws:elasticfilesystem:", args.region, ":", args.account, ":file-system/", args.file_system_id)
        )
        return [
            Statement(
                sid="FetchSimulator",
                actions=["s3:GetObject"],
                resources=[pulumi.Output.concat(bucket, "/", ARTIFACTS_PREFIX, "*")],
            ),
            Statement(
                sid="TaskAndReport",
                actions=["s3:GetObject", "s3:PutObject"],
                resources=[pulumi.Output.concat(bucket, "/", RUNS_PREFIX, "*")],
            ),
            # Whoever may not list a bucket is refused, and not told that an object is not there yet.
            Statement(sid="SeeWhatIsThere", actions=["s3:ListBucket"], resources=[bucket]),
            Statement(
                sid="OpenObjects",
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=[self._key.arn],
                conditions={"StringEquals": {"kms:ViaService": f"s3.{args.region}.amazonaws.com"}},
            ),
            Statement(
                sid="ShareFiles",
                actions=["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
                resources=[files],
                conditions={"StringEquals": {"elasticfilesystem:AccessPointArn": args.access_point_arn}},
            ),
        ]

    def _template(
        self, published: aws.s3.BucketObjectv2, group_id: pulumi.Input[str], profile_arn: pulumi.Input[str]
    ) -> aws.ec2.LaunchTemplate:
        args, settings = self._args, self._args.settings
        told = pulumi.Output.all(
            region=args.region,
            bucket=self._bucket.bucket_name,
            key=published.key,
            sha256=args.artifact.sha256,
            file_system=args.file_system_id,
            access_point=pulumi.Output.from_input(args.access_point_arn).apply(lambda arn: arn.rpartition("/")[2]),
        )
        tags = {**args.tags, "Name": self._name, "role": ROLE}
        return aws.ec2.LaunchTemplate(
            self._name,
            image_id=IMAGE,
            instance_type=settings.instance_type,
            user_data=told.apply(user_data),
            iam_instance_profile=aws.ec2.LaunchTemplateIamInstanceProfileArgs(arn=profile_arn),
            metadata_options=metadata_service(),
            block_device_mappings=[
                aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
                    device_name=_ROOT,
                    ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                        volume_type="gp3",
                        volume_size=settings.root_gb,
                        encrypted="true",
                        kms_key_id=self._key.arn,
                        delete_on_termination="true",
                    ),
                )
            ],
            vpc_security_group_ids=[group_id, *args.client_group_ids],
            tag_specifications=[
                aws.ec2.LaunchTemplateTagSpecificationArgs(resource_type="instance", tags=tags),
                aws.ec2.LaunchTemplateTagSpecificationArgs(
                    resource_type="volume", tags={**tags, "role": f"{ROLE}-disk"}
                ),
            ],
            tags={"Name": self._name},
            opts=self._child(),
        )


def user_data(told: Mapping[str, str]) -> str:
    """The script with what a host has to fetch, as EC2 takes it."""
    script = _USER_DATA.read_text()
    for name, value in told.items():
        script = script.replace(f"{{{{{name}}}}}", value)
    return base64.b64encode(script.encode()).decode()
