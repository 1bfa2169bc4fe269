"""The load balancers' side of the gateway: it answers where a deployed listener forwards to healthy seeds.

A load balancer of the emulated AWS has a loopback address of its own (`Host.loopback_address`). The gateway listens
there, at the listener's port, as long as the listener exists and a registered target is healthy and takes part in the
cluster; otherwise nobody answers, as nobody does behind a balancer without healthy targets (Network Load Balancers
guide, "Health checks").
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol


class Server(Protocol):
    """Something that answers at one address until it is stopped."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Entrance(NamedTuple):
    """Where a load balancer is reached."""

    address: str
    port: int


class Entrances:
    """The servers at all entrances; `serve` makes one for an entrance."""

    def __init__(self, serve: Callable[[Entrance], Server]) -> None:
        self._serve = serve
        self._open: dict[Entrance, Server] = {}

    @property
    def open(self) -> frozenset[Entrance]:
        """Where somebody answers now."""
        return frozenset(self._open)

    def update(self, wanted: Iterable[Entrance]) -> None:
        """Opens and closes until exactly these are open."""
        wanted = set(wanted)
        for gone in self._open.keys() - wanted:
            self._open.pop(gone).stop()
        for entrance in sorted(wanted - self._open.keys()):
            server = self._serve(entrance)
            server.start()
            self._open[entrance] = server

    def close(self) -> None:
        """Closes all."""
        self.update(())


def deployed(elbv2: Any, port: int, takes_part: Callable[[str], bool]) -> set[Entrance]:
    """The entrances at which this port of the nodes is reached.

    `takes_part(instance id)` tells whether the node on an instance answers.
    """
    found = set()
    for balancer in elbv2.get_paginator("describe_load_balancers").paginate().build_full_result()["LoadBalancers"]:
        listeners = elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        for listener in listeners:
            groups = [action["TargetGroupArn"] for action in listener["DefaultActions"] if "TargetGroupArn" in action]
            if any(_reaches(elbv2, group, port, takes_part) for group in groups):
                found.add(Entrance(balancer["DNSName"], listener["Port"]))
    return found


def _reaches(elbv2: Any, group: str, port: int, takes_part: Callable[[str], bool]) -> bool:
    (described,) = elbv2.describe_target_groups(TargetGroupArns=[group])["TargetGroups"]
    if described["Port"] != port:
        return False
    health = elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    return any(each["TargetHealth"]["State"] == "healthy" and takes_part(each["Target"]["Id"]) for each in health)
