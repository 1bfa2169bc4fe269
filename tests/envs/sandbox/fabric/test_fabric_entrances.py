"""The gateway answers where load balancers lead to it, and nowhere else."""

from typing import Any

import pytest

from envs.sandbox.fabric.entrances import Entrance, Entrances, deployed


class Server:
    """Remembers whether it answers."""

    def __init__(self) -> None:
        self.answers = False

    def start(self) -> None:
        self.answers = True

    def stop(self) -> None:
        self.answers = False


def test_exactly_the_wanted_entrances_are_open() -> None:
    made: dict[Entrance, Server] = {}
    entrances = Entrances(lambda entrance: made.setdefault(entrance, Server()))
    one, two = Entrance("127.64.0.1", 19080), Entrance("127.64.0.2", 19080)
    entrances.update([one])
    entrances.update([one, two])
    assert entrances.open == {one, two}
    assert [server.answers for server in made.values()] == [True, True]
    entrances.update([two])
    assert [made[one].answers, made[two].answers] == [False, True]
    entrances.close()
    assert not made[two].answers
    assert not entrances.open


class Balancers:
    """What Elastic Load Balancing tells of one balancer with a listener for clients and one for the gateway."""

    def __init__(self, health: str = "healthy") -> None:
        self._health = health

    def get_paginator(self, _operation: str) -> "Balancers":
        return self

    def paginate(self) -> "Balancers":
        return self

    def build_full_result(self) -> dict[str, Any]:
        return {"LoadBalancers": [{"LoadBalancerArn": "lb", "DNSName": "127.64.0.1"}]}

    def describe_listeners(self, LoadBalancerArn: str) -> dict[str, Any]:  # noqa: N803 (boto3's spelling)
        assert LoadBalancerArn == "lb"
        forwards = {19000: "clients", 443: "gateway"}
        return {
            "Listeners": [
                {"Port": port, "DefaultActions": [{"TargetGroupArn": group}]} for port, group in forwards.items()
            ]
        }

    def describe_target_groups(self, TargetGroupArns: list[str]) -> dict[str, Any]:  # noqa: N803
        return {"TargetGroups": [{"Port": {"clients": 19000, "gateway": 19080}[TargetGroupArns[0]]}]}

    def describe_target_health(self, TargetGroupArn: str) -> dict[str, Any]:  # noqa: N803
        return {"TargetHealthDescriptions": [{"Target": {"Id": "i-1"}, "TargetHealth": {"State": self._health}}]}


@pytest.mark.parametrize(
    ("health", "takes_part", "expected"),
    [
        ("healthy", True, {Entrance("127.64.0.1", 443)}),
        ("unhealthy", True, set()),
        ("healthy", False, set()),
    ],
)
def test_an_entrance_needs_a_listener_and_a_healthy_node_behind_it(
    health: str, takes_part: bool, expected: set[Entrance]
) -> None:
    assert deployed(Balancers(health), 19080, lambda _instance: takes_part) == expected
