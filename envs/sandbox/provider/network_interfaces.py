"""Network interfaces that outlive the instances they are attached to."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.ec2 import TAGGING, specifications
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Args, Busy, Resource
from envs.sandbox.provider.schema import boolean, text, unordered
from envs.sandbox.provider.translate import answer, request, tag_map

_SOURCE: Final = "internal/service/ec2/vpc_network_interface.go"
_GONE: Final = ("InvalidNetworkInterfaceID.NotFound",)
_INTERFACE: Final = {
    "description": text(),
    "interfaceType": text(computed=True),
    "privateIp": text(computed=True, api="PrivateIpAddress"),
    "securityGroups": unordered(text(), computed=True, api="Groups"),
    "sourceDestCheck": boolean(default=True),
    "subnetId": text(required=True),
}
_AT_CREATION: Final = ("description", "interfaceType", "privateIp", "securityGroups", "subnetId")


def _create(aws: Aws, args: Args) -> str:
    wanted = request(_INTERFACE, args, _AT_CREATION)
    made = aws.client("ec2").create_network_interface(**wanted, **specifications("network-interface", args))
    return made["NetworkInterface"]["NetworkInterfaceId"]


def _finish(aws: Aws, identifier: str, args: Args) -> None:
    aws.wait(
        f"network interface {identifier} becomes available",
        lambda: (_interface(aws, identifier) or {}).get("Status") in ("available", "in-use"),
        minutes=10,
    )
    if args.get("sourceDestCheck") is False:
        _modify(aws, identifier, SourceDestCheck={"Value": False})


def _modify(aws: Aws, identifier: str, **change: Any) -> None:
    aws.client("ec2").modify_network_interface_attribute(NetworkInterfaceId=identifier, **change)


def _interface(aws: Aws, identifier: str) -> dict[str, Any] | None:
    describe = aws.client("ec2").describe_network_interfaces
    found = find(lambda: describe(NetworkInterfaceIds=[identifier])["NetworkInterfaces"], *_GONE)
    return found[0] if found else None


def _read(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _interface(aws, identifier)
    return found and {
        **answer(_INTERFACE, found, ("description", "interfaceType", "privateIp", "sourceDestCheck", "subnetId")),
        "securityGroups": [group["GroupId"] for group in found.get("Groups", [])],
        "arn": aws.arn("ec2", f"network-interface/{identifier}"),
        "macAddress": found.get("MacAddress"),
        "outpostArn": found.get("OutpostArn", ""),
        "ownerId": found.get("OwnerId", aws.account),
        "privateDnsName": found.get("PrivateDnsName", ""),
        "tagsAll": tag_map(found.get("TagSet")),
    }


def _update(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    if "privateIp" in changed:
        raise ProviderError(f"{identifier} keeps its address as long as it exists: replace it for another one")
    # ModifyNetworkInterfaceAttribute takes one attribute a call.
    if "securityGroups" in changed:
        _modify(aws, identifier, Groups=new.get("securityGroups") or [])
    if "sourceDestCheck" in changed:
        _modify(aws, identifier, SourceDestCheck={"Value": bool(new.get("sourceDestCheck"))})
    if "description" in changed:
        _modify(aws, identifier, Description={"Value": new.get("description") or ""})


def _delete(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring(*_GONE):
        aws.client("ec2").delete_network_interface(NetworkInterfaceId=identifier)


NETWORK_INTERFACE: Final = Resource(
    type_name="aws:ec2/networkInterface:NetworkInterface",
    inputs=_INTERFACE,
    outputs=("arn", "macAddress", "outpostArn", "ownerId", "privateDnsName"),
    replaces=dict.fromkeys(("interfaceType", "subnetId"), _SOURCE),
    create=_create,
    finish=_finish,
    read=_read,
    update=_update,
    delete=_delete,
    # An instance that is being ended lets go of its interface a moment later (`deleteNetworkInterface`).
    busy=Busy(_SOURCE, 10, ("InvalidParameterValue",)),
    tagging=TAGGING,
)

RESOURCES: Final = (NETWORK_INTERFACE,)
