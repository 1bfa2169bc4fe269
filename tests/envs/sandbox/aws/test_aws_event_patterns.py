"""Event patterns and schedule expressions: the user guide's examples, and what is refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.sandbox.aws.event_patterns import PatternError, matches, parse
from envs.sandbox.aws.event_schedules import Cron, Rate, ScheduleError, UnknownScheduleError
from envs.sandbox.aws.event_schedules import parse as schedule

EVENT: dict[str, Any] = {
    "source": "aws.ec2",
    "resources": ["arn:one", "arn:two"],
    "detail": {
        "state": "running",
        "count": 5,
        "on": True,
        "none": None,
        "empty": "",
        "address": "10.0.0.7",
        "file": "dir/image.png",
        "tags": [{"k": "a", "v": 1}, {"k": "b", "v": 2}],
        "deep": {"er": ["x"]},
    },
}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"source": ["aws.s3", "aws.ec2"]}, True),
        ({"source": ["aws.EC2"]}, False),
        ({"resources": ["arn:two"]}, True),
        ({"resources": ["arn:three"]}, False),
        ({"detail": {"state": ["running"], "count": [5]}}, True),
        ({"detail": {"state": ["running"], "count": [6]}}, False),
        ({"detail": {"on": [1]}}, False),
        ({"detail": {"count": [5.0]}}, False),
        ({"detail": {"none": [None], "empty": [""]}}, True),
        ({"detail": {"missing": [None]}}, False),
        ({"detail": {"deep": {"er": ["x"]}}}, True),
        ({"detail": {"deep.er": ["x"]}}, False),
        ({"detail": {"state": {"er": ["x"]}}}, False),
        ({"detail": {"tags": {"k": ["a"], "v": [1]}}}, True),
        ({"detail": {"tags": {"k": ["a"], "v": [2]}}}, False),
        ({"detail": {"state": [{"prefix": "run"}]}}, True),
        ({"detail": {"state": [{"prefix": {"equals-ignore-case": "RUN"}}]}}, True),
        ({"detail": {"count": [{"prefix": "5"}]}}, False),
        ({"detail": {"file": [{"suffix": ".png"}]}}, True),
        ({"detail": {"file": [{"wildcard": "dir/*.png"}]}}, True),
        ({"detail": {"file": [{"wildcard": "dir/*.jpg"}]}}, False),
        ({"detail": {"file": [{"wildcard": "dir\\*png"}]}}, False),
        ({"detail": {"state": [{"equals-ignore-case": "RUNNING"}]}}, True),
        ({"detail": {"state": [{"anything-but": "stopped"}]}}, True),
        ({"detail": {"state": [{"anything-but": ["stopped", "running"]}]}}, False),
        ({"detail": {"state": [{"anything-but": {"prefix": "run"}}]}}, False),
        ({"detail": {"state": [{"anything-but": {"suffix": ["x", "y"]}}]}}, True),
        ({"detail": {"missing": [{"anything-but": "x"}]}}, False),
        ({"detail": {"count": [{"numeric": [">", 0, "<=", 5]}]}}, True),
        ({"detail": {"count": [{"numeric": ["<", 5]}]}}, False),
        ({"detail": {"on": [{"numeric": [">", 0]}]}}, False),
        ({"detail": {"address": [{"cidr": "10.0.0.0/24"}]}}, True),
        ({"detail": {"state": [{"cidr": "10.0.0.0/24"}]}}, False),
        ({"detail": {"state": [{"exists": True}]}}, True),
        ({"detail": {"deep": [{"exists": True}]}}, False),
        ({"detail": {"missing": [{"exists": False}]}}, True),
        ({"detail": {"gone": {"missing": [{"exists": False}]}}}, True),
        ({"detail": {"state": [{"exists": False}]}}, False),
        ({"$or": [{"source": ["x"]}, {"detail": {"count": [5]}}]}, True),
        ({"detail": {"$or": [{"count": [1]}, {"state": ["stopped"]}]}}, False),
    ],
)
def test_a_pattern_picks_events(pattern: dict[str, Any], expected: bool) -> None:
    assert matches(parse(json.dumps(pattern)), EVENT) is expected


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("no json", "not valid JSON"),
        ("[]", "not an object"),
        ("{}", "Empty objects"),
        ('{"a": "b"}', "must be an object or an array"),
        ('{"a": []}', "Empty arrays"),
        ('{"a": [["b"]]}', "must not hold an array"),
        ('{"a": [{"like": "b"}]}', "Unrecognized match type like"),
        ('{"a": [{"prefix": "b", "suffix": "c"}]}', "Only one key"),
        ('{"a": [{"prefix": 1}]}', "must be a string"),
        ('{"a": [{"exists": "yes"}]}', "either true or false"),
        ('{"a": [{"numeric": ["~", 1]}]}', "Unrecognized numeric range operator"),
        ('{"a": [{"numeric": [">"]}]}', "one or two comparisons"),
        ('{"a": [{"numeric": [">", 6e9]}]}', "up to 5e9"),
        ('{"a": [{"cidr": "nowhere"}]}', "Malformed CIDR"),
        ('{"a": [{"anything-but": []}]}', "must be a string, a number or a list"),
        ('{"a": [{"anything-but": {"exists": true}}]}', "Unsupported anything-but"),
        ('{"a": [{"anything-but": {"prefix": []}}]}', "must not be empty"),
        ('{"$or": [{"a": ["b"]}]}', "at least 2"),
    ],
)
def test_what_is_no_pattern(pattern: str, said: str) -> None:
    with pytest.raises(PatternError, match=said):
        parse(pattern)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(event=st.dictionaries(st.sampled_from("abc"), _VALUES), value=st.text(max_size=3), other=_VALUES)
def test_exists_and_anything_but_are_what_they_deny(event: dict[str, Any], value: str, other: Any) -> None:
    has = matches({"a": [{"exists": True}]}, event)
    assert has is not matches({"a": [{"exists": False}]}, event)
    for wanted in (value, 1):
        alone = {"a": wanted, "b": other}
        assert matches({"a": [wanted]}, alone)
        assert not matches({"a": [{"anything-but": wanted}]}, alone)


@pytest.mark.parametrize(
    ("expression", "seconds"), [("rate(1 minute)", 60), ("rate(5 minutes)", 300), ("rate(2 days)", 172800)]
)
def test_rates(expression: str, seconds: int) -> None:
    assert schedule(expression) == Rate(seconds)


@pytest.mark.parametrize(
    ("expression", "times"),
    [
        ("cron(0 10 * * ? *)", ["2026-11-25T10:00"]),
        ("cron(15 12 ? * WED *)", ["2026-11-25T12:15"]),
        ("cron(0/20 8-9 ? * MON-FRI *)", [f"2026-11-25T0{h}:{m}" for h in (8, 9) for m in ("00", "20", "40")]),
        ("cron(30 3 25 NOV,DEC ? 2026)", ["2026-11-25T03:30"]),
        ("cron(0 0 1 * ? *)", []),
        ("cron(0 0 ? * 4 2027)", []),
    ],
)
def test_cron_fires_at_its_minutes_of_a_wednesday(expression: str, times: list[str]) -> None:
    cron = schedule(expression)
    assert isinstance(cron, Cron)
    day = datetime(2026, 11, 25, tzinfo=UTC)
    minutes = (day + timedelta(minutes=n) for n in range(24 * 60))
    assert [f"{each:%Y-%m-%dT%H:%M}" for each in minutes if cron.fires(each)] == times


@pytest.mark.parametrize(
    "expression",
    [
        *("rate(0 minutes)", "rate(1 minutes)", "rate(5 minute)", "rate(5 seconds)", "every day", "cron(0 10 * * ?)"),
        *("cron(0 10 * * * *)", "cron(0 10 ? * ? *)", "cron(60 10 * * ? *)", "cron(0 10 * FOO ? *)"),
        *("cron(5-1 10 * * ? *)", "cron(0/0 10 * * ? *)", "cron(? 10 * * ? *)", "cron( 10 * * ? *)"),
    ],
)
def test_what_is_no_schedule(expression: str) -> None:
    with pytest.raises(ScheduleError):
        schedule(expression)


@pytest.mark.parametrize("expression", ["cron(0 10 L * ? *)", "cron(0 10 3W * ? *)", "cron(0 10 ? * 6#3 *)"])
def test_what_only_aws_knows_is_refused_by_name(expression: str) -> None:
    with pytest.raises(UnknownScheduleError, match="as day of"):
        schedule(expression)
