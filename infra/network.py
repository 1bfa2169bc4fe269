"""The network: one VPC, public and private subnets in every zone, routes, and private ways to AWS's own APIs."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

HTTPS = 443

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
    """Range and zones, and which AWS APIs get an endpoint inside."""

    region: str
    cidr: str
    zones: Sequence[str]
    interface_endpoints: Sequence[str]


class Network(pulumi.ComponentResource):
    """A VPC whose private subnets reach S3 and chosen AWS APIs, and nothing else outside."""

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
        public_table = self._public_table()
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
        self.s3_prefix_list_id = self._s3_endpoint([public_table, *private_tables])
        self.endpoint_group_id = self._interface_endpoints()
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "public_subnet_ids": self.public_subnet_ids,
                "private_subnet_ids": self.private_subnet_ids,
            }
        )

    def _child(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self)

    def _public_table(self) -> aws.ec2.RouteTable:
        gateway = aws.ec2.InternetGateway(
            f"{self._name}-internet", vpc_id=self.vpc_id, tags={"Name": self._name}, opts=self._child()
        )
        table = aws.ec2.RouteTable(
            f"{self._name}-public", vpc_id=self.vpc_id, tags={"Name": f"{self._name}-public"}, opts=self._child()
        )
        aws.ec2.Route(
            f"{self._name}-public-internet",
            route_table_id=table.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway.id,
            opts=self._child(),
        )
        return table

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

    def _s3_endpoint(self, tables: Sequence[aws.ec2.RouteTable]) -> pulumi.Output[str]:
        """The archive's readers reach S3 without the internet; this kind of endpoint costs nothing."""
        endpoint = aws.ec2.VpcEndpoint(
            f"{self._name}-s3",
            vpc_id=self.vpc_id,
            service_name=f"com.amazonaws.{self._args.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in tables],
            tags={"Name": f"{self._name}-s3"},
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
