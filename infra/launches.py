"""What happens when a machine starts, before it may serve: a rule calls a function that prepares it from outside."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.functions import Function, FunctionArgs
from infra.inside import Inside, InsideArgs
from infra.nodes import SEED, SEED_DATA, WORKER
from infra.packaging import Artifact
from infra.policies import Statement

SEED_LAUNCH_HANDLER: Final = "services.fabric.seed_launch.handler.handle"
SECOND_ADDRESS_HANDLER: Final = "services.fabric.second_address.handler.handle"

_MEMORY_MB: Final = 512
_TIMEOUT_SECONDS: Final = 300
"""A disk that the machine before still holds, or one made from a snapshot, takes minutes to be free."""


@dataclass(frozen=True, kw_only=True)
class LaunchesArgs:
    """Which groups' launches, at which hook, and the function that answers them."""

    cluster: str
    groups: Sequence[str]
    """Their names, which are fixed: the groups need all this before they exist."""
    hook: str
    function_name: str
    description: str
    artifact: Artifact
    handler: str
    service: str
    """The dimension `service` of the function's metrics."""
    environment: Mapping[str, pulumi.Input[str]]
    statements: Sequence[Statement]
    place: InsideArgs
    log_retention_days: int


class Launches(pulumi.ComponentResource):
    """Rule -> function, which completes the hook when it has done its part."""

    function: Function

    def __init__(self, name: str, args: LaunchesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:launches:Launches", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        rule = aws.cloudwatch.EventRule(
            f"{name}-launches",
            description=args.description,
            event_pattern=json.dumps(
                {
                    "source": ["aws.autoscaling"],
                    "detail-type": ["EC2 Instance-launch Lifecycle Action"],
                    "detail": {"AutoScalingGroupName": list(args.groups), "LifecycleHookName": [args.hook]},
                }
            ),
            opts=child,
        )
        inside = Inside(name, args.place, opts=child)
        self.function = Function(
            name,
            FunctionArgs(
                function_name=args.function_name,
                description=args.description,
                artifact=args.artifact,
                handler=args.handler,
                memory_mb=_MEMORY_MB,
                timeout_seconds=_TIMEOUT_SECONDS,
                log_retention_days=args.log_retention_days,
                environment={
                    "FLEETSTREAM_CLUSTER": args.cluster,
                    **args.environment,
                    "POWERTOOLS_SERVICE_NAME": args.service,
                    "POWERTOOLS_METRICS_NAMESPACE": args.cluster,
                },
                statements=(_KNOWS, _answers(args), *args.statements),
                inside=inside,
            ),
            opts=child,
        )
        permission = aws.lambda_.Permission(
            f"{name}-events",
            action="lambda:InvokeFunction",
            function=self.function.function_name,
            principal="events.amazonaws.com",
            source_arn=rule.arn,
            opts=child,
        )
        aws.cloudwatch.EventTarget(
            f"{name}-launches",
            rule=rule.name,
            arn=self.function.arn,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[permission]),
        )
        self.register_outputs({})


_KNOWS: Final = Statement(
    sid="KnowGroups",
    actions=[
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeAutoScalingInstances",
        "autoscaling:DescribeLifecycleHooks",
    ],
    resources=["*"],
)


def _answers(args: LaunchesArgs) -> Statement:
    place = args.place
    return Statement(
        sid="AnswerHook",
        actions=["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"],
        resources=[
            pulumi.Output.concat(
                *("arn:aws:autoscaling:", place.region, ":", place.account),
                f":autoScalingGroup:*:autoScalingGroupName/{group}",
            )
            for group in args.groups
        ],
    )


def seed_rights(
    cluster: str, region: str, account: pulumi.Input[str], key_arn: pulumi.Input[str]
) -> tuple[Statement, ...]:
    """Finds a seed's data disk, or makes one from its newest snapshot, and attaches it: of this cluster only."""
    own = {"aws:ResourceTag/cluster": cluster}
    born = {"aws:RequestTag/cluster": cluster, "aws:RequestTag/role": SEED_DATA}
    through_ec2 = {"StringEquals": {"kms:ViaService": f"ec2.{region}.amazonaws.com"}}

    def arn(resource: str) -> pulumi.Output[str]:
        return pulumi.Output.concat("arn:aws:ec2:", region, ":", account, f":{resource}/*")

    return (
        Statement(
            sid="FindDisks",
            actions=["ec2:DescribeInstances", "ec2:DescribeSnapshots", "ec2:DescribeVolumes"],
            resources=["*"],
        ),
        Statement(
            sid="AttachDisk",
            actions=["ec2:AttachVolume"],
            resources=[arn("volume")],
            conditions={"StringEquals": {**own, "aws:ResourceTag/role": SEED_DATA}},
        ),
        Statement(
            sid="AttachToSeed",
            actions=["ec2:AttachVolume"],
            resources=[arn("instance")],
            conditions={"StringEquals": {**own, "aws:ResourceTag/role": SEED}},
        ),
        Statement(
            sid="MakeDisk",
            actions=["ec2:CreateVolume"],
            resources=[arn("volume")],
            conditions={"StringEquals": born, "Bool": {"ec2:Encrypted": "true"}},
        ),
        Statement(
            sid="FromSnapshot",
            actions=["ec2:CreateVolume"],
            # A snapshot's ARN has no account (Service Authorization Reference, Amazon EC2).
            resources=[f"arn:aws:ec2:{region}::snapshot/*"],
            conditions={"StringEquals": {**own, "aws:ResourceTag/role": SEED_DATA}},
        ),
        Statement(
            sid="TagDisk",
            actions=["ec2:CreateTags"],
            resources=[arn("volume")],
            conditions={"StringEquals": {**born, "ec2:CreateAction": "CreateVolume"}},
        ),
        # EBS User Guide, "How Amazon EBS encryption works": EBS gets a grant of the one who makes or attaches.
        Statement(
            sid="OpenDisk",
            actions=[
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:GenerateDataKeyWithoutPlaintext",
                "kms:ReEncryptFrom",
                "kms:ReEncryptTo",
            ],
            resources=[key_arn],
            conditions=through_ec2,
        ),
        Statement(
            sid="LetDiskBeRead",
            actions=["kms:CreateGrant"],
            resources=[key_arn],
            conditions={**through_ec2, "Bool": {"kms:GrantIsForAWSResource": "true"}},
        ),
    )


def address_rights(cluster: str, region: str, account: pulumi.Input[str]) -> tuple[Statement, ...]:
    """Attaches an interface of this cluster to a worker of it."""
    own = {"aws:ResourceTag/cluster": cluster}

    def arn(resource: str) -> pulumi.Output[str]:
        return pulumi.Output.concat("arn:aws:ec2:", region, ":", account, f":{resource}/*")

    return (
        Statement(
            sid="FindAddress",
            actions=["ec2:DescribeInstances", "ec2:DescribeNetworkInterfaces"],
            resources=["*"],
        ),
        Statement(
            sid="AttachAddress",
            actions=["ec2:AttachNetworkInterface"],
            resources=[arn("network-interface")],
            conditions={"StringEquals": own},
        ),
        Statement(
            sid="AttachToWorker",
            actions=["ec2:AttachNetworkInterface"],
            resources=[arn("instance")],
            conditions={"StringEquals": {**own, "aws:ResourceTag/role": WORKER}},
        ),
    )
