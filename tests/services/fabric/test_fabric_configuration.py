"""The compiled configuration, what may follow on one, and where nodes stand."""

import copy
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fabric import configuration as cluster_configuration
from services.fabric import domains, rules
from services.fabric.configuration import SEED, WORKER, Certificates, Seat, compiled
from services.fabric.errors import FabricServiceError

CERTIFICATES = Certificates(node="c-node", client="c-client", issuer="AB" * 20)
ZONES = ("eu-central-1a", "eu-central-1b", "eu-central-1c")


def seats(count: int, zones: tuple[str, ...] = ZONES) -> list[Seat]:
    return [Seat(f"seed-{n}", f"10.0.{n}.4", zones[n % len(zones)]) for n in range(count)]


def made(count: int = 5) -> dict[str, Any]:
    return compiled("fleet", seats(count), CERTIFICATES)


@pytest.mark.parametrize("count", [3, 5, 7, 9])
def test_the_compiled_configuration_keeps_every_rule(count: int) -> None:
    found = made(count)
    assert rules.check(found) == []
    assert list(rules.placeholders(found)) == []
    assert "reliabilityLevel" not in found["properties"]
    assert found["properties"]["fabricClusterAutoupgradeEnabled"] is False
    assert [(each["name"], each["isPrimary"]) for each in found["properties"]["nodeTypes"]] == [
        (SEED, True),
        (WORKER, False),
    ]
    assert {node["nodeTypeRef"] for node in found["nodes"]} == {SEED}
    assert cluster_configuration.addresses(found, SEED) == {seat.node: seat.address for seat in seats(count)}


def test_certificates_are_known_by_name_and_issuer() -> None:
    information = made()["properties"]["security"]["CertificateInformation"]
    pinned = {"CertificateCommonName": "c-node", "CertificateIssuerThumbprint": "AB" * 20}
    assert information["ClusterCertificateCommonNames"]["CommonNames"] == [pinned]
    assert information["ServerCertificateCommonNames"]["CommonNames"] == [pinned]
    assert information["ClientCertificateCommonNames"] == [
        {"CertificateCommonName": "c-client", "CertificateIssuerThumbprint": "AB" * 20, "IsAdmin": True}
    ]


def test_the_ports_are_those_that_the_security_group_lets_through() -> None:
    from infra.nodes import NODE_PORTS

    kind = made()["properties"]["nodeTypes"][0]
    ranges = [kind[name][end] for name in ("applicationPorts", "ephemeralPorts") for end in ("startPort", "endPort")]
    assert set(ranges) <= set(NODE_PORTS)
    ends = {19000: 19003, 19080: 19081}
    for name, port in kind.items():
        if name.endswith("EndpointPort"):
            assert any(first <= port <= last for first, last in ends.items()), name


def test_a_change_takes_the_next_version_and_leaves_the_current_one_alone() -> None:
    current = made()
    before = copy.deepcopy(current)
    new = cluster_configuration.with_setting(cluster_configuration.following(current), "Security", "Level", "Sign")
    assert (new["clusterConfigurationVersion"], current) == ("1.0.1", before)
    assert rules.check(new) == rules.check_update(current, new) == []
    again = cluster_configuration.with_setting(new, "security", "level", "None")
    assert again["properties"]["fabricSettings"][-1]["parameters"] == [{"name": "Level", "value": "None"}]


def test_nodes_come_and_go_as_an_upgrade_wants_it() -> None:
    start = made()
    worker = cluster_configuration.node("worker-1", "10.0.9.9", WORKER, *domains.of_worker(ZONES[0], ()))
    grown = cluster_configuration.with_nodes(start, [worker])
    assert rules.check(grown) == rules.check_update(start, grown) == []
    shrunk = cluster_configuration.without(grown, ["worker-1"])
    assert rules.check(shrunk) == rules.check_update(grown, shrunk) == []
    # What the last upgrade took out is no longer named in the next one.
    after = cluster_configuration.following(shrunk)
    assert rules.check_update(shrunk, after) == []


def test_a_configuration_as_the_cluster_writes_it_is_changed_in_its_own_spelling() -> None:
    def shouted(value: Any) -> Any:
        if isinstance(value, dict):
            return {key[0].upper() + key[1:]: shouted(item) for key, item in value.items()}
        return [shouted(item) for item in value] if isinstance(value, list) else value

    current = shouted(made())
    new = cluster_configuration.with_code_version(
        cluster_configuration.without(current, ["seed-4"]), "10.1.2493.9590"
    )
    assert rules.check(new) == rules.check_update(current, new) == []
    assert new.keys() == current.keys()
    assert "seed-4" not in cluster_configuration.addresses(new)


def test_a_version_that_does_not_count_is_refused() -> None:
    with pytest.raises(FabricServiceError, match="ends in no number"):
        cluster_configuration.following({**made(), "clusterConfigurationVersion": "first"})


@given(st.lists(st.sampled_from("abcdef"), min_size=3, max_size=6, unique=True), st.sampled_from([3, 5, 7, 9]))
def test_seeds_stand_apart_and_evenly(zones: list[str], count: int) -> None:
    found = domains.of_seeds({f"seed-{n}": zones[n % len(zones)] for n in range(count)})
    faults, upgrades = ([place[at] for place in found.values()] for at in (0, 1))
    assert len(set(faults)) == count, "no two seeds in one fault domain"
    assert len(set(upgrades)) == min(count, domains.UPGRADE_DOMAINS)
    counts = Counter(upgrades).values()
    assert max(counts) - min(counts) <= 1
    assert {fault.count("/") for fault in faults} == {2}


@given(st.lists(st.sampled_from(ZONES), max_size=40))
def test_workers_spread_as_they_join(joining: list[str]) -> None:
    taken = list(domains.of_seeds({seat.node: seat.zone for seat in seats(5)}).values())
    for zone in joining:
        place = domains.of_worker(zone, taken)
        assert place[0].startswith(f"fd:/{zone}/")
        taken.append(place)
    upgrades = Counter(upgrade for _, upgrade in taken).values()
    assert max(upgrades) - min(upgrades) <= 1
    for zone in ZONES:
        own = [sum(fault == domains.fault_domain(zone, n) for fault, _ in taken) for n in range(2)]
        if zone in joining:
            assert max(own) - min(own) <= 1


def test_five_seeds_over_three_zones_have_five_fault_domains() -> None:
    found = domains.of_seeds({seat.node: seat.zone for seat in seats(5)})
    assert [fault for fault, _ in found.values()] == [
        "fd:/eu-central-1a/0",
        "fd:/eu-central-1b/0",
        "fd:/eu-central-1c/0",
        "fd:/eu-central-1a/1",
        "fd:/eu-central-1b/1",
    ]
