"""VPC endpoints and security groups."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.ec2 import TAGGING, specifications
from envs.sandbox.provider.resource import Args, AutoName, Busy, Resource
from envs.sandbox.provider.schema import block, boolean, document, integer, sequence, text, unordered
from envs.sandbox.provider.translate import answer, request, tag_map

# Endpoint -------------------------------------------------------------------------------------------------------

_ENDPOINT_SOURCE: Final = "internal/service/ec2/vpc_endpoint.go"
_ENDPOINT: Final = {
    "vpcId": text(required=True),
    "policy": document(computed=True, api="PolicyDocument"),
    "privateDnsEnabled": boolean(computed=True),
    "routeTableIds": unordered(text(), computed=True),
    "securityGroupIds": unordered(text(), computed=True),
    "serviceName": text(),
    "subnetIds": unordered(text(), computed=True),
    "vpcEndpointType": text(default="Gateway"),
}
_MEMBERS: Final = {"routeTableIds": "RouteTableIds", "securityGroupIds": "SecurityGroupIds", "subnetIds": "SubnetIds"}


def _create_endpoint(aws: Aws, args: Args) -> str:
    made = aws.client("ec2").create_vpc_endpoint(**request(_ENDPOINT, args), **specifications("vpc-endpoint", args))
    return made["VpcEndpoint"]["VpcEndpointId"]


def _finish_endpoint(aws: Aws, identifier: str, _: Args) -> None:
    aws.wait(
        f"VPC endpoint {identifier} becomes available",
        lambda: (_endpoint(aws, identifier) or {}).get("State", "").lower() == "available",
        minutes=10,
    )


def _endpoint(aws: Aws, identifier: str) -> dict[str, Any] | None:
    describe = aws.client("ec2").describe_vpc_endpoints
    found = find(lambda: describe(VpcEndpointIds=[identifier])["VpcEndpoints"], "InvalidVpcEndpointId.NotFound")
    return found[0] if found and found[0]["State"].lower() != "deleted" else None


def _read_endpoint(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _endpoint(aws, identifier)
    if found is None:
        return None
    lists = aws.client("ec2").describe_prefix_lists(
        Filters=[{"Name": "prefix-list-name", "Values": [found["ServiceName"]]}]
    )["PrefixLists"]
    prefix_list = next((each for each in lists if each["PrefixListName"] == found["ServiceName"]), {})
    entries = found.get("DnsEntries", [])
    return {
        **answer(_ENDPOINT, found),
        "securityGroupIds": [group["GroupId"] for group in found.get("Groups", [])],
        "arn": aws.arn("ec2", f"vpc-endpoint/{identifier}"),
        "cidrBlocks": prefix_list.get("Cidrs", []),
        "dnsEntries": [{"dnsName": e.get("DnsName"), "hostedZoneId": e.get("HostedZoneId")} for e in entries],
        "networkInterfaceIds": found.get("NetworkInterfaceIds", []),
        "ownerId": found.get("OwnerId", aws.account),
        "prefixListId": prefix_list.get("PrefixListId"),
        "requesterManaged": found.get("RequesterManaged", False),
        "state": found["State"].lower(),
        "tagsAll": tag_map(found.get("Tags")),
    }


def _update_endpoint(aws: Aws, identifier: str, old: Args, new: Args, changed: set[str]) -> None:
    change = request(_ENDPOINT, new, changed & {"policy", "privateDnsEnabled"})
    for name in changed & _MEMBERS.keys():
        had, wanted = set(old.get(name) or ()), set(new.get(name) or ())
        change |= {f"Add{_MEMBERS[name]}": sorted(wanted - had)} if wanted - had else {}
        change |= {f"Remove{_MEMBERS[name]}": sorted(had - wanted)} if had - wanted else {}
    if change:
        aws.client("ec2").modify_vpc_endpoint(VpcEndpointId=identifier, **change)


def _delete_endpoint(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("InvalidVpcEndpointId.NotFound"):
        aws.client("ec2").delete_vpc_endpoints(VpcEndpointIds=[identifier])


VPC_ENDPOINT: Final = Resource(
    type_name="aws:ec2/vpcEndpoint:VpcEndpoint",
    inputs=_ENDPOINT,
    outputs=(
        "arn",
        "cidrBlocks",
        "dnsEntries",
        "networkInterfaceIds",
        "ownerId",
        "prefixListId",
        "requesterManaged",
        "state",
    ),
    replaces=dict.fromkeys(("vpcId", "serviceName", "vpcEndpointType"), _ENDPOINT_SOURCE),
    create=_create_endpoint,
    finish=_finish_endpoint,
    read=_read_endpoint,
    update=_update_endpoint,
    delete=_delete_endpoint,
    tagging=TAGGING,
    recomputed_by={"networkInterfaceIds": ("subnetIds",)},
)


# Security groups ------------------------------------------------------------------------------------------------

_PROTOCOLS: Final = {"all": "-1", "6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6"}
_SOURCES: Final = {
    "cidrBlocks": ("IpRanges", "CidrIp"),
    "ipv6CidrBlocks": ("Ipv6Ranges", "CidrIpv6"),
    "prefixListIds": ("PrefixListIds", "PrefixListId"),
    "securityGroups": ("UserIdGroupPairs", "GroupId"),
}
Atom = tuple[str, int, int, str, str, str]
"""One source of one rule: protocol, first and last port, description, kind of source, source."""


def protocol(name: Any) -> str:
    """The name of a protocol as AWS tells it (`protocolStateFunc` in the official provider)."""
    return _PROTOCOLS.get(str(name).lower(), str(name).lower())


def _atoms(rules: Iterable[Args], own_id: str) -> Iterator[Atom]:
    for rule in rules:
        name = protocol(rule.get("protocol"))
        first, last = (0, 0) if name == "-1" else (rule.get("fromPort") or 0, rule.get("toPort") or 0)
        about = str(rule.get("description") or "")
        for kind in _SOURCES:
            for source in rule.get(kind) or ():
                yield name, first, last, about, kind, source
        if rule.get("self"):
            yield name, first, last, about, "securityGroups", own_id


def _same_rules(old: list[Args], new: list[Args]) -> bool:
    return set(_atoms(old, "self")) == set(_atoms(new, "self"))


def _permission(atom: Atom) -> dict[str, Any]:
    name, first, last, about, kind, source = atom
    ranges, key = _SOURCES[kind]
    described = {"Description": about} if about else {}
    ports = {} if name == "-1" else {"FromPort": first, "ToPort": last}
    return {"IpProtocol": name, **ports, ranges: [{key: source, **described}]}


def _rules(permissions: list[dict[str, Any]], own_id: str) -> list[Args]:
    """AWS's permissions as rule blocks: one a protocol, port range and description."""
    rules: dict[tuple[Any, ...], Args] = {}
    for each in permissions:
        ports = (each.get("FromPort") or 0, each.get("ToPort") or 0)
        for kind, (ranges, key) in _SOURCES.items():
            for source in each.get(ranges, []):
                about = source.get("Description", "")
                empty = {
                    "protocol": each["IpProtocol"],
                    "fromPort": ports[0],
                    "toPort": ports[1],
                    "description": about,
                }
                rule = rules.setdefault((each["IpProtocol"], *ports, about), empty)
                if source[key] == own_id:
                    rule["self"] = True
                else:
                    rule.setdefault(kind, []).append(source[key])
    return list(rules.values())


