"""The network: one VPC, public and private subnets in every zone, their ways out, and private ways to AWS's APIs."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.policies import Statement, document
from infra.sections import InterfaceEndpoint, Nat

HTTPS = 443
ANYWHERE = "0.0.0.0/0"

# A block for each of eight zones, whether used or not: a zone that is added later renumbers nothing.
_ZONE_BITS = 3


@dataclass(frozen=True, kw_only=True)
class ZoneRanges:
    """The subnets of one zone."""

    private: str
    public: str


def zone_ranges(cidr: str, zones: int) -> list[ZoneRanges]:
    """The subnets of each zone: half of the zone's block is private, a quarter public, the last quarter is spare."""
    blocks = list(ipaddress.IPv4Network(cidr).subnets(prefixlen_diff=_ZONE_BITS))
    ranges = []
    for block in blocks[:zones]:
        private, rest = block.subnets(prefixlen_diff=1)
        public = next(rest.subnets(prefixlen_diff=1))
        ranges.append(ZoneRanges(private=str(private), public=str(public)))
    return ranges


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """Range and zones, the way out, which AWS APIs get an endpoint inside, and how long flow logs are kept."""

    region: str
    account: pulumi.Input[str]
    cidr: str
    zones: Sequence[str]
    nat: Nat
    interface_endpoints: Sequence[InterfaceEndpoint]
    log_retention_days: int


