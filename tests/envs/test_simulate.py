"""How a load alone is judged."""

from pathlib import Path
from typing import Any

import pytest

from envs.errors import UsageError
from envs.load_request import checked
from envs.simulate import Request, conclude
from envs.simulator_hosts import Hosts
from services.simulator.source import GeneratedSource
from services.simulator.traffic import Traffic


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


def test_a_profile_takes_the_place_of_the_rate() -> None:
    pace = checked(Request, profile="ramp:100-300", seconds=10).pace()
    assert pace["seconds"] == 10
    assert pace["profile"].total == 2_000
    assert checked(Request, rate=7).pace() == {"rate": 7, "speed": 1.0, "seconds": 30}
    assert checked(Request, speed=2).pace() == {"rate": None, "speed": 2, "seconds": 30}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"profile": "ramp:x"}, "--profile: .*ramp:FROM-TO"), ({"profile": "100", "speed": 2.0}, "--speed: ")],
)
def test_a_pace_that_cannot_be_is_named(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        checked(Request, **wrong).pace()


def test_a_size_is_for_generated_messages(tmp_path: Path) -> None:
    source = checked(Request, size=250).source()
    assert isinstance(source, GeneratedSource)
    assert source.size == 250
    recording = tmp_path / "drive1.csv"
    recording.write_text("ENGINE_RPM ()\n800\n810\n")
    with pytest.raises(UsageError, match="--size: "):
        checked(Request, size=250, replay=(recording,)).source()


def test_who_sends_is_passed_on() -> None:
    traffic = checked(Request, order="random", skew=1.2, late=0.1, seed=7).traffic()
    assert traffic == Traffic(order="random", skew=1.2, late=0.1, seed=7)


@pytest.mark.parametrize("wrong", [{"skew": 1.0}, {"churn": 0.1, "order": "in-step"}])
def test_what_an_order_would_pass_over_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--order random"):
        checked(Request, **wrong).traffic()


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
