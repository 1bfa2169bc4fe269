"""Who can reach whom in an account, proven from what is deployed: groups, routes, endpoints and load balancers.

An account is a set of facts, each of them one thing that AWS was asked for. A flow's way is the facts that it needs;
each of them is needed, so that an account without it must show no way (the test's mutants). Pure but for `read`.

Not looked at: network ACLs (the program leaves the default, which lets everything pass) and DNS.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, Final, NamedTuple

import boto3

from envs.errors import FleetstreamError

ANYWHERE: Final = "0.0.0.0/0"
_ALL: Final = "-1"


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


@dataclass(frozen=True)
class Group:
    """Whatever has this security group (its Name tag)."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class World:
    """Any address of the internet."""

    def __str__(self) -> str:
        return "the internet"


@dataclass(frozen=True)
class Addresses:
    """A range of addresses outside the account, reached over whatever joins it to the VPC."""

    cidr: str

    def __str__(self) -> str:
        return self.cidr


@dataclass(frozen=True)
class Api:
    """An AWS service, without the internet (``s3``, ``kafka``)."""

    service: str

    def __str__(self) -> str:
        return f"the API of {self.service}"


@dataclass(frozen=True)
class Balancer:
    """A load balancer (its Name tag), and the security group of the nodes behind it."""

    name: str
    nodes: Group

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Flow:
    """Who speaks TCP to whom on which port."""

    source: Group | World | Addresses
    target: Group | World | Api | Balancer
    port: int

    def __str__(self) -> str:
        return f"{self.source} to {self.target}, port {self.port}"


class NoWayError(FleetstreamError):
    """A flow has no way; says what is missing."""


class Account:
    """What is deployed in one VPC."""

    def __init__(self, facts: Iterable[Fact], names: dict[str, str]) -> None:
        """`names` leads from a security group's or balancer's Name tag to its id or ARN."""
        self.facts = frozenset(facts)
        self.names = names

    def without(self, fact: Fact) -> "Account":
        """The same account, had this not been asked for."""
        return Account(self.facts - {fact}, self.names)

    def way(self, flow: Flow) -> list[Fact]:
        """The facts that a flow needs, in its order. Raises `NoWayError`."""
        match flow.source, flow.target:
            case Group(), Group():
                return self._between(flow.source, flow.target, flow.port)
            case Group(), Api(service):
                return self._to_service(flow.source, service, flow.port)
            case Group(), World():
                return self._out(flow.source, flow.port)
            case World() | Addresses() | Group(), Balancer():
                return self._through(flow.source, flow.target, flow.port)
            case World() | Addresses(), Group():
                return self._straight_in(flow.source, flow.target, flow.port)
        raise NoWayError(f"{flow}: not a flow that can be looked at")

    def _all(self, kind: type[Any], **wanted: object) -> list[Any]:
        found = (fact for fact in self.facts if isinstance(fact, kind))
        return sorted(one for one in found if all(getattr(one, key) == value for key, value in wanted.items()))

    def _one(self, missing: str, kind: type[Any], **wanted: object) -> Any:
        found = self._all(kind, **wanted)
        if not found:
            raise NoWayError(missing)
        return found[0]

    def _id(self, name: str) -> str:
        if name not in self.names:
            raise NoWayError(f"there is no {name}")
        return self.names[name]

    def _rule(self, group: Group, port: int, *, egress: bool, peers: Iterable[str], about: str) -> list[Fact]:
        """The rule of a group, with the prefix list's entry, that lets a port pass to or from one of the peers."""
        for rule in self._all(Rule, group=self._id(group.name), egress=egress):
            fits = rule.protocol == _ALL or (rule.protocol == "tcp" and rule.first <= port <= rule.last)
            if not fits:
                continue
            for peer in peers:
                if rule.peer == peer or _inside(peer, rule.peer):
                    return [rule]
                for entry in self._all(Entry, prefix_list=rule.peer):
                    if _inside(peer, entry.cidr):
                        return [rule, entry]
        way = "out" if egress else "in"
        raise NoWayError(f"no rule of {group} lets port {port} {way} {about}")

    def _between(self, source: Group, target: Group, port: int) -> list[Fact]:
        private = [subnet.cidr for subnet in self._all(Subnet, private=True)]
        whole = [_spanned(private)] if private else []
        return [
            *self._rule(source, port, egress=True, peers=[self._id(target.name), *whole], about=f"to {target}"),
            *self._rule(target, port, egress=False, peers=[self._id(source.name), *whole], about=f"from {source}"),
            self._one(f"nothing has the group {target}", Member, group=self._id(target.name)),
        ]

    def _to_service(self, source: Group, service: str, port: int) -> list[Fact]:
        way: list[Fact] = []
        places = self._all(Endpoint, service=service)
        if places:
            group = self._named(places[0].group)
            way += self._between(source, group, port)
            for subnet in self._private():
                missing = f"no endpoint of {service} in {subnet.id}"
                way.append(self._one(missing, Endpoint, service=service, subnet=subnet.id))
            return way
        # A gateway endpoint is a route to the service's prefix list, in the table of every subnet.
        for subnet in self._private():
            table = self._table(subnet)
            via = [r for r in self._all(Route, table=table.table) if r.via.startswith("vpce-")]
            route = next((r for r in via if self.names.get(f"prefix list of {service}") == r.destination), None)
            if route is None:
                raise NoWayError(f"no endpoint of {service} for {subnet.id}")
            way += [table, route]
            way += self._rule(source, port, egress=True, peers=[route.destination], about=f"to {service}")
        return way

    def _out(self, source: Group, port: int) -> list[Fact]:
        way = self._rule(source, port, egress=True, peers=[ANYWHERE], about="to the internet")
        for subnet in self._private():
            table = self._table(subnet)
            missing = f"no way out of {subnet.id}"
            route = self._one(missing, Route, table=table.table, destination=ANYWHERE)
            nat = self._one(f"{missing}: {route.via} is no NAT gateway that works", Nat, id=route.via)
            way += [table, route, nat, *self._to_internet(nat.subnet)]
        return way

    def _through(self, source: World | Addresses | Group, balancer: Balancer, port: int) -> list[Fact]:
        arn = self._id(f"load balancer {balancer.name}")
        group = Group(balancer.name)
        places = self._all(Place, balancer=arn)
        if not places:
            raise NoWayError(f"{balancer} stands nowhere")
        way: list[Fact] = []
        if isinstance(source, World):
            for place in places:
                if not place.public:
                    raise NoWayError(f"{balancer} is internal")
                way += [place, *self._to_internet(place.subnet)]
        if isinstance(source, Group):
            way += self._between(source, group, port)
        else:
            address = ANYWHERE if isinstance(source, World) else source.cidr
            way += self._rule(group, port, egress=False, peers=[address], about=f"from {source}")
        listener: Listener = self._one(f"{balancer} does not listen on {port}", Listener, balancer=arn, port=port)
        served = self._one(f"nothing serves {balancer}, port {port}", Registration, targets=listener.targets)
        return [*way, listener, served, *self._between(group, balancer.nodes, listener.target_port)]

    def _straight_in(self, source: World | Addresses, target: Group, port: int) -> list[Fact]:
        """Without a balancer: the groups alone decide, since an address may be public one day."""
        address = ANYWHERE if isinstance(source, World) else source.cidr
        return self._rule(target, port, egress=False, peers=[address], about=f"from {source}")

    def _to_internet(self, subnet: str) -> list[Fact]:
        missing = f"no route from {subnet} to an internet gateway"
        table = self._one(missing, Association, subnet=subnet)
        found = self._all(Route, table=table.table, destination=ANYWHERE)
        routes = [route for route in found if route.via.startswith("igw-")]
        if not routes:
            raise NoWayError(missing)
        return [table, routes[0]]

    def _table(self, subnet: Subnet) -> Association:
        return self._one(f"{subnet.id} has no route table of its own", Association, subnet=subnet.id)

    def _private(self) -> list[Subnet]:
        found = self._all(Subnet, private=True)
        if not found:
            raise NoWayError("there is no private subnet")
        return found

    def _named(self, group_id: str) -> Group:
        return Group(next(name for name, known in self.names.items() if known == group_id))


