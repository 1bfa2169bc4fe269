"""Where the world may come in: through the security group of a load balancer that faces it, at its listeners' ports.

Judged from the links between resources, not from names: only a network load balancer that faces the internet may wear
the group, and nothing else, so that a port that is opened for the balancer opens no machine. Links are the very
outputs that resources hand on. To ask an output where it comes from is to wait for it, and what a rule's transform
waits for may itself wait for the rule.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import pulumi
from pulumi._types import is_input_type

Declared = tuple[str, str, pulumi.Resource, Mapping[str, Any]]
"""A resource of the program: type, name, itself, and its properties as the program gave them."""

_GROUP: Final = "aws:ec2/securityGroup:SecurityGroup"
_BALANCER: Final = "aws:lb/loadBalancer:LoadBalancer"
_LISTENER: Final = "aws:lb/listener:Listener"
_MENTIONS: Final = (
    _GROUP,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    "aws:ec2/securityGroupRule:SecurityGroupRule",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
)
"""What names groups without putting them on anything."""
_WORN: Final = frozenset({"security_group_id", "security_group_ids", "security_groups", "vpc_security_group_ids"})


def public_ports(rule: Mapping[str, Any], declared: Collection[Declared]) -> frozenset[int]:
    """The ports at which the world may reach the security group that a rule belongs to; none for most groups."""
    owners = _owners(declared)
    group = owners.get(id(given(rule, "securityGroupId")))
    if group not in [resource for type_, _, resource, _ in declared if type_ == _GROUP]:
        return frozenset()
    balancers = set()
    for type_, _, resource, properties in declared:
        worn = [] if type_ in _MENTIONS else [value for each in _worn(properties, "") for value in _flat(each)]
        # An output that no resource handed on as it is could be any group.
        strange = any(isinstance(value, pulumi.Output) and id(value) not in owners for value in worn)
        if strange or group in [owners.get(id(value)) for value in worn]:
            if strange or type_ != _BALANCER or not _faces_the_internet(properties):
                return frozenset()
            balancers.add(resource)
    return frozenset(
        port
        for type_, _, _, properties in declared
        if type_ == _LISTENER
        and isinstance(port := given(properties, "port"), int)
        and owners.get(id(given(properties, "loadBalancerArn"))) in balancers
    )


def given(properties: Mapping[str, Any], name: str) -> Any:
    """A property by its name in schemas; a program in Python declares it in snake case."""
    return properties.get(_snake(name), properties.get(name))


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _owners(declared: Collection[Declared]) -> dict[int, pulumi.Resource]:
    """Which resource an output is a property of, by the output's identity; components only pass outputs on."""
    return {
        id(value): resource
        for _, _, resource, _ in declared
        if isinstance(resource, pulumi.CustomResource)
        for value in vars(resource).values()
        if isinstance(value, pulumi.Output)
    }


def _faces_the_internet(properties: Mapping[str, Any]) -> bool:
    return given(properties, "loadBalancerType") == "network" and given(properties, "internal") in (None, False)


def _worn(value: Any, name: str) -> Iterator[Any]:
    """The security groups that a resource puts on something, at whatever depth of its properties."""
    if name in _WORN:
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _worn(item, _snake(str(key)))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _worn(item, name)
    elif is_input_type(type(value)):
        yield from _worn(vars(value), name)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    else:
        yield value
