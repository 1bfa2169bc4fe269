"""The cost of a change: quantities from inputs, list prices from the data, and nothing guessed."""

from typing import Any
from urllib.parse import urlparse

import pytest

from envs import cost, plan

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
PRICES = cost.load()
HOURS = PRICES.hours_per_month


def usd(key: str) -> float:
    return PRICES.prices[key].usd


def change(type_: str, after: Any = None, before: Any = None, name: str = "it", **more: Any) -> plan.Change:
    operations = {"create"} if before is None else {"delete"} if after is None else {"update"}
    return plan.Change(
        f"urn:pulumi:dev::p::{type_}::{name}",
        type_,
        **{"operations": operations, "before": before, "after": after, **more},
    )


def estimated(*changes: plan.Change) -> cost.Estimate:
    return cost.estimate(changes, PRICES)


def cluster(size: str = "kafka.m7g.large", brokers: int = 3, disk: int = 100, iam: bool = True) -> dict[str, Any]:
    schemes = {"sasl": {"iam": iam, "scram": False}, "tls": False}
    return {
        "numberOfBrokerNodes": brokers,
        "brokerNodeGroupInfo": {
            "instanceType": size,
            "storageInfo": {"ebsStorageInfo": {"volumeSize": disk}},
            "connectivityInfo": {"vpcConnectivity": {"clientAuthentication": schemes}},
        },
    }


KAFKA = "aws:msk/cluster:Cluster"
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
GROUP = "aws:autoscaling/group:Group"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"


@pytest.mark.parametrize(
    ("type_", "inputs", "monthly"),
    [
        (
            KAFKA,
            cluster(),
            3 * usd("msk-broker kafka.m7g.large") * HOURS
            + 300 * usd("msk-storage")
            + usd("msk-private-connectivity") * HOURS,
        ),
        (KAFKA, cluster(iam=False), 3 * usd("msk-broker kafka.m7g.large") * HOURS + 300 * usd("msk-storage")),
        (
            ENDPOINT,
            {"vpcEndpointType": "Interface", "subnetIds": [UNKNOWN] * 3},
            3 * usd("vpc-endpoint in a zone") * HOURS,
        ),
        ("aws:ec2/natGateway:NatGateway", {"subnetId": UNKNOWN}, usd("nat-gateway") * HOURS),
        (
            "aws:lb/loadBalancer:LoadBalancer",
            {"loadBalancerType": "network", "internal": True, "subnets": [UNKNOWN] * 3},
            usd("load-balancer network") * HOURS,
        ),
        (
            "aws:lb/loadBalancer:LoadBalancer",
            {"subnets": [UNKNOWN] * 3},
            (usd("load-balancer application") + 3 * usd("public-ipv4")) * HOURS,
        ),
        (
            "aws:lb/loadBalancer:LoadBalancer",
            {"loadBalancerType": "network", "subnetMappings": [{"allocationId": "eip-1"}, {"subnetId": "s"}]},
            (usd("load-balancer network") + usd("public-ipv4")) * HOURS,
        ),
        ("aws:kms/key:Key", {}, usd("kms-key")),
        ("aws:ebs/volume:Volume", {"type": "gp3", "size": 50}, 50 * usd("ebs-gp3")),
        (
            "aws:ebs/volume:Volume",
            {"type": "gp3", "size": 50, "iops": 4000, "throughput": 225},
            50 * usd("ebs-gp3") + 1000 * usd("ebs-gp3 operations") + 100 * usd("ebs-gp3 throughput"),
        ),
        ("aws:cloudwatch/metricAlarm:MetricAlarm", {"metricName": "m", "period": 60}, usd("alarm")),
        (
            "aws:cloudwatch/metricAlarm:MetricAlarm",
            {"metricQueries": [{"expression": "a/b"}, {"metric": {"period": 300}}, {"metric": {"period": 300}}]},
            2 * usd("alarm"),
        ),
        ("aws:cloudwatch/dashboard:Dashboard", {}, usd("dashboard")),
    ],
)
def test_what_exists_is_paid_for(type_: str, inputs: dict[str, Any], monthly: float) -> None:
    found = estimated(change(type_, inputs))
    assert found.after == pytest.approx(monthly)
    assert found.before == 0
    assert found.not_priced == ()


def test_before_and_after_are_told_largest_change_first() -> None:
    small, large = cluster(), cluster("kafka.m7g.xlarge")
    found = estimated(
        change("aws:kms/key:Key", None, {}, name="gone"),
        change("aws:ec2/natGateway:NatGateway", {}, {}, name="kept", operations={"same"}),
        change(KAFKA, large, small, name="grown"),
    )
    assert [each.name for each in found.costs] == ["grown", "gone", "kept"]
    grown, gone, kept = found.costs
    more = usd("msk-broker kafka.m7g.xlarge") - usd("msk-broker kafka.m7g.large")
    assert grown.difference == pytest.approx(3 * HOURS * more)
    assert (gone.before, gone.after) == (1.0, None)
    assert kept.difference == 0
    assert found.after - found.before == pytest.approx(grown.difference - 1)


