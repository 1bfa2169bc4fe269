"""A run's verdict: what decides it, and which exit code belongs to it."""

from datetime import UTC, datetime

import pytest

from envs.summary import Check, Latency, Messages, Rate, Summary, tables


def summary(**parts: object) -> Summary:
    good: dict[str, object] = {
        "environment": "sandbox",
        "seed": 1,
        "started": datetime.now(UTC),
        "messages": Messages(attempted=10, acked=10, consumed=10, archived=10, dead_lettered=0, duplicates=0, lost=0),
        "rate": Rate(target=5000, produced=5000, consumed=5000),
        "latency_ms": Latency(
            p50=0.4, p99=2, p99_6=3, p99_9=4, max=9, share_le_1ms=0.9, share_le_10ms=1, share_le_100ms=1
        ),
    }
    return Summary.model_validate(good | parts)


def test_a_run_that_meets_everything_passes() -> None:
    judged = summary()
    assert judged.conclude() == 0
    assert judged.passed
    assert [level.passed for level in judged.slo] == [True, True, True, True]


def slow(**values: float) -> Latency:
    base = {"p50": 1, "p99": 2, "p99_6": 3, "p99_9": 4, "max": 9, "share_le_1ms": 0, "share_le_10ms": 0}
    return Latency.model_validate({**base, "share_le_100ms": 0, **values})


@pytest.mark.parametrize(
    ("parts", "missed"),
    [
        ({"rate": Rate(target=5000, produced=5000, consumed=4999)}, "messages a second"),
        ({"latency_ms": slow(p99=10)}, "latency p99, ms"),
        ({"latency_ms": slow(max=100.001)}, "latency of the slowest message, ms"),
        ({"messages": Messages(attempted=10, acked=10, lost=1)}, "messages lost"),
    ],
)
def test_a_missed_service_level_is_exit_code_3(parts: dict[str, object], missed: str) -> None:
    judged = summary(**parts)
    assert judged.conclude() == 3
    assert not judged.passed
    assert [level.name for level in judged.slo if not level.passed] == [missed]


def test_counts_that_disagree_are_exit_code_1_even_when_fast() -> None:
    judged = summary(checks=[Check(name="rows that Spark read", expected=10, found=9)])
    assert judged.conclude() == 1
    assert judged.problems == ["rows that Spark read: 10 expected, 9 found"]


def test_what_was_not_measured_has_not_passed() -> None:
    judged = summary(latency_ms=None, rate=Rate(target=5000), messages=Messages())
    assert judged.conclude() == 3
    assert not any(level.passed for level in judged.slo)
    assert len(tables(judged)) == 2
