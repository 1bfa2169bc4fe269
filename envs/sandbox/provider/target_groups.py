"""Target groups of network load balancers, and the listeners that forward to them."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.load_balancers import NAME, TAGGING, attributes, read_attributes, tagged, tags_of
from envs.sandbox.provider.resource import Args, Busy, Resource
from envs.sandbox.provider.schema import block, boolean, integer, sequence, text
from envs.sandbox.provider.translate import answer, request

# Target group ---------------------------------------------------------------------------------------------------

_GROUP_SOURCE: Final = "internal/service/elbv2/target_group.go"
_CHECK: Final = {
    "enabled": boolean(default=True, api="HealthCheckEnabled"),
    "healthyThreshold": integer(default=3, api="HealthyThresholdCount"),
    "interval": integer(default=30, api="HealthCheckIntervalSeconds"),
    "matcher": text(computed=True, api="Matcher.HttpCode"),
    "path": text(computed=True, api="HealthCheckPath"),
    "port": text(default="traffic-port", api="HealthCheckPort"),
    "protocol": text(default="HTTP", api="HealthCheckProtocol"),
    "timeout": integer(computed=True, api="HealthCheckTimeoutSeconds"),
    "unhealthyThreshold": integer(default=3, api="UnhealthyThresholdCount"),
}
_FIXED: Final = {
    "ipAddressType": text(computed=True),
    "name": text(computed=True, api="TargetGroupName"),
    "port": integer(),
    "protocol": text(),
    "targetType": text(default="instance"),
    "vpcId": text(),
}
_ATTRIBUTES: Final = {
    "connectionTermination": boolean(computed=True, api="deregistration_delay.connection_termination.enabled"),
    "deregistrationDelay": integer(default=300, api="deregistration_delay.timeout_seconds"),
    # A boolean that the official provider takes as a string, to tell "false" from unset.
    "preserveClientIp": text(computed=True, api="preserve_client_ip.enabled"),
}


def _create_group(aws: Aws, args: Args) -> str:
    wanted = request(_FIXED, args, [name for name in _FIXED if name != "name"])
    wanted |= {"Name": args["name"], **request(_CHECK, args.get("healthCheck") or {})}
    made = aws.client("elbv2").create_target_group(**wanted, **tagged(args))
    return made["TargetGroups"][0]["TargetGroupArn"]


def _finish_group(aws: Aws, identifier: str, args: Args) -> None:
    _set_attributes(aws, identifier, args, set(_ATTRIBUTES))


def _set_attributes(aws: Aws, identifier: str, args: Args, names: set[str]) -> None:
    if wanted := attributes(_ATTRIBUTES, args, names):
        aws.client("elbv2").modify_target_group_attributes(TargetGroupArn=identifier, Attributes=wanted)


def _read_group(aws: Aws, identifier: str, _: Args) -> Args | None:
    elb = aws.client("elbv2")
    found = find(
        lambda: elb.describe_target_groups(TargetGroupArns=[identifier])["TargetGroups"], "TargetGroupNotFound"
    )
    if not found:
        return None
    told = elb.describe_target_group_attributes(TargetGroupArn=identifier)["Attributes"]
    return {
        **answer(_FIXED, found[0]),
        **read_attributes(_ATTRIBUTES, told),
        "healthCheck": answer(_CHECK, found[0]),
        "arn": identifier,
        "arnSuffix": f"targetgroup/{identifier.partition(':targetgroup/')[2]}",
        "loadBalancerArns": found[0].get("LoadBalancerArns", []),
        "tagsAll": tags_of(aws, identifier),
    }


def _update_group(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    if "healthCheck" in changed and new.get("healthCheck"):
        wanted = request(_CHECK, new["healthCheck"])
        aws.client("elbv2").modify_target_group(TargetGroupArn=identifier, **wanted)
    _set_attributes(aws, identifier, new, changed & _ATTRIBUTES.keys())


def _delete_group(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("TargetGroupNotFound"):
        aws.client("elbv2").delete_target_group(TargetGroupArn=identifier)


TARGET_GROUP: Final = Resource(
    type_name="aws:lb/targetGroup:TargetGroup",
    inputs={**_FIXED, **_ATTRIBUTES, "healthCheck": block(_CHECK, computed=True)},
    outputs=("arn", "arnSuffix", "loadBalancerArns"),
    replaces=dict.fromkeys(_FIXED, _GROUP_SOURCE),
    create=_create_group,
    finish=_finish_group,
    read=_read_group,
    update=_update_group,
    delete=_delete_group,
    busy=Busy(_GROUP_SOURCE, minutes=2, codes=("ResourceInUse",)),
    tagging=TAGGING,
    name=NAME,
)


# Listener -------------------------------------------------------------------------------------------------------

_LISTENER: Final = {"loadBalancerArn": text(required=True), "port": integer(), "protocol": text(computed=True)}
_ACTION: Final = {"order": integer(computed=True), "targetGroupArn": text(), "type": text(required=True)}


def _actions(args: Args) -> list[dict[str, Any]]:
    """The actions, numbered as they stand where the program gives no order."""
    return [
        {"Order": at, **request(_ACTION, action)} for at, action in enumerate(args.get("defaultActions") or [], 1)
    ]


def _create_listener(aws: Aws, args: Args) -> str:
    wanted = request(_LISTENER, args) | {"DefaultActions": _actions(args)}
    return aws.client("elbv2").create_listener(**wanted, **tagged(args))["Listeners"][0]["ListenerArn"]


def _read_listener(aws: Aws, identifier: str, _: Args) -> Args | None:
    describe = aws.client("elbv2").describe_listeners
    found = find(lambda: describe(ListenerArns=[identifier])["Listeners"], "ListenerNotFound")
    return found and {
        **answer(_LISTENER, found[0]),
        "defaultActions": [answer(_ACTION, action) for action in found[0].get("DefaultActions", [])],
        "arn": identifier,
        "tagsAll": tags_of(aws, identifier),
    }


def _update_listener(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    wanted = request(_LISTENER, new, ("port", "protocol"))
    wanted |= {"DefaultActions": _actions(new)} if "defaultActions" in changed else {}
    aws.client("elbv2").modify_listener(ListenerArn=identifier, **wanted)


def _delete_listener(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("ListenerNotFound"):
        aws.client("elbv2").delete_listener(ListenerArn=identifier)


LISTENER: Final = Resource(
    type_name="aws:lb/listener:Listener",
    inputs={**_LISTENER, "defaultActions": sequence(block(_ACTION), required=True)},
    outputs=("arn",),
    replaces={"loadBalancerArn": "internal/service/elbv2/listener.go"},
    create=_create_listener,
    read=_read_listener,
    update=_update_listener,
    delete=_delete_listener,
    tagging=TAGGING,
    identity=("loadBalancerArn", "port"),
)

RESOURCES: Final = (TARGET_GROUP, LISTENER)