def _inside(inner: str, outer: str) -> bool:
    """Whether all addresses of a range are in another; names are in nothing."""
    if "/" not in inner or "/" not in outer:
        return False
    return ip_network(inner).subnet_of(ip_network(outer))  # type: ignore[arg-type]


def _spanned(ranges: list[str]) -> str:
    """The smallest range that has all the others in it."""
    networks = [ip_network(each) for each in ranges]
    whole = networks[0]
    while not all(each.subnet_of(whole) for each in networks):  # type: ignore[arg-type]
        whole = whole.supernet()
    return str(whole)


def read(session: boto3.Session, region: str, vpc_id: str, cluster_arn: str) -> Account:
    """Asks AWS what stands in a VPC, and which security groups its Kafka cluster has."""
    ec2 = session.client("ec2", region)
    within = [{"Name": "vpc-id", "Values": [vpc_id]}]
    names: dict[str, str] = {}
    facts: set[Fact] = set()

    groups = list(_pages(ec2, "describe_security_groups", "SecurityGroups", Filters=within))
    for group in groups:
        names[_name(group) or group["GroupName"]] = group["GroupId"]
    mine = [{"Name": "group-id", "Values": [group["GroupId"] for group in groups]}]
    for rule in _pages(ec2, "describe_security_group_rules", "SecurityGroupRules", Filters=mine):
        peer = rule.get("CidrIpv4") or rule.get("PrefixListId") or rule.get("ReferencedGroupInfo", {}).get("GroupId")
        facts.add(
            Rule(
                *(rule["SecurityGroupRuleId"], rule["GroupId"], rule["IsEgress"], rule["IpProtocol"]),
                *(rule.get("FromPort", -1), rule.get("ToPort", -1), peer or ""),
            )
        )
    for one in _pages(ec2, "describe_managed_prefix_lists", "PrefixLists"):
        names[f"prefix list of {one['PrefixListName'].rpartition('.')[2]}"] = one["PrefixListId"]
        entries = _pages(ec2, "get_managed_prefix_list_entries", "Entries", PrefixListId=one["PrefixListId"])
        facts |= {Entry(one["PrefixListId"], entry["Cidr"]) for entry in entries}
    for one in _pages(ec2, "describe_subnets", "Subnets", Filters=within):
        facts.add(Subnet(one["SubnetId"], one["CidrBlock"], _tags(one).get("tier") == "private"))
    for table in _pages(ec2, "describe_route_tables", "RouteTables", Filters=within):
        facts |= {
            Association(each["SubnetId"], table["RouteTableId"])
            for each in table["Associations"]
            if each.get("SubnetId")
        }
        for route in table["Routes"]:
            destination = route.get("DestinationCidrBlock") or route.get("DestinationPrefixListId") or ""
            via = route.get("NatGatewayId") or route.get("GatewayId") or ""
            facts.add(Route(table["RouteTableId"], destination, via))
    for one in _pages(ec2, "describe_nat_gateways", "NatGateways", Filters=within):
        if one["State"] == "available":
            facts.add(Nat(one["NatGatewayId"], one["SubnetId"]))
    for one in _pages(ec2, "describe_vpc_endpoints", "VpcEndpoints", Filters=within):
        service = one["ServiceName"].rpartition(".")[2]
        for group in one.get("Groups", []):
            facts.add(Member(group["GroupId"], one["VpcEndpointId"]))
            facts |= {Endpoint(service, subnet, group["GroupId"]) for subnet in one["SubnetIds"]}
    for one in _pages(ec2, "describe_instances", "Reservations", Filters=within):
        for instance in one["Instances"]:
            facts |= {Member(group["GroupId"], instance["InstanceId"]) for group in instance["SecurityGroups"]}
    for one in _pages(ec2, "describe_launch_templates", "LaunchTemplates"):
        template = one["LaunchTemplateId"]
        for version in _pages(
            *(ec2, "describe_launch_template_versions", "LaunchTemplateVersions"),
            LaunchTemplateId=template,
            Versions=["$Latest"],
        ):
            facts |= {Member(group, template) for group in version["LaunchTemplateData"].get("SecurityGroupIds", [])}
    cluster = session.client("kafka", region).describe_cluster_v2(ClusterArn=cluster_arn)["ClusterInfo"][
        "Provisioned"
    ]
    facts |= {Member(group, cluster_arn) for group in cluster["BrokerNodeGroupInfo"]["SecurityGroups"]}
    efs = session.client("efs", region)
    for files in _pages(efs, "describe_file_systems", "FileSystems"):
        for target in _pages(efs, "describe_mount_targets", "MountTargets", FileSystemId=files["FileSystemId"]):
            identity = target["MountTargetId"]
            answer = efs.describe_mount_target_security_groups(MountTargetId=identity)
            facts |= {Member(group, identity) for group in answer["SecurityGroups"]}
    for function in _pages(session.client("lambda", region), "list_functions", "Functions"):
        place = function.get("VpcConfig") or {}
        if place.get("VpcId") == vpc_id:
            facts |= {Member(group, function["FunctionArn"]) for group in place["SecurityGroupIds"]}
    facts |= _balancers(session.client("elbv2", region), vpc_id, names)
    for one in _pages(session.client("autoscaling", region), "describe_auto_scaling_groups", "AutoScalingGroups"):
        facts |= {Registration(target, one["AutoScalingGroupName"]) for target in one["TargetGroupARNs"]}
    return Account(facts, names)


