"""Programs for the real engine: networks with a way out and a log of their traffic."""

import pulumi
import pulumi_aws as aws
from provider_programs import ACCOUNT, REGION, allow, provider

from infra.network import Network, NetworkArgs
from infra.sections import Nat

_VPC_LOGS = "vpc-flow-logs.amazonaws.com"


def private(zones: int = 1, days: int = 1, attached: bool = True) -> None:
    """Private subnets behind `zones` NAT gateways; `attached`: whether there is an internet gateway for them."""
    by = pulumi.ResourceOptions(provider=provider(tags={"Days": str(days)}))
    vpc = aws.ec2.Vpc("net", cidr_block="10.4.0.0/16", opts=by)
    needed: list[pulumi.Resource] = []
    if attached:
        gateway = aws.ec2.InternetGateway("internet", vpc_id=vpc.id, opts=by)
        out = {"destination_cidr_block": "0.0.0.0/0", "gateway_id": gateway.id}
        table = aws.ec2.RouteTable("public", vpc_id=vpc.id, opts=by)
        needed.append(aws.ec2.Route("public", route_table_id=table.id, **out, opts=by))
    after = pulumi.ResourceOptions(provider=by.provider, depends_on=needed)
    gateways = []
    for at in range(zones):
        block, zone = f"10.4.{at}.0/24", f"{REGION}{'abc'[at]}"
        subnet = aws.ec2.Subnet(f"public-{at}", vpc_id=vpc.id, cidr_block=block, availability_zone=zone, opts=by)
        address = aws.ec2.Eip(f"nat-{at}", domain="vpc", opts=by)
        gateways.append(aws.ec2.NatGateway(f"nat-{at}", subnet_id=subnet.id, allocation_id=address.id, opts=after))
    inside = aws.ec2.RouteTable("private", vpc_id=vpc.id, opts=by)
    aws.ec2.Route(
        "private",
        route_table_id=inside.id,
        destination_cidr_block="0.0.0.0/0",
        nat_gateway_id=gateways[-1].id,
        opts=by,
    )
    pulumi.export("public_ip", gateways[0].public_ip)


def platform(nat: Nat) -> None:
    """The platform's own network."""
    chosen = NetworkArgs(
        region=REGION,
        account=ACCOUNT,
        cidr="10.6.0.0/16",
        zones=[f"{REGION}{zone}" for zone in "abc"],
        nat=nat,
        interface_endpoints=("kafka",),
        log_retention_days=1,
    )
    Network("network", chosen, opts=pulumi.ResourceOptions(providers=[provider()]))


def watched(action: str = "logs:*", service: str = _VPC_LOGS, traffic: str = "ALL", days: int = 1) -> None:
    """A network whose traffic is logged by a role that may do `action`."""
    by = pulumi.ResourceOptions(provider=provider(tags={"Days": str(days)}))
    vpc = aws.ec2.Vpc("net", cidr_block="10.5.0.0/16", opts=by)
    group = aws.cloudwatch.LogGroup("flows", retention_in_days=1, opts=by)
    role = aws.iam.Role(
        "role", assume_role_policy=allow("sts:AssumeRole", "", Principal={"Service": service}), opts=by
    )
    writes = aws.iam.RolePolicy(
        "writes", role=role.id, policy=allow(action, pulumi.Output.concat(group.arn, ":*")), opts=by
    )
    aws.ec2.FlowLog(
        "flows",
        vpc_id=vpc.id,
        traffic_type=traffic,
        log_destination=group.arn,
        iam_role_arn=role.arn,
        opts=pulumi.ResourceOptions(provider=by.provider, depends_on=[writes], delete_before_replace=True),
    )
