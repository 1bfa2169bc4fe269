"""How a load alone is judged."""

from typing import Any

import pytest

from envs.errors import UsageError
from envs.load_request import checked
from envs.simulate import Request, conclude
from envs.simulator_hosts import Hosts


def report(**changes: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "messages": {"rejected": 0, "unknown": 0},
        "rate": {"target": 1000.0, "produced": 1000.0},
        "latency_ms": {"p99": 2.0, "max": 20.0},
        "start_spread_ms": 1.0,
        "problems": [],
        "complete": True,
    }
    return {**usual, **changes}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"latency_ms": None}, 0),
        ({"complete": False}, 1),
        ({"messages": {"rejected": 0, "unknown": 2}}, 1),
        ({"messages": {"rejected": 1, "unknown": 0}}, 1),
        ({"problems": ["a host left no report"]}, 1),
        ({"rate": {"target": 1000.0, "produced": 980.0}}, 3),
        ({"latency_ms": {"p99": 10.0, "max": 20.0}}, 3),
        ({"latency_ms": {"p99": 2.0, "max": 101.0}}, 3),
        ({"start_spread_ms": 4000.0}, 3),
    ],
)
def test_the_exit_code_says_whether_it_failed_or_missed_a_level(changes: dict[str, Any], code: int) -> None:
    judged = report(**changes)
    assert conclude(judged) == code
    assert judged["passed"] is (code == 0)
    assert bool(judged["problems"]) is (code == 1)


@pytest.mark.parametrize("wrong", [{"hosts": 0}, {"hosts": 51}, {"rate": 0.0}, {"seconds": -1.0}])
def test_an_option_that_cannot_be_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(wrong))}: "):
        checked(Request, **wrong)


class _NoSession:
    def client(self, _name: str) -> None:
        return None


def test_an_environment_without_hosts_says_how_to_get_some() -> None:
    with pytest.raises(UsageError, match=r"simulators: \{\}"):
        Hosts(_NoSession(), None, "run")


def test_more_hosts_than_the_group_takes_are_refused_before_anything_is_paid_for() -> None:
    hosts = Hosts(_NoSession(), {"group": "g", "bucket": "b", "prefix": "p/", "hosts_max": 2}, "run")
    hosts.check(2)
    with pytest.raises(UsageError, match="hosts_max is 2"):
        hosts.check(3)
