"""Snapshots of the seeds' data disks, made and thinned out by Data Lifecycle Manager."""

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.nodes import SEED_DATA, SNAPSHOTS_TAG
from infra.policies import Statement, document
from infra.sections import Snapshots as SnapshotsSettings

_SERVICE: Final = "dlm.amazonaws.com"


@dataclass(frozen=True, kw_only=True)
class SnapshotsArgs:
    """Whose disks, how often, and how many are kept."""

    settings: SnapshotsSettings
    cluster: str
    region: str
    account: pulumi.Input[str]


class Snapshots(pulumi.ComponentResource):
    """The policy, and the role that it acts with."""

    policy_id: pulumi.Output[str]

    def __init__(self, name: str, args: SnapshotsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:snapshots:Snapshots", name, None, opts)
        self._args = args
        child = pulumi.ResourceOptions(parent=self)
        account = pulumi.Output.from_input(args.account)
        role = aws.iam.Role(
            name,
            assume_role_policy=document(
                Statement(
                    sid="Assume",
                    actions=["sts:AssumeRole"],
                    principals={"Service": _SERVICE},
                    # Only for policies of this account: the service works for others too.
                    conditions={
                        "StringEquals": {"aws:SourceAccount": account},
                        "ArnLike": {
                            "aws:SourceArn": pulumi.Output.concat(
                                "arn:aws:dlm:", args.region, ":", account, ":policy/*"
                            )
                        },
                    },
                )
            ),
            opts=child,
        )
        rights = aws.iam.RolePolicy(name, role=role.id, policy=document(*self._statements()), opts=child)
        details = aws.dlm.LifecyclePolicyPolicyDetailsArgs(
            resource_types=["VOLUME"],
            # One tag of its own: of several, DLM takes what has any of them (Amazon EBS User Guide, "How Amazon Data
            # Lifecycle Manager works"), and root disks have the cluster's name as well.
            target_tags={SNAPSHOTS_TAG: args.cluster},
            schedules=[
                aws.dlm.LifecyclePolicyPolicyDetailsScheduleArgs(
                    name="seeds",
                    # A disk that is made from a snapshot must be found like the one that it replaces.
                    copy_tags=True,
                    create_rule=aws.dlm.LifecyclePolicyPolicyDetailsScheduleCreateRuleArgs(
                        interval=args.settings.every_hours, interval_unit="HOURS", times=args.settings.at
                    ),
                    retain_rule=aws.dlm.LifecyclePolicyPolicyDetailsScheduleRetainRuleArgs(count=args.settings.keep),
                )
            ],
        )
        policy = aws.dlm.LifecyclePolicy(
            name,
            description=f"Data disks of the seeds of {args.cluster}",
            execution_role_arn=role.arn,
            state="ENABLED",
            policy_details=details,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rights]),
        )
        self.policy_id = policy.id
        self.register_outputs({"policy_id": self.policy_id})

    def _statements(self) -> tuple[Statement, ...]:
        """What AWSDataLifecycleManagerServiceRole allows on everything (Amazon EBS User Guide, "Control access to
        Amazon Data Lifecycle Manager using IAM"), here on the seeds' disks and their snapshots."""
        args = self._args
        snapshots = f"arn:aws:ec2:{args.region}::snapshot/*"
        own = {"aws:ResourceTag/cluster": args.cluster, "aws:ResourceTag/role": SEED_DATA}
        return (
            Statement(sid="Find", actions=["ec2:DescribeSnapshots", "ec2:DescribeVolumes"], resources=["*"]),
            Statement(
                sid="ReadDisk",
                actions=["ec2:CreateSnapshot"],
                resources=[pulumi.Output.concat("arn:aws:ec2:", args.region, ":", args.account, ":volume/*")],
                conditions={"StringEquals": own},
            ),
            Statement(sid="MakeSnapshot", actions=["ec2:CreateSnapshot", "ec2:CreateTags"], resources=[snapshots]),
            Statement(
                sid="ThinOut",
                actions=["ec2:DeleteSnapshot"],
                resources=[snapshots],
                conditions={"StringEquals": own},
            ),
        )
