"""Subnets from one range, inside it, apart from each other and never renumbered; and the ways out of them."""

from ipaddress import IPv4Network
from itertools import combinations

import pytest
from declared import ACCOUNT, Declaration, run_mocked
from hypothesis import given
from hypothesis import strategies as st

from infra.network import Network, NetworkArgs, zone_ranges
from infra.sections import Nat

RANGES = st.builds(
    lambda prefix, start: str(IPv4Network((start << 16, prefix), strict=False)),
    st.integers(16, 22),
    st.integers(10 << 8, (10 << 8) + 255),
)


@given(RANGES, st.integers(3, 6))
def test_subnets_are_inside_and_apart(cidr: str, zones: int) -> None:
    subnets = [IPv4Network(part) for zone in zone_ranges(cidr, zones) for part in (zone.private, zone.public)]
    assert len(subnets) == 2 * zones
    assert all(subnet.subnet_of(IPv4Network(cidr)) for subnet in subnets)
    assert not any(one.overlaps(other) for one, other in combinations(subnets, 2))


@given(RANGES, st.integers(3, 5))
def test_another_zone_renumbers_nothing(cidr: str, zones: int) -> None:
    assert zone_ranges(cidr, zones + 1)[:zones] == zone_ranges(cidr, zones)


def test_even_the_smallest_network_has_room() -> None:
    (zone, *_) = zone_ranges("10.0.0.0/22", 3)
    assert IPv4Network(zone.private).num_addresses == 64
    assert IPv4Network(zone.public).num_addresses == 32


def network(nat: Nat, zones: str = "abc") -> Declaration:
    def declare() -> None:
        Network(
            "network",
            NetworkArgs(
                region="eu-central-1",
                account=ACCOUNT,
                cidr="10.0.0.0/16",
                zones=[f"eu-central-1{zone}" for zone in zones],
                nat=nat,
                interface_endpoints=("kafka", "sts"),
                log_retention_days=1,
            ),
        )

    return Declaration(run_mocked(declare).declared, {})


def test_without_nat_private_subnets_have_no_way_to_the_internet() -> None:
    found = network("none")
    assert [route.name for route in found.all("Route")] == ["network-public-internet"]
    assert found.all("NatGateway") == found.all("Eip") == []


@pytest.mark.parametrize(("nat", "gateways"), [("one", "a"), ("per_zone", "abcde")])
def test_every_private_subnet_has_its_way_out(nat: Nat, gateways: str) -> None:
    found = network(nat, "abcde")
    assert [each.name for each in found.all("NatGateway")] == [f"network-nat-eu-central-1{zone}" for zone in gateways]
    routes = [each for each in found.all("Route") if each.properties.get("natGatewayId")]
    assert len(routes) == 5
    for route in routes:
        zone = route.name[len("network-private-eu-central-1")]
        through = zone if zone in gateways else "a"
        assert route.properties["natGatewayId"] == f"network-nat-eu-central-1{through}-id"


def test_another_way_out_keeps_the_first_zones_gateway_and_its_address() -> None:
    one, each = network("one"), network("per_zone")
    assert {found.name for found in one.all("Eip")} < {found.name for found in each.all("Eip")}
    assert {found.name for found in one.all("NatGateway")} < {found.name for found in each.all("NatGateway")}