_RULE: Final = block(
    {
        "protocol": text(required=True, same=lambda old, new: protocol(old) == protocol(new)),
        "fromPort": integer(required=True),
        "toPort": integer(required=True),
        "cidrBlocks": sequence(text()),
        "ipv6CidrBlocks": sequence(text()),
        "prefixListIds": sequence(text()),
        "securityGroups": unordered(text()),
        "self": boolean(default=False),
        "description": text(),
    }
)
_RULES: Final = unordered(_RULE, computed=True, same=_same_rules)
_DIRECTIONS: Final = {"ingress": "IpPermissions", "egress": "IpPermissionsEgress"}


def _create_group(aws: Aws, args: Args) -> str:
    wanted = {"GroupName": args["name"], "Description": args["description"]}
    wanted |= {"VpcId": args["vpcId"]} if args.get("vpcId") else {}
    return aws.client("ec2").create_security_group(**wanted, **specifications("security-group", args))["GroupId"]


def _finish_group(aws: Aws, identifier: str, args: Args) -> None:
    # The official provider takes away the rule that lets everything out of a new group.
    _set_rules(aws, identifier, {"ingress": args.get("ingress"), "egress": args.get("egress") or []})


def _find_default_group(aws: Aws, args: Args) -> str:
    wanted = [{"Name": "group-name", "Values": ["default"]}]
    wanted += [{"Name": "vpc-id", "Values": [args["vpcId"]]}] if args.get("vpcId") else []
    return aws.client("ec2").describe_security_groups(Filters=wanted)["SecurityGroups"][0]["GroupId"]


