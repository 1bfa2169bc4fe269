"""Who can reach whom in an account, proven from what is deployed: groups, routes, endpoints and load balancers.

An account is a set of facts (`envs.facts`). A flow's way is the facts that it needs; each of them is needed, so that
an account without it, and without what could stand in for it, must show no way (the test's mutants). Pure.

Not looked at: network ACLs (the program leaves the default, which lets everything pass) and DNS.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, Final

from envs.errors import FleetstreamError
from envs.facts import (
    Association,
    Endpoint,
    Entry,
    Fact,
    Listener,
    Member,
    Nat,
    Place,
    Registration,
    Route,
    Rule,
    Subnet,
)

ANYWHERE: Final = "0.0.0.0/0"
_ALL: Final = "-1"


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
        """What `envs.facts.read` found."""
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
        rules = [
            rule
            for rule in self._all(Rule, group=self._id(group.name), egress=egress)
            if rule.protocol == _ALL or (rule.protocol == "tcp" and rule.first <= port <= rule.last)
        ]
        # The first peer is the one that is meant: a wider one lets it pass as well, by other facts.
        for peer in peers:
            for rule in rules:
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
            missing = f"no endpoint of {service} for {subnet.id}"
            addresses = self.names.get(f"prefix list {service}", "")
            route = self._one(missing, Route, table=table.table, destination=addresses)
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
