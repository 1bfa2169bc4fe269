"""Security group rules as resources of their own, one for each direction."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.ec2 import TAGGING
from envs.sandbox.provider.resource import Args, Resource, When
from envs.sandbox.provider.schema import integer, text
from envs.sandbox.provider.translate import answer, request, tag_map
from envs.sandbox.provider.vpc import protocol

_RULE: Final = {
    "securityGroupId": text(required=True, api="GroupId"),
    "ipProtocol": text(required=True, same=lambda old, new: protocol(old) == protocol(new)),
    "fromPort": integer(),
    "toPort": integer(),
    "cidrIpv4": text(),
    "cidrIpv6": text(),
    "prefixListId": text(),
    "referencedSecurityGroupId": text(api="ReferencedGroupInfo.GroupId"),
    "description": text(),
}
_SOURCES: Final = {
    "cidrIpv4": ("IpRanges", "CidrIp"),
    "cidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
    "prefixListId": ("PrefixListIds", "PrefixListId"),
    "referencedSecurityGroupId": ("UserIdGroupPairs", "GroupId"),
}


def _permission(args: Args) -> dict[str, Any]:
    described = {"Description": args["description"]} if args.get("description") else {}
    ranges = {kind: [{key: args[n], **described}] for n, (kind, key) in _SOURCES.items() if args.get(n)}
    return {**request(_RULE, args, ("fromPort", "toPort")), "IpProtocol": protocol(args["ipProtocol"]), **ranges}


def _found(aws: Aws, identifier: str) -> dict[str, Any] | None:
    describe = aws.client("ec2").describe_security_group_rules
    found = find(
        lambda: describe(SecurityGroupRuleIds=[identifier])["SecurityGroupRules"],
        "InvalidSecurityGroupRuleId.NotFound",
        "InvalidGroup.NotFound",
    )
    return found[0] if found else None


def _tag(aws: Aws, identifier: str, args: Args) -> None:
    if tags := args.get("tagsAll"):
        TAGGING.add(aws, identifier, args, tags)


def _read(aws: Aws, identifier: str, prior: Args) -> Args | None:
    found = _found(aws, identifier)
    if found is None:
        return None
    state = answer(_RULE, found)
    # AWS tells -1 where no port was given (`Read` in the official provider).
    unset = [name for name in ("fromPort", "toPort") if state.get(name) == -1 and prior.get(name) is None]
    return {
        **{name: value for name, value in state.items() if name not in unset},
        "arn": aws.arn("ec2", f"security-group-rule/{identifier}"),
        "securityGroupRuleId": identifier,
        "tagsAll": tag_map(found.get("Tags")),
    }


def _update(aws: Aws, identifier: str, _: Args, new: Args, __: set[str]) -> None:
    rule = request(_RULE, new, ("fromPort", "toPort", "cidrIpv4", "cidrIpv6", "prefixListId", "description"))
    rule |= {"IpProtocol": protocol(new["ipProtocol"])}
    if group := new.get("referencedSecurityGroupId"):
        rule |= {"ReferencedGroupId": group}
    aws.client("ec2").modify_security_group_rules(
        GroupId=new["securityGroupId"],
        SecurityGroupRules=[{"SecurityGroupRuleId": identifier, "SecurityGroupRule": rule}],
    )


def _rule(direction: str, name: str) -> Resource:
    source = f"internal/service/ec2/vpc_security_group_{direction}_rule.go"

    def create(aws: Aws, args: Args) -> str:
        authorize = getattr(aws.client("ec2"), f"authorize_security_group_{direction}")
        made = authorize(GroupId=args["securityGroupId"], IpPermissions=[_permission(args)])
        return made["SecurityGroupRules"][0]["SecurityGroupRuleId"]

    def delete(aws: Aws, identifier: str, state: Args) -> None:
        revoke = getattr(aws.client("ec2"), f"revoke_security_group_{direction}")
        with ignoring("InvalidGroup.NotFound", "InvalidSecurityGroupRuleId.NotFound"):
            revoke(GroupId=state["securityGroupId"], SecurityGroupRuleIds=[identifier])

    # A rule can be changed in everything but the kind of its source (`ModifyPlan` in the official provider).
    kind_of_source = {
        name: When(source, lambda old, new: not old or not new, (None, "an example")) for name in _SOURCES
    }
    return Resource(
        type_name=f"aws:vpc/securityGroup{name}Rule:SecurityGroup{name}Rule",
        inputs=_RULE,
        outputs=("arn", "securityGroupRuleId"),
        replaces={"securityGroupId": source, **kind_of_source},
        create=create,
        finish=_tag,
        read=_read,
        update=_update,
        delete=delete,
        tagging=TAGGING,
        identity=tuple(_RULE),
    )


RESOURCES: Final = (_rule("ingress", "Ingress"), _rule("egress", "Egress"))
