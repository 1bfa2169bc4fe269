"""A function's place inside the VPC: private subnets, and a security group that nobody is let into."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.network import ANYWHERE, HTTPS
from infra.policies import Statement


@dataclass(frozen=True, kw_only=True)
class InsideArgs:
    """Where it is, and whom it may speak to."""

    description: str
    region: str
    account: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    endpoint_group_id: pulumi.Input[str]
    s3_prefix_list_id: pulumi.Input[str]
    internet: bool
    """Whether an API that it calls has no endpoint inside, so that it takes the way through NAT."""


class Inside(pulumi.ComponentResource):
    """Security group, subnets, and what Lambda must be allowed to on behalf of a function that is placed there."""

    group_id: pulumi.Output[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    statements: tuple[Statement, ...]
    """For the function's role."""

    def __init__(self, name: str, args: InsideArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:inside:Inside", name, None, opts)
        group = aws.ec2.SecurityGroup(
            name,
            description=args.description,
            vpc_id=args.vpc_id,
            tags={"Name": name},
            opts=pulumi.ResourceOptions(parent=self),
        )
        ways: dict[str, dict[str, Any]] = {
            "endpoints": {"referenced_security_group_id": args.endpoint_group_id},
            "s3": {"prefix_list_id": args.s3_prefix_list_id},
            **({"internet": {"cidr_ipv4": ANYWHERE}} if args.internet else {}),
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
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.group_id = group.id
        self.subnet_ids = args.subnet_ids
        self.statements = _statements(args, group.id)
        self.register_outputs({"group_id": self.group_id})


def _statements(args: InsideArgs, group_id: pulumi.Output[str]) -> tuple[Statement, ...]:
    """AWS Lambda Developer Guide, "Giving Lambda functions access to resources in an Amazon VPC": looking interfaces
    up works for all of them only, and taking one away names either one or all resources."""

    def arn(resource: str, *parts: pulumi.Input[str]) -> pulumi.Output[str]:
        return pulumi.Output.concat("arn:aws:ec2:", args.region, ":", args.account, f":{resource}/", *parts)

    return (
        Statement(
            sid="LookUpInterfaces",
            actions=["ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"],
            resources=["*"],
        ),
        Statement(
            sid="MakeInterfaces",
            actions=["ec2:CreateNetworkInterface"],
            resources=[
                arn("network-interface", "*"),
                arn("security-group", group_id),
                *(arn("subnet", subnet) for subnet in args.subnet_ids),
            ],
        ),
        Statement(
            sid="KeepInterfaces",
            actions=[
                "ec2:AssignPrivateIpAddresses",
                "ec2:DeleteNetworkInterface",
                "ec2:UnassignPrivateIpAddresses",
            ],
            resources=[arn("*", "*")],
        ),
    )
