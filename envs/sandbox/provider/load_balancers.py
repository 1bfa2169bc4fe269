"""Network load balancers, with the waits until they are active and until their network interfaces are gone."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging, When
from envs.sandbox.provider.schema import Kind, Property, boolean, text, unordered
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map

_SOURCE: Final = "internal/service/elbv2/load_balancer.go"
_NETWORK: Final = "network"
_ACTIVE_MINUTES: Final = 10.0
_DETACHED_MINUTES: Final = 5.0

NAME: Final = AutoName(longest=32)
"""Load balancers and target groups have at most 32 characters (ELB API Reference, CreateLoadBalancer)."""

_BALANCER: Final = {
    "ipAddressType": text(computed=True),
    "loadBalancerType": text(default="application", api="Type"),
    "name": text(computed=True, api="LoadBalancerName"),
    "securityGroups": unordered(text(), computed=True),
}
_ATTRIBUTES: Final = {
    "dnsRecordClientRoutingPolicy": text(default="any_availability_zone", api="dns_record.client_routing_policy"),
    "enableCrossZoneLoadBalancing": boolean(default=False, api="load_balancing.cross_zone.enabled"),
    "enableDeletionProtection": boolean(default=False, api="deletion_protection.enabled"),
}
"""What is set by a call of its own, by its key there (ELB API Reference, LoadBalancerAttribute)."""


def attributes(fields: dict[str, Property], args: Args, names: set[str]) -> list[dict[str, str]]:
    """Attributes as ELB's API takes them: all are strings."""
    wanted = {fields[name].api: args[name] for name in sorted(names) if args.get(name) is not None}
    return [
        {"Key": str(key), "Value": str(value).lower() if isinstance(value, bool) else str(value)}
        for key, value in wanted.items()
    ]


def read_attributes(fields: dict[str, Property], told: list[dict[str, str]]) -> Args:
    """The reverse of `attributes`."""
    values = {attribute["Key"]: attribute.get("Value", "") for attribute in told}
    return {name: _told(prop, values[prop.api]) for name, prop in fields.items() if prop.api in values}


def _told(prop: Property, value: str) -> Any:
    match prop.kind:
        case Kind.BOOLEAN:
            return value == "true"
        case Kind.INTEGER:
            return int(value)
    return value


def tags_of(aws: Aws, arn: str) -> dict[str, str]:
    """The tags of anything that ELB has."""
    (found,) = aws.client("elbv2").describe_tags(ResourceArns=[arn])["TagDescriptions"]
    return tag_map(found.get("Tags"))


def _add_tags(aws: Aws, identifier: str, _: Args, tags: dict[str, str]) -> None:
    aws.client("elbv2").add_tags(ResourceArns=[identifier], Tags=tag_list(tags))


def _remove_tags(aws: Aws, identifier: str, _: Args, keys: list[str]) -> None:
    aws.client("elbv2").remove_tags(ResourceArns=[identifier], TagKeys=keys)


TAGGING: Final = Tagging(_add_tags, _remove_tags)


def tagged(args: Args) -> dict[str, Any]:
    """The tags of something new, as ELB's Create calls take them."""
    return {"Tags": tag_list(args["tagsAll"])} if args.get("tagsAll") else {}


def _create(aws: Aws, args: Args) -> str:
    if args["loadBalancerType"] != _NETWORK:
        raise ProviderError(f"loadBalancerType {args['loadBalancerType']!r} is not emulated: only {_NETWORK!r} is")
    wanted = request(_BALANCER, args, ("ipAddressType", "loadBalancerType", "securityGroups"))
    wanted |= {"Name": args["name"], "Subnets": args.get("subnets") or []}
    wanted |= {"Scheme": "internal"} if args.get("internal") else {}
    made = aws.client("elbv2").create_load_balancer(**wanted, **tagged(args))
    return made["LoadBalancers"][0]["LoadBalancerArn"]


def _finish(aws: Aws, identifier: str, args: Args) -> None:
    _wait_active(aws, identifier)
    wanted = attributes(_ATTRIBUTES, args, set(_ATTRIBUTES))
    aws.client("elbv2").modify_load_balancer_attributes(LoadBalancerArn=identifier, Attributes=wanted)
    _wait_active(aws, identifier)


