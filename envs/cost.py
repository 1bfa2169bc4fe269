"""What a change costs a month: list prices as data (`prices.yaml`), quantities from the inputs of each resource.

Only what is paid for because it exists is added up. What is paid for by use is named with its unit price, since no
program says how much there will be of it; what has no price in the data is named, too, and never counts as nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field

from envs.plan import Change, Inputs

_FILE: Final = Path(__file__).with_name("prices.yaml")
_ENGINES_UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What the engine writes for a value that only the update will tell (`sdk/go/common/resource/plugin/rpc.go`)."""
_BASE_IOPS: Final = 3000
_BASE_THROUGHPUT: Final = 125
"""What every gp3 volume has at no extra charge (Amazon EBS User Guide, "General Purpose SSD volumes")."""


class Price(BaseModel):
    """The list price of one unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd: float = Field(gt=0)
    unit: str
    source: str
    checked: date
    verified: bool
    note: str = ""


class _Free(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    types: tuple[str, ...]


class Prices(BaseModel):
    """The list prices of one region, and the types that cost nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: str
    currency: str
    hours_per_month: float
    prices: Mapping[str, Price]
    free: tuple[_Free, ...]

    @property
    def free_types(self) -> frozenset[str]:
        """The types that cost nothing."""
        return frozenset(name for each in self.free for name in each.types)

    def monthly(self, key: str) -> float:
        """What one unit costs in a month. Raises `NotPricedError` for a key that has no price."""
        if key not in self.prices:
            raise NotPricedError(f"no price of {key}")
        price = self.prices[key]
        return price.usd * (self.hours_per_month if price.unit == "hour" else 1)


class NotPricedError(Exception):
    """Why a resource's cost cannot be told."""


@dataclass(frozen=True)
class Cost:
    """What one resource costs a month before and after; None: it is not there then."""

    name: str
    type: str
    before: float | None
    after: float | None

    @property
    def difference(self) -> float:
        """What it costs more."""
        return (self.after or 0.0) - (self.before or 0.0)


@dataclass(frozen=True)
class Usage:
    """Something that is paid for by use."""

    price: str
    usd: float
    unit: str
    resources: tuple[str, ...]


@dataclass(frozen=True)
class Estimate:
    """The monthly cost of a stack before and after a change."""

    region: str
    checked: date
    costs: tuple[Cost, ...]
    """Every resource that costs something, the largest change first, then the largest cost."""
    usage: tuple[Usage, ...]
    not_priced: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Type, why, and the resources of it."""
    unverified: tuple[str, ...]
    """The prices in the sums that were not seen on their page."""

    @property
    def before(self) -> float:
        """The sum as it is."""
        return sum(cost.before or 0.0 for cost in self.costs)

    @property
    def after(self) -> float:
        """The sum as it will be."""
        return sum(cost.after or 0.0 for cost in self.costs)


def load() -> Prices:
    """The tracked list prices."""
    return Prices.model_validate(yaml.safe_load(_FILE.read_text()))


def estimate(changes: Sequence[Change], prices: Prices) -> Estimate:
    """What a change costs: the fixed part of each resource, and what else is paid for by use."""
    costs: list[Cost] = []
    used: dict[str, list[str]] = defaultdict(list)
    missing: dict[tuple[str, str], list[str]] = defaultdict(list)
    keys: set[str] = set()
    for change in changes:
        if change.type in prices.free_types:
            continue
        meter = _METERS.get(change.type)
        if meter is None and change.type not in _BY_USE:
            missing[change.type, "no price in the data"].append(change.name)
            continue
        if change.type in _BY_USE and change.after is not None and not change.same:
            for key in _BY_USE[change.type](change.after):
                used[key].append(change.name)
        if meter is None:
            continue
        try:
            sums = [
                None if inputs is None else _sum(meter(inputs, change, changes, when), prices, keys)
                for when, inputs in (("before", change.before), ("after", change.after))
            ]
        except NotPricedError as error:
            missing[change.type, str(error)].append(change.name)
            continue
        if any(sums):
            costs.append(Cost(change.name, change.type, *sums))
    return Estimate(
        region=prices.region,
        checked=min(price.checked for price in prices.prices.values()),
        costs=tuple(
            sorted(costs, key=lambda cost: (-abs(cost.difference), -(cost.after or cost.before or 0), cost.name))
        ),
        usage=tuple(
            Usage(key, prices.prices[key].usd, prices.prices[key].unit, tuple(names))
            for key, names in sorted(used.items())
        ),
        not_priced=tuple((kind, why, tuple(names)) for (kind, why), names in sorted(missing.items())),
        unverified=tuple(sorted(key for key in keys if not prices.prices[key].verified)),
    )


Item = tuple[str, float]
"""A price's key and how many of its units there are."""
Meter = Callable[[Inputs, Change, Sequence[Change], str], Iterator[Item]]


