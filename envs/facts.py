"""What stands in a VPC, as facts: each is one thing that AWS was asked for."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import boto3


class Rule(NamedTuple):
    """A rule of a security group. `peer` is an address range, another group, or a prefix list."""

    id: str
    group: str
    egress: bool
    protocol: str
    first: int
    last: int
    peer: str


class Entry(NamedTuple):
    """An address range of a prefix list."""

    prefix_list: str
    cidr: str


class Member(NamedTuple):
    """Something that has a security group: an instance, a launch template, a cluster, a balancer, an endpoint."""

    group: str
    what: str


class Subnet(NamedTuple):
    """A subnet, and whether the program calls it private."""

    id: str
    cidr: str
    private: bool


class Association(NamedTuple):
    """The route table of a subnet."""

    subnet: str
    table: str


class Route(NamedTuple):
    """A way out of a route table: to a gateway (``igw-``), NAT (``nat-``) or a gateway endpoint (``vpce-``)."""

    table: str
    destination: str
    via: str


class Nat(NamedTuple):
    """A NAT gateway that works, and the subnet it stands in."""

    id: str
    subnet: str


class Endpoint(NamedTuple):
    """An interface endpoint's place in one subnet, under the service's own name."""

    service: str
    subnet: str
    group: str


class Place(NamedTuple):
    """A load balancer's place in one subnet."""

    balancer: str
    subnet: str
    public: bool


class Listener(NamedTuple):
    """A port of a load balancer, and the group of targets behind it."""

    balancer: str
    port: int
    targets: str
    target_port: int


class Registration(NamedTuple):
    """An Auto Scaling group whose instances become targets."""

    targets: str
    scaling_group: str


Fact = Rule | Entry | Member | Subnet | Association | Route | Nat | Endpoint | Place | Listener | Registration


Deployed = tuple[frozenset[Fact], dict[str, str]]
"""The facts, and the names in them: a Name tag (``load balancer`` or ``prefix list`` before it, where it is none of a
security group) to the id or ARN."""


def read(session: boto3.Session, region: str, vpc_id: str, cluster_arn: str) -> Deployed:
    """Asks AWS what stands in a VPC, and which security groups its Kafka cluster has."""
    ec2 = session.client("ec2", region)
    within = [{"Name": "vpc-id", "Values": [vpc_id]}]
    names: dict[str, str] = {}
    facts: set[Fact] = set(_groups(ec2, within, names))
    facts.update(_prefix_lists(ec2, region, names))
    facts.update(_network(ec2, within))
    facts.update(_endpoints(ec2, within))
    facts.update(_machines(ec2, within))
    facts.update(_balancers(session.client("elbv2", region), vpc_id, names))
    for one in _pages(session.client("autoscaling", region), "describe_auto_scaling_groups", "AutoScalingGroups"):
        facts.update(Registration(target, one["AutoScalingGroupName"]) for target in one["TargetGroupARNs"])
    cluster = session.client("kafka", region).describe_cluster_v2(ClusterArn=cluster_arn)["ClusterInfo"]
    brokers = cluster["Provisioned"]["BrokerNodeGroupInfo"]
    facts.update(Member(group, cluster_arn) for group in brokers["SecurityGroups"])
    facts.update(_mount_targets(session.client("efs", region)))
    return frozenset(facts), names


def _groups(ec2: Any, within: list[Any], names: dict[str, str]) -> Iterator[Fact]:
    for group in _pages(ec2, "describe_security_groups", "SecurityGroups", Filters=within):
        names[_name(group) or group["GroupName"]] = group["GroupId"]
    mine = [{"Name": "group-id", "Values": list(names.values())}]
    for rule in _pages(ec2, "describe_security_group_rules", "SecurityGroupRules", Filters=mine):
        peer = rule.get("CidrIpv4") or rule.get("PrefixListId") or rule.get("ReferencedGroupInfo", {}).get("GroupId")
        yield Rule(
            id=rule["SecurityGroupRuleId"],
            group=rule["GroupId"],
            egress=rule["IsEgress"],
            protocol=rule["IpProtocol"],
            first=rule.get("FromPort", -1),
            last=rule.get("ToPort", -1),
            peer=peer or "",
        )