def _wait_active(aws: Aws, identifier: str) -> None:
    aws.wait(
        f"load balancer {identifier} becomes active",
        lambda: ((_balancer(aws, identifier) or {}).get("State") or {}).get("Code") == "active",
        _ACTIVE_MINUTES,
    )


def _balancer(aws: Aws, identifier: str) -> dict[str, Any] | None:
    describe = aws.client("elbv2").describe_load_balancers
    found = find(lambda: describe(LoadBalancerArns=[identifier])["LoadBalancers"], "LoadBalancerNotFound")
    return found[0] if found else None


def _read(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _balancer(aws, identifier)
    if found is None:
        return None
    told = aws.client("elbv2").describe_load_balancer_attributes(LoadBalancerArn=identifier)["Attributes"]
    return {
        **answer(_BALANCER, found),
        **read_attributes(_ATTRIBUTES, told),
        "internal": found["Scheme"] == "internal",
        "subnets": [zone["SubnetId"] for zone in found.get("AvailabilityZones", [])],
        "arn": identifier,
        "arnSuffix": _suffix(identifier),
        "dnsName": found["DNSName"],
        "vpcId": found["VpcId"],
        "zoneId": found["CanonicalHostedZoneId"],
        "tagsAll": tags_of(aws, identifier),
    }


def _suffix(arn: str) -> str:
    """What comes after ``loadbalancer/``: ``net/<name>/<id>``."""
    return arn.partition(":loadbalancer/")[2]


def _update(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    elb = aws.client("elbv2")
    if wanted := attributes(_ATTRIBUTES, new, changed & _ATTRIBUTES.keys()):
        elb.modify_load_balancer_attributes(LoadBalancerArn=identifier, Attributes=wanted)
    if "securityGroups" in changed:
        elb.set_security_groups(LoadBalancerArn=identifier, SecurityGroups=new.get("securityGroups") or [])
    if "subnets" in changed:
        elb.set_subnets(LoadBalancerArn=identifier, Subnets=new.get("subnets") or [])
    if "ipAddressType" in changed:
        elb.set_ip_address_type(LoadBalancerArn=identifier, IpAddressType=new["ipAddressType"])
    _wait_active(aws, identifier)


def _delete(aws: Aws, identifier: str, _: Args) -> None:
    aws.client("elbv2").delete_load_balancer(LoadBalancerArn=identifier)
    # Its interfaces go a little later, and until then hold subnets, security groups and the internet gateway
    # (`waitForNLBNetworkInterfacesToDetach`).
    described = [{"Name": "description", "Values": [f"ELB {_suffix(identifier)}"]}]
    aws.wait(
        f"the network interfaces of load balancer {identifier} are gone",
        lambda: not aws.client("ec2").describe_network_interfaces(Filters=described)["NetworkInterfaces"],
        _DETACHED_MINUTES,
    )


LOAD_BALANCER: Final = Resource(
    type_name="aws:lb/loadBalancer:LoadBalancer",
    inputs={
        **_BALANCER,
        **_ATTRIBUTES,
        "internal": boolean(computed=True),
        "subnets": unordered(text(), computed=True),
    },
    outputs=("arn", "arnSuffix", "dnsName", "vpcId", "zoneId"),
    replaces={
        **dict.fromkeys(("internal", "loadBalancerType", "name"), _SOURCE),
        # `customizeDiffLoadBalancerNLB`: the first group cannot be added, nor the last one taken away.
        "securityGroups": When(_SOURCE, lambda old, new: bool(old) != bool(new), ([], ["sg-1"])),
        # ... and subnets can only become more.
        "subnets": When(_SOURCE, lambda old, new: len(new or ()) <= len(old or ()), (["subnet-1"], ["subnet-2"])),
    },
    create=_create,
    finish=_finish,
    read=_read,
    update=_update,
    delete=_delete,
    tagging=TAGGING,
    name=NAME,
)

RESOURCES: Final = (LOAD_BALANCER,)
