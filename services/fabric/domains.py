"""Where nodes stand for the cluster: fault domains by zone, upgrade domains by turns, both as even as they can be.

Microsoft asks for at least five fault domains where a provider has fewer zones ("Plan and prepare your Service Fabric
Standalone cluster deployment"), so a zone has more than one. A fault domain is named ``fd:/<zone>/<n>``: the product
wants the same number of levels for all nodes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

UPGRADE_DOMAINS: Final = 5
WORKERS_A_ZONE: Final = 2
"""Fault domains that the workers of a zone stand in."""


def fault_domain(zone: str, number: int) -> str:
    """The name of a zone's fault domain."""
    return f"fd:/{zone}/{number}"


def upgrade_domain(number: int) -> str:
    """The name of an upgrade domain."""
    return f"UD{number}"


def of_seeds(zones: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Fault and upgrade domain of each seed, from the zone of each, in the order given.

    A seed's fault domain is its own. Upgrade domains go by turns: with an odd number of seeds, at most five of them,
    an upgrade never takes more than one or two at once.
    """
    seen: Counter[str] = Counter()
    found = {}
    for number, (node, zone) in enumerate(zones.items()):
        found[node] = (fault_domain(zone, seen[zone]), upgrade_domain(number % UPGRADE_DOMAINS))
        seen[zone] += 1
    return found


def of_worker(zone: str, taken: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Fault and upgrade domain of a worker that joins, from those (fault, upgrade) of the nodes that are there.

    The emptier of its zone's fault domains, and the emptiest of all upgrade domains; the first among equals.
    """
    taken = list(taken)
    faults = Counter(fault for fault, _ in taken)
    upgrades = Counter(upgrade for _, upgrade in taken)
    own = [fault_domain(zone, number) for number in range(WORKERS_A_ZONE)]
    every = [upgrade_domain(number) for number in range(UPGRADE_DOMAINS)]
    return min(own, key=lambda name: faults[name]), min(every, key=lambda name: upgrades[name])