class Network(pulumi.ComponentResource):
    """A VPC that nobody enters unasked: private subnets reach AWS inside, and the internet through NAT if at all."""

    vpc_id: pulumi.Output[str]
    public_subnet_ids: list[pulumi.Output[str]]
    private_subnet_ids: list[pulumi.Output[str]]
    endpoint_group_id: pulumi.Output[str]
    """Security group of the interface endpoints."""
    s3_prefix_list_id: pulumi.Output[str]
    """The addresses of S3, for security group rules."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:network:Network", name, None, opts)
        self._name = name
        self._args = args
        vpc = aws.ec2.Vpc(
            f"{name}-vpc",
            cidr_block=args.cidr,
            # Private names of the interface endpoints and of the brokers resolve only with both.
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags={"Name": name},
            opts=self._child(),
        )
        self.vpc_id = vpc.id
        # The group that AWS gives every VPC lets its members talk to each other: without rules nobody can use it.
        aws.ec2.DefaultSecurityGroup(
            f"{name}-default-group", vpc_id=vpc.id, ingress=[], egress=[], opts=self._child()
        )
        self._flow_logs()
        public_table, way_out = self._public_table()
        self.public_subnet_ids, self.private_subnet_ids = [], []
        private_tables = []
        for zone, ranges in zip(args.zones, zone_ranges(args.cidr, len(args.zones)), strict=True):
            self.public_subnet_ids.append(self._subnet("public", zone, ranges.public, public_table))
            table = aws.ec2.RouteTable(
                f"{name}-private-{zone}",
                vpc_id=vpc.id,
                tags={"Name": f"{name}-private-{zone}"},
                opts=self._child(),
            )
            self.private_subnet_ids.append(self._subnet("private", zone, ranges.private, table))
            private_tables.append(table)
        self._nat(private_tables, way_out)
        self.s3_prefix_list_id = self._gateway_endpoint("s3", [public_table, *private_tables])
        self._gateway_endpoint("dynamodb", [public_table, *private_tables])
        self.endpoint_group_id = self._interface_endpoints()
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "public_subnet_ids": self.public_subnet_ids,
                "private_subnet_ids": self.private_subnet_ids,
            }
        )

    def _child(self, depends_on: list[pulumi.Resource] | None = None) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=depends_on)

    def _flow_logs(self) -> None:
        """Who spoke to whom, accepted or not (VPC User Guide, "Publish flow logs to CloudWatch Logs")."""
        name = f"{self._name}-flow-logs"
        account = pulumi.Output.from_input(self._args.account)
        logs = aws.cloudwatch.LogGroup(name, retention_in_days=self._args.log_retention_days, opts=self._child())
        role = aws.iam.Role(
            name,
            assume_role_policy=document(
                Statement(
                    sid="Assume",
                    actions=["sts:AssumeRole"],
                    principals={"Service": "vpc-flow-logs.amazonaws.com"},
                    # Only for flow logs of this account: the service works for others too.
                    conditions={
                        "StringEquals": {"aws:SourceAccount": account},
                        "ArnLike": {
                            "aws:SourceArn": pulumi.Output.concat(
                                "arn:aws:ec2:", self._args.region, ":", account, ":vpc-flow-log/*"
                            )
                        },
                    },
                )
            ),
            opts=self._child(),
        )
        rights = aws.iam.RolePolicy(
            name,
            role=role.id,
            policy=document(
                Statement(sid="FindLog", actions=["logs:DescribeLogGroups"], resources=["*"]),
                Statement(
                    sid="OwnLog",
                    actions=["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                    resources=[pulumi.Output.concat(logs.arn, ":*")],
                ),
            ),
            opts=self._child(),
        )
        aws.ec2.FlowLog(
            name,
            vpc_id=self.vpc_id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=logs.arn,
            iam_role_arn=role.arn,
            tags={"Name": self._name},
            # AWS refuses a second one with the same destination (FlowLogAlreadyExists).
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rights], delete_before_replace=True),
        )

    def _public_table(self) -> tuple[aws.ec2.RouteTable, aws.ec2.Route]:
        gateway = aws.ec2.InternetGateway(
            f"{self._name}-internet", vpc_id=self.vpc_id, tags={"Name": self._name}, opts=self._child()
        )
        table = aws.ec2.RouteTable(
            f"{self._name}-public", vpc_id=self.vpc_id, tags={"Name": f"{self._name}-public"}, opts=self._child()
        )
        way_out = aws.ec2.Route(
            f"{self._name}-public-internet",
            route_table_id=table.id,
            destination_cidr_block=ANYWHERE,
            gateway_id=gateway.id,
            opts=self._child(),
        )
        return table, way_out

    def _nat(self, private_tables: Sequence[aws.ec2.RouteTable], way_out: aws.ec2.Route) -> None:
        """The way out of private subnets: none, by the first zone's gateway, or by the one of their own zone."""
        zones = self._args.zones
        gateways = [
            self._nat_gateway(zone, subnet_id, way_out)
            for zone, subnet_id in zip(zones, self.public_subnet_ids, strict=True)
            if self._args.nat == "per_zone" or (self._args.nat == "one" and zone == zones[0])
        ]
        if not gateways:
            return
        for at, (zone, table) in enumerate(zip(zones, private_tables, strict=True)):
            aws.ec2.Route(
                f"{self._name}-private-{zone}-nat",
                route_table_id=table.id,
                destination_cidr_block=ANYWHERE,
                nat_gateway_id=gateways[at % len(gateways)],
                opts=self._child(),
            )

    def _nat_gateway(self, zone: str, subnet_id: pulumi.Input[str], way_out: aws.ec2.Route) -> pulumi.Output[str]:
        name = f"{self._name}-nat-{zone}"
        address = aws.ec2.Eip(name, domain="vpc", tags={"Name": name}, opts=self._child())
        gateway = aws.ec2.NatGateway(
            name,
            subnet_id=subnet_id,
            allocation_id=address.id,
            tags={"Name": name},
            # It fails in a VPC without an internet gateway, which cannot go before it either.
            opts=self._child(depends_on=[way_out]),
        )
        return gateway.id

    def _subnet(self, kind: str, zone: str, cidr: str, table: aws.ec2.RouteTable) -> pulumi.Output[str]:
        subnet = aws.ec2.Subnet(
            f"{self._name}-{kind}-{zone}",
            vpc_id=self.vpc_id,
            availability_zone=zone,
            cidr_block=cidr,
            # Public addresses are given to load balancers and gateways on purpose, never to whatever starts here.
            map_public_ip_on_launch=False,
            tags={"Name": f"{self._name}-{kind}-{zone}", "tier": kind},
            opts=self._child(),
        )
        aws.ec2.RouteTableAssociation(
            f"{self._name}-{kind}-{zone}", subnet_id=subnet.id, route_table_id=table.id, opts=self._child()
        )
        return subnet.id

    def _gateway_endpoint(self, service: str, tables: Sequence[aws.ec2.RouteTable]) -> pulumi.Output[str]:
        """S3 and DynamoDB are reached without the internet and its gateways; this kind of endpoint costs nothing."""
        endpoint = aws.ec2.VpcEndpoint(
            f"{self._name}-{service}",
            vpc_id=self.vpc_id,
            service_name=f"com.amazonaws.{self._args.region}.{service}",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in tables],
            tags={"Name": f"{self._name}-{service}"},
            opts=self._child(),
        )
        return endpoint.prefix_list_id

    def _interface_endpoints(self) -> pulumi.Output[str]:
        """Kafka clients ask MSK for brokers' addresses (kafka) and take their role (sts), without the internet."""
        group = aws.ec2.SecurityGroup(
            f"{self._name}-endpoints",
            description="AWS APIs inside the VPC",
            vpc_id=self.vpc_id,
            tags={"Name": f"{self._name}-endpoints"},
            opts=self._child(),
        )
        aws.vpc.SecurityGroupIngressRule(
            f"{self._name}-endpoints-https",
            security_group_id=group.id,
            description="AWS API calls from inside the VPC",
            cidr_ipv4=self._args.cidr,
            ip_protocol="tcp",
            from_port=HTTPS,
            to_port=HTTPS,
            opts=self._child(),
        )
        for service in self._args.interface_endpoints:
            aws.ec2.VpcEndpoint(
                f"{self._name}-{service}",
                vpc_id=self.vpc_id,
                service_name=f"com.amazonaws.{self._args.region}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=self.private_subnet_ids,
                security_group_ids=[group.id],
                tags={"Name": f"{self._name}-{service}"},
                opts=self._child(),
            )
        return group.id