def _prefix_lists(ec2: Any, region: str, names: dict[str, str]) -> Iterator[Fact]:
    of_services = f"com.amazonaws.{region}."
    for one in _pages(ec2, "describe_managed_prefix_lists", "PrefixLists"):
        identity, name = one["PrefixListId"], one["PrefixListName"]
        if name.startswith(of_services):
            names[f"prefix list {name.removeprefix(of_services)}"] = identity
        for entry in _pages(ec2, "get_managed_prefix_list_entries", "Entries", PrefixListId=identity):
            yield Entry(identity, entry["Cidr"])


def _network(ec2: Any, within: list[Any]) -> Iterator[Fact]:
    for one in _pages(ec2, "describe_subnets", "Subnets", Filters=within):
        yield Subnet(one["SubnetId"], one["CidrBlock"], _tags(one).get("tier") == "private")
    for table in _pages(ec2, "describe_route_tables", "RouteTables", Filters=within):
        identity = table["RouteTableId"]
        for association in table["Associations"]:
            if subnet := association.get("SubnetId"):
                yield Association(subnet, identity)
        for route in table["Routes"]:
            destination = route.get("DestinationCidrBlock") or route.get("DestinationPrefixListId")
            # What a black hole leads to is gone (VPC User Guide, "Route tables"). IPv6 is not looked at.
            if destination and route.get("State") != "blackhole":
                yield Route(identity, destination, route.get("NatGatewayId") or route.get("GatewayId") or "")
    for one in _pages(ec2, "describe_nat_gateways", "NatGateways", Filters=within):
        if one["State"] == "available":
            yield Nat(one["NatGatewayId"], one["SubnetId"])


def _endpoints(ec2: Any, within: list[Any]) -> Iterator[Fact]:
    for one in _pages(ec2, "describe_vpc_endpoints", "VpcEndpoints", Filters=within):
        if one["State"].lower() != "available":
            continue
        service = one["ServiceName"].rpartition(".")[2]
        for group in one.get("Groups", []):
            yield Member(group["GroupId"], one["VpcEndpointId"])
            for subnet in one["SubnetIds"]:
                yield Endpoint(service, subnet, group["GroupId"])


def _machines(ec2: Any, within: list[Any]) -> Iterator[Fact]:
    """Those that run, and what others will be started from."""
    for reservation in _pages(ec2, "describe_instances", "Reservations", Filters=within):
        for instance in reservation["Instances"]:
            for group in instance["SecurityGroups"]:
                yield Member(group["GroupId"], instance["InstanceId"])
    versions = ("describe_launch_template_versions", "LaunchTemplateVersions")
    for one in _pages(ec2, "describe_launch_templates", "LaunchTemplates"):
        template = one["LaunchTemplateId"]
        for version in _pages(ec2, *versions, LaunchTemplateId=template, Versions=["$Latest"]):
            for group in version["LaunchTemplateData"].get("SecurityGroupIds", []):
                yield Member(group, template)


def _mount_targets(efs: Any) -> Iterator[Fact]:
    for files in _pages(efs, "describe_file_systems", "FileSystems"):
        for target in _pages(efs, "describe_mount_targets", "MountTargets", FileSystemId=files["FileSystemId"]):
            identity = target["MountTargetId"]
            for group in efs.describe_mount_target_security_groups(MountTargetId=identity)["SecurityGroups"]:
                yield Member(group, identity)


def _balancers(elb: Any, vpc_id: str, names: dict[str, str]) -> Iterator[Fact]:
    ports = {one["TargetGroupArn"]: one["Port"] for one in _pages(elb, "describe_target_groups", "TargetGroups")}
    for one in _pages(elb, "describe_load_balancers", "LoadBalancers"):
        if one["VpcId"] != vpc_id:
            continue
        arn = one["LoadBalancerArn"]
        names[f"load balancer {_name(elb.describe_tags(ResourceArns=[arn])['TagDescriptions'][0])}"] = arn
        for zone in one["AvailabilityZones"]:
            yield Place(arn, zone["SubnetId"], one["Scheme"] == "internet-facing")
        for group in one.get("SecurityGroups", []):
            yield Member(group, arn)
        for listener in _pages(elb, "describe_listeners", "Listeners", LoadBalancerArn=arn):
            targets = listener["DefaultActions"][0]["TargetGroupArn"]
            yield Listener(arn, listener["Port"], targets, ports[targets])


def _pages(client: Any, operation: str, key: str, **asked: Any) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator(operation).paginate(**asked):
        yield from page[key]


def _tags(item: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}


def _name(item: dict[str, Any]) -> str:
    return _tags(item).get("Name", "")
