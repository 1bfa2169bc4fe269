"""Subnets from one range: inside it, apart from each other, and never renumbered."""

from ipaddress import IPv4Network
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from infra.network import zone_ranges

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
