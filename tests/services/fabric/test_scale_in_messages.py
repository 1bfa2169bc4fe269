"""What lies in the scale-in queue: the documented events, our own form, and what nobody should have sent."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.fabric.lifecycle import LAUNCHING, TERMINATING, Action, MalformedEventError, parse
from services.fabric.scale_in.messages import Needless, Sweep, continuation, read
from tests.services.fabric.samples import event, text


def test_a_terminate_event_names_the_machine_its_group_its_hook_and_the_time() -> None:
    assert read(text("autoscaling_terminate")) == Action("workers", "worker-terminate", "i-worker-0", 1795644607.0)


def test_a_launch_event_is_read_by_the_launch_functions() -> None:
    action = parse(event("autoscaling_launch"), LAUNCHING)
    assert (action.group, action.hook, action.instance) == ("seeds", "seed-launch", "i-0123456789abcdef0")


def test_the_schedule_asks_for_a_sweep() -> None:
    assert read(text("scheduled")) == Sweep()


@pytest.mark.parametrize(
    ("name", "reason"), [("autoscaling_test_notification", "group workers"), ("autoscaling_launch", "a launch")]
)
def test_what_is_in_order_and_asks_for_nothing(name: str, reason: str) -> None:
    found = read(text(name))
    assert isinstance(found, Needless)
    assert reason in found.reason


@given(
    st.builds(
        Action,
        group=st.text(min_size=1),
        hook=st.text(min_size=1),
        instance=st.text(min_size=1),
        began=st.floats(min_value=0, allow_infinity=False, allow_nan=False),
        attempt=st.integers(min_value=0),
    )
)
def test_a_continuation_comes_back_as_it_was(action: Action) -> None:
    assert read(continuation(action)) == action


CONTINUATION = json.loads(continuation(Action("workers", "worker-terminate", "i-1", 1.0, 3)))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "an event None"),
        (json.dumps(CONTINUATION | {"version": 2}), "version 2"),
        (json.dumps(CONTINUATION | {"instance": ""}), "instance is ''"),
        (json.dumps(CONTINUATION | {"began": "now"}), "began is 'now'"),
        (json.dumps(CONTINUATION | {"attempt": True}), "attempt is True"),
        (json.dumps({**event("autoscaling_terminate"), "detail": None}), "no detail"),
        (json.dumps({**event("autoscaling_terminate"), "time": "soon"}), "time is 'soon'"),
        (json.dumps({**event("autoscaling_terminate"), "time": "2026-11-25T22:10:07"}), "no time zone"),
        (json.dumps({**event("autoscaling_terminate"), "source": "me"}), "of 'me'"),
        (text("autoscaling_terminate", EC2InstanceId=None), "EC2InstanceId is None"),
        (text("autoscaling_terminate", AutoScalingGroupName=7), "AutoScalingGroupName is 7"),
        (text("autoscaling_terminate", LifecycleTransition=LAUNCHING), f"not '{TERMINATING}'"),
        (text("autoscaling_launch", EC2InstanceId=None), "EC2InstanceId is None"),
    ],
)
def test_what_nobody_should_have_sent_is_refused_with_the_reason(body: str, reason: str) -> None:
    with pytest.raises(MalformedEventError, match=reason):
        read(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=3
)


@settings(max_examples=50)
@given(
    base=st.sampled_from(
        [CONTINUATION, event("autoscaling_terminate"), event("autoscaling_launch"), event("scheduled")]
    ),
    changes=st.dictionaries(st.sampled_from(["detail", "time", "version", "began", "instance", "source"]), JSON),
)
def test_any_message_is_read_or_refused(base: dict[str, Any], changes: dict[str, Any]) -> None:
    try:
        found = read(json.dumps(base | changes))
    except MalformedEventError:
        return
    assert isinstance(found, Action | Sweep | Needless)


@given(st.text())
def test_any_text_is_read_or_refused(body: str) -> None:
    with pytest.raises(MalformedEventError):
        read(body)