def _pages(client: Any, operation: str, key: str, **asked: Any) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator(operation).paginate(**asked):
        yield from page[key]


def _balancers(elb: Any, vpc_id: str, names: dict[str, str]) -> set[Fact]:
    facts: set[Fact] = set()
    targets = {one["TargetGroupArn"]: one["Port"] for one in _pages(elb, "describe_target_groups", "TargetGroups")}
    for one in _pages(elb, "describe_load_balancers", "LoadBalancers"):
        if one["VpcId"] != vpc_id:
            continue
        arn = one["LoadBalancerArn"]
        tags = elb.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"]
        names[f"load balancer {_name({'Tags': tags})}"] = arn
        public = one["Scheme"] == "internet-facing"
        facts |= {Place(arn, zone["SubnetId"], public) for zone in one["AvailabilityZones"]}
        facts |= {Member(group, arn) for group in one.get("SecurityGroups", [])}
        for listener in _pages(elb, "describe_listeners", "Listeners", LoadBalancerArn=arn):
            target = listener["DefaultActions"][0]["TargetGroupArn"]
            facts.add(Listener(arn, listener["Port"], target, targets[target]))
    return facts


def _tags(item: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}


def _name(item: dict[str, Any]) -> str:
    return _tags(item).get("Name", "")
