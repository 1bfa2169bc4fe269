"""The data sources that programs may ask; any other is refused by its name."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from envs.sandbox.provider.aws import Aws
from envs.sandbox.provider.errors import ProviderError

Answer = dict[str, Any]


def call(aws: Aws, token: str, args: Mapping[str, Any]) -> Answer:
    """The answer of a data source. Raises `ProviderError` naming one that is not emulated, or its arguments."""
    if token not in _INVOKES:
        known = ", ".join(sorted(_INVOKES))
        raise ProviderError(f"the sandbox does not emulate the data source {token}. Emulated are: {known}")
    invoke, allowed = _INVOKES[token]
    given = {name: value for name, value in args.items() if value is not None and not name.startswith("__")}
    if given.pop("region", aws.region) != aws.region:
        raise ProviderError(
            f"{token}: a region of its own is not emulated: this provider instance works in {aws.region}"
        )
    if unknown := sorted(set(given) - set(allowed)):
        raise ProviderError(f"{token}: the sandbox does not emulate the argument {', '.join(unknown)}")
    return invoke(aws, given)


def _caller_identity(aws: Aws, _: Mapping[str, Any]) -> Answer:
    told = aws.client("sts").get_caller_identity()
    return {"accountId": told["Account"], "arn": told["Arn"], "userId": told["UserId"], "id": told["Account"]}


def _zones(aws: Aws, args: Mapping[str, Any]) -> Answer:
    zones = aws.client("ec2").describe_availability_zones()["AvailabilityZones"]
    wanted = args.get("state", "available")
    found = sorted((zone for zone in zones if zone["State"] == wanted), key=lambda zone: zone["ZoneName"])
    return {
        "names": [zone["ZoneName"] for zone in found],
        "zoneIds": [zone["ZoneId"] for zone in found],
        "groupNames": sorted({zone.get("GroupName") or aws.region for zone in found}),
        "id": aws.region,
        "region": aws.region,
        **args,
    }


def _region(aws: Aws, _: Mapping[str, Any]) -> Answer:
    return {
        "id": aws.region,
        "name": aws.region,
        "region": aws.region,
        "description": aws.region,
        "endpoint": f"ec2.{aws.region}.amazonaws.com",
    }


def _partition(aws: Aws, _: Mapping[str, Any]) -> Answer:
    return {
        "id": aws.partition,
        "partition": aws.partition,
        "dnsSuffix": "amazonaws.com",
        "reverseDnsPrefix": "com.amazonaws",
    }


_INVOKES: Final[dict[str, tuple[Callable[[Aws, Mapping[str, Any]], Answer], tuple[str, ...]]]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": (_caller_identity, ()),
    "aws:index/getAvailabilityZones:getAvailabilityZones": (_zones, ("state",)),
    "aws:index/getRegion:getRegion": (_region, ()),
    "aws:index/getPartition:getPartition": (_partition, ()),
}