def _finish_default_group(aws: Aws, identifier: str, args: Args) -> None:
    # Adopting the default group takes away all rules that the program does not say.
    _set_rules(aws, identifier, {name: args.get(name) or [] for name in _DIRECTIONS})
    if tags := args.get("tagsAll"):
        TAGGING.add(aws, identifier, args, tags)


def _set_rules(aws: Aws, identifier: str, wanted: dict[str, list[Args] | None]) -> None:
    ec2 = aws.client("ec2")
    group = ec2.describe_security_groups(GroupIds=[identifier])["SecurityGroups"][0]
    for name, rules in wanted.items():
        if rules is None:
            continue
        had = set(_atoms(_rules(group.get(_DIRECTIONS[name], []), identifier), identifier))
        new = set(_atoms(rules, identifier))
        for atoms, verb in ((had - new, "revoke"), (new - had, "authorize")):
            if atoms:
                call = getattr(ec2, f"{verb}_security_group_{name}")
                call(GroupId=identifier, IpPermissions=[_permission(atom) for atom in sorted(atoms)])


def _read_group(aws: Aws, identifier: str, _: Args) -> Args | None:
    describe = aws.client("ec2").describe_security_groups
    found = find(lambda: describe(GroupIds=[identifier])["SecurityGroups"], "InvalidGroup.NotFound")
    return found and {
        "name": found[0]["GroupName"],
        "description": found[0]["Description"],
        "vpcId": found[0].get("VpcId"),
        **{name: _rules(found[0].get(api, []), identifier) for name, api in _DIRECTIONS.items()},
        "arn": aws.arn("ec2", f"security-group/{identifier}"),
        "ownerId": found[0].get("OwnerId", aws.account),
        "tagsAll": tag_map(found[0].get("Tags")),
    }


def _read_default_group(aws: Aws, identifier: str, prior: Args) -> Args | None:
    found = _read_group(aws, identifier, prior)
    return found and {**found, "namePrefix": ""}


def _update_group(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    _set_rules(aws, identifier, {name: new.get(name) or [] for name in _DIRECTIONS if name in changed})


def _delete_group(aws: Aws, identifier: str, state: Args) -> None:
    with ignoring("InvalidGroup.NotFound", "InvalidGroupId.NotFound"):
        if state.get("revokeRulesOnDelete"):
            _set_rules(aws, identifier, {name: [] for name in _DIRECTIONS})
        aws.client("ec2").delete_security_group(GroupId=identifier)


_GROUP_SOURCE: Final = "internal/service/ec2/vpc_security_group.go"
SECURITY_GROUP: Final = Resource(
    type_name="aws:ec2/securityGroup:SecurityGroup",
    inputs={
        "description": text(default="Managed by Pulumi"),
        "egress": _RULES,
        "ingress": _RULES,
        "name": text(computed=True),
        "revokeRulesOnDelete": boolean(default=False, write_only=True),
        "vpcId": text(computed=True),
    },
    outputs=("arn", "ownerId"),
    replaces=dict.fromkeys(("description", "name", "vpcId"), _GROUP_SOURCE),
    create=_create_group,
    finish=_finish_group,
    read=_read_group,
    update=_update_group,
    delete=_delete_group,
    busy=Busy(_GROUP_SOURCE, 15, ("DependencyViolation", "InvalidGroup.InUse")),
    tagging=TAGGING,
    name=AutoName(),
    identity=("name", "vpcId"),
)
DEFAULT_SECURITY_GROUP: Final = Resource(
    type_name="aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    inputs={"egress": _RULES, "ingress": _RULES, "vpcId": text(computed=True)},
    outputs=("arn", "description", "name", "namePrefix", "ownerId"),
    replaces={"vpcId": "internal/service/ec2/vpc_default_security_group.go"},
    create=_find_default_group,
    finish=_finish_default_group,
    read=_read_default_group,
    update=_update_group,
    delete=lambda *_: None,
    tagging=TAGGING,
    remains=True,
)

RESOURCES: Final = (VPC_ENDPOINT, SECURITY_GROUP, DEFAULT_SECURITY_GROUP)