@pytest.mark.parametrize(
    ("type_", "inputs", "why"),
    [
        ("aws:rds/instance:Instance", {}, "no price in the data"),
        (KAFKA, cluster("kafka.m9x.large"), "no price of msk-broker kafka.m9x.large"),
        (
            ENDPOINT,
            {"vpcEndpointType": "Interface", "subnetIds": UNKNOWN},
            "subnetIds is not known before the update",
        ),
        (KAFKA, {"brokerNodeGroupInfo": UNKNOWN, "numberOfBrokerNodes": 3}, "is not known before the update"),
        ("aws:ebs/volume:Volume", {"size": 50}, "no price of gp2 volumes"),
        ("aws:cloudwatch/metricAlarm:MetricAlarm", {"period": 10}, "periods below a minute"),
        (GROUP, {"minSize": 1, "launchTemplate": {"id": UNKNOWN}}, "launch template is not known"),
    ],
)
def test_what_has_no_price_is_named_and_not_nothing(type_: str, inputs: dict[str, Any], why: str) -> None:
    found = estimated(change(type_, inputs))
    ((kind, reason, names),) = found.not_priced
    assert (kind, names) == (type_, ("it",))
    assert why in reason
    assert found.costs == ()


def test_what_is_free_is_neither_priced_nor_missed() -> None:
    found = estimated(
        change("aws:ec2/subnet:Subnet", {}), change(ENDPOINT, {"vpcEndpointType": "Gateway"}), change(GROUP, {})
    )
    assert (found.costs, found.usage, found.not_priced) == ((), (), ())


def test_usage_is_named_with_its_price_and_only_of_what_changes() -> None:
    bucket = "aws:s3/bucket:Bucket"
    found = estimated(
        change(bucket, {}, name="new"),
        change(bucket, {}, {}, name="old", operations={"same"}),
        change(bucket, None, {}, name="gone"),
        change("aws:lb/loadBalancer:LoadBalancer", {"loadBalancerType": "network"}, name="door"),
    )
    assert {(each.price, each.unit, each.resources) for each in found.usage} == {
        ("s3-standard", "GB-month", ("new",)),
        ("s3-writes", "1 000 writes", ("new",)),
        ("load-balancer network capacity", "NLCU-hour", ("door",)),
    }


def group(**more: Any) -> dict[str, Any]:
    return {"minSize": 2, "maxSize": 4, "launchTemplate": {"id": "lt-1"}, **more}


def template(size: str) -> dict[str, Any]:
    disk = {"ebs": {"volumeType": "gp3", "volumeSize": 100}}
    return {"instanceType": size, "blockDeviceMappings": [disk]}


def test_a_group_costs_its_machines_and_their_disks() -> None:
    machines = usd("ec2-windows m5.large") * HOURS + 100 * usd("ebs-gp3")
    known = change(TEMPLATE, template("m5.large"), id="lt-1")
    other = change(TEMPLATE, template("m5.xlarge"), id="lt-2")
    assert estimated(change(GROUP, group()), known, other).after == pytest.approx(2 * machines)
    assert estimated(change(GROUP, group(desiredCapacity=3)), known, other).after == pytest.approx(3 * machines)


def test_a_new_groups_template_is_the_one_beside_it() -> None:
    workers = change(GROUP, group(launchTemplate={"id": UNKNOWN}), parent="urn::workers")
    beside = change(TEMPLATE, template("m5.large"), parent="urn::workers")
    elsewhere = change(TEMPLATE, template("m5.xlarge"), parent="urn::seeds")
    found = estimated(workers, beside, elsewhere)
    assert found.after == pytest.approx(2 * (usd("ec2-windows m5.large") * HOURS + 100 * usd("ebs-gp3")))


def test_of_several_templates_it_is_the_one_of_the_same_name() -> None:
    templates = [
        change(TEMPLATE, template(size), parent="urn::fleet", name=name)
        for name, size in (("seed-0", "m5.large"), ("seed-1", "m5.xlarge"))
    ]
    seed = change(GROUP, group(launchTemplate={"id": UNKNOWN}, minSize=1), parent="urn::fleet", name="seed-1")
    assert estimated(seed, *templates).after == pytest.approx(
        usd("ec2-windows m5.xlarge") * HOURS + 100 * usd("ebs-gp3")
    )
    stray = change(GROUP, group(launchTemplate={"id": UNKNOWN}), parent="urn::fleet", name="workers")
    assert "is not known" in estimated(stray, *templates).not_priced[0][1]


def test_prices_that_nobody_verified_are_named_when_they_count() -> None:
    assert estimated(change("aws:kms/key:Key", {})).unverified == ()
    assert "msk-storage" in estimated(change(KAFKA, cluster())).unverified


def test_every_price_tells_where_it_is_from() -> None:
    for key, price in PRICES.prices.items():
        page = urlparse(price.source)
        assert (page.scheme, page.netloc) == ("https", "aws.amazon.com"), key
        assert "/pricing" in page.path, key
        assert price.note or not price.verified, f"{key}: what verified it?"


def test_every_meter_has_its_prices() -> None:
    inputs = ({"loadBalancerType": "network"}, {"vpcEndpointType": "Interface"}, {"protocol": "email"}, {})
    used = {key for uses in cost._BY_USE.values() for given in inputs for key in uses(given)}
    assert used <= set(PRICES.prices)
    assert not PRICES.free_types & {*cost._METERS, *cost._BY_USE}