def _sum(items: Iterable[Item], prices: Prices, keys: set[str]) -> float:
    total = 0.0
    found = list(items)
    for key, quantity in found:
        total += prices.monthly(key) * quantity
    keys.update(key for key, quantity in found if quantity)
    return total


def _known(inputs: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path. Raises `NotPricedError` when only the update will tell it."""
    value = inputs
    for key in path.split("."):
        if value == _ENGINES_UNKNOWN:
            break
        value = value.get(key) if isinstance(value, Mapping) else None
    if value == _ENGINES_UNKNOWN:
        raise NotPricedError(f"{path} is not known before the update")
    return default if value is None else value


def _number(inputs: Any, path: str, default: float) -> float:
    return float(_known(inputs, path, default))


def _each(key: str) -> Meter:
    """One unit for every resource of the type."""

    def meter(_: Inputs, __: Change, ___: Sequence[Change], ____: str) -> Iterator[Item]:
        yield key, 1

    return meter


def _cluster(inputs: Inputs, _: Change, __: Sequence[Change], ___: str) -> Iterator[Item]:
    """Brokers, their disks, and the way in from other VPCs, paid for by the hour and authentication scheme."""
    brokers = _number(inputs, "numberOfBrokerNodes", 0)
    node = "brokerNodeGroupInfo"
    yield f"msk-broker {_known(inputs, f'{node}.instanceType')}", brokers
    yield "msk-storage", brokers * _number(inputs, f"{node}.storageInfo.ebsStorageInfo.volumeSize", 0)
    schemes = f"{node}.connectivityInfo.vpcConnectivity.clientAuthentication"
    ways = ("sasl.iam", "sasl.scram", "tls")
    yield "msk-private-connectivity", sum(_known(inputs, f"{schemes}.{way}") is True for way in ways)


def _endpoint(inputs: Inputs, _: Change, __: Sequence[Change], ___: str) -> Iterator[Item]:
    """Interface endpoints cost in each zone; those for S3 and DynamoDB (Gateway) cost nothing."""
    if _known(inputs, "vpcEndpointType", "Gateway") == "Interface":
        yield "vpc-endpoint in a zone", len(_known(inputs, "subnetIds", []))


def _load_balancer(inputs: Inputs, _: Change, __: Sequence[Change], ___: str) -> Iterator[Item]:
    """The load balancer, and the public addresses that it takes by itself: one in each zone."""
    yield f"load-balancer {_known(inputs, 'loadBalancerType', 'application')}", 1
    if _known(inputs, "internal") is not True:
        mappings = _known(inputs, "subnetMappings", [])
        own = [mapping for mapping in mappings if not mapping.get("allocationId")]
        yield "public-ipv4", len(own) if mappings else len(_known(inputs, "subnets", []))


def _volume(inputs: Inputs, _: Change, __: Sequence[Change], ___: str) -> Iterator[Item]:
    yield from _disk(inputs, "type", "size")


def _disk(inputs: Any, kind: str, size: str) -> Iterator[Item]:
    # gp2 is what EC2 makes when nobody chose (Amazon EBS User Guide, "Amazon EBS volume types").
    chosen = _known(inputs, kind, "gp2")
    if chosen != "gp3":
        raise NotPricedError(f"no price of {chosen} volumes")
    yield "ebs-gp3", _number(inputs, size, 0)
    yield "ebs-gp3 operations", max(0.0, _number(inputs, "iops", _BASE_IOPS) - _BASE_IOPS)
    yield "ebs-gp3 throughput", max(0.0, _number(inputs, "throughput", _BASE_THROUGHPUT) - _BASE_THROUGHPUT)


def _instance(inputs: Inputs, _: Change, __: Sequence[Change], ___: str) -> Iterator[Item]:
    yield f"ec2-windows {_known(inputs, 'instanceType')}", 1


def _group(inputs: Inputs, change: Change, changes: Sequence[Change], when: str) -> Iterator[Item]:
    """As many machines as are desired, else the minimum, of the launch template's size and with its disks."""
    count = _number(inputs, "desiredCapacity", _number(inputs, "minSize", 0))
    if not count:
        return
    template = _template(inputs, change, changes, when)
    yield f"ec2-windows {_known(template, 'instanceType')}", count
    for mapping in _known(template, "blockDeviceMappings", []):
        for key, quantity in _disk(_known(mapping, "ebs", {}), "volumeType", "volumeSize"):
            yield key, quantity * count


def _template(inputs: Inputs, change: Change, changes: Sequence[Change], when: str) -> Inputs:
    """The group's launch template: by its id; while that is not known, the one of the same component and name, or the
    only one of that component.
    """
    named = (inputs.get("launchTemplate") or {}).get("id")
    kind = "aws:ec2/launchTemplate:LaunchTemplate"
    templates = [each for each in changes if each.type == kind and getattr(each, when) is not None]
    found = [each for each in templates if each.id and each.id == named]
    beside = [each for each in templates if change.parent and each.parent == change.parent]
    found = found or [each for each in beside if each.name == change.name] or beside
    if len(found) != 1:
        raise NotPricedError("its launch template is not known before the update")
    return getattr(found[0], when)


def _alarm(inputs: Inputs, _: Change, __: Sequence[Change], ___: str) -> Iterator[Item]:
    """Every metric that an alarm looks at is paid for; above one a minute another price holds."""
    queries = _known(inputs, "metricQueries", [])
    looked_at = [query["metric"] for query in queries if query.get("metric")] or [inputs]
    if any(_number(each, "period", 300) < 60 for each in looked_at):
        raise NotPricedError("no price of alarms with periods below a minute")
    yield "alarm", len(looked_at)


def _file_server(inputs: Inputs, _: Change, __: Sequence[Change], ___: str) -> Iterator[Item]:
    # Prices differ by the number of zones and the kind of disk.
    if (_known(inputs, "deploymentType"), _known(inputs, "storageType", "SSD")) != ("MULTI_AZ_1", "SSD"):
        raise NotPricedError("only SSD in two zones has a price")
    yield "fsx-windows storage", _number(inputs, "storageCapacity", 0)
    yield "fsx-windows throughput", _number(inputs, "throughputCapacity", 0)


_METERS: Final[Mapping[str, Meter]] = {
    "aws:autoscaling/group:Group": _group,
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": _each("alarm-composite"),
    "aws:cloudwatch/dashboard:Dashboard": _each("dashboard"),
    "aws:cloudwatch/metricAlarm:MetricAlarm": _alarm,
    "aws:ebs/volume:Volume": _volume,
    "aws:ec2/eip:Eip": _each("public-ipv4"),
    "aws:ec2/instance:Instance": _instance,
    "aws:ec2/natGateway:NatGateway": _each("nat-gateway"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": _endpoint,
    "aws:fsx/windowsFileSystem:WindowsFileSystem": _file_server,
    "aws:kms/key:Key": _each("kms-key"),
    "aws:lb/loadBalancer:LoadBalancer": _load_balancer,
    "aws:msk/cluster:Cluster": _cluster,
    "aws:secretsmanager/secret:Secret": _each("secret"),
}


def _always(*keys: str) -> Callable[[Inputs], tuple[str, ...]]:
    """The same prices for every resource of a type."""
    return lambda _: keys


def _endpoint_use(inputs: Inputs) -> tuple[str, ...]:
    return ("vpc-endpoint data",) if inputs.get("vpcEndpointType") == "Interface" else ()


def _subscription_use(inputs: Inputs) -> tuple[str, ...]:
    # Other protocols have other prices; functions and queues cost what they cost themselves.
    return ("sns-emails",) if inputs.get("protocol") in ("email", "email-json") else ()


def _load_balancer_use(inputs: Inputs) -> tuple[str, ...]:
    kind = inputs.get("loadBalancerType") or "application"
    return (f"load-balancer {kind} capacity",) if kind in ("application", "network") else ()


_BY_USE: Final[Mapping[str, Callable[[Inputs], tuple[str, ...]]]] = {
    "aws:cloudwatch/logGroup:LogGroup": _always("logs data", "logs storage"),
    "aws:dlm/lifecyclePolicy:LifecyclePolicy": _always("ebs-snapshot"),
    "aws:ec2/flowLog:FlowLog": _always("logs data"),
    "aws:ec2/natGateway:NatGateway": _always("nat-gateway data"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": _endpoint_use,
    "aws:efs/fileSystem:FileSystem": _always("efs-standard"),
    "aws:kms/key:Key": _always("kms-requests"),
    "aws:lambda/function:Function": _always("lambda-duration", "lambda-requests"),
    "aws:lb/loadBalancer:LoadBalancer": _load_balancer_use,
    "aws:msk/cluster:Cluster": _always("msk-private-connectivity data"),
    "aws:s3/bucket:Bucket": _always("s3-standard", "s3-writes"),
    "aws:s3/bucketObjectv2:BucketObjectv2": _always("s3-standard"),
    "aws:sns/topic:Topic": _always("sns-requests"),
    "aws:sns/topicSubscription:TopicSubscription": _subscription_use,
    "aws:sqs/queue:Queue": _always("sqs-requests"),
}
