"""The life of waits, whatever happens in whatever order: each ends once, and none outlasts its hook."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from envs.sandbox.aws.autoscaling_hooks import (
    ABANDON,
    CONTINUE,
    LAUNCHING,
    TERMINATING,
    Action,
    Hook,
    HookError,
    Lifecycle,
    Outcome,
)

RESULTS = st.sampled_from([CONTINUE, ABANDON])


def one(transition: str = TERMINATING, **about: object) -> Lifecycle:
    """A group with the hook `drain`."""
    lifecycle = Lifecycle("workers")
    lifecycle.put("drain", {"transition": transition, **about})
    return lifecycle


def test_a_hook_has_awss_defaults() -> None:
    hook = one().hooks["drain"]
    assert (hook.heartbeat_timeout, hook.default_result, hook.global_timeout) == (3600, ABANDON, 48 * 3600)
    assert Hook(name="short", transition=LAUNCHING, heartbeat_timeout=30).global_timeout == 3000


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"transition": "launch"}, "transition must be"),
        ({"heartbeat_timeout": 29}, "30 to 7200 seconds, not 29"),
        ({"heartbeat_timeout": 7201}, "30 to 7200 seconds, not 7201"),
        ({"default_result": "RETRY"}, "CONTINUE or ABANDON, not 'RETRY'"),
        ({"name": "a b"}, "'a b' is no name"),
    ],
)
def test_a_hook_that_aws_refuses(about: dict[str, object], words: str) -> None:
    with pytest.raises(HookError, match=words):
        Hook(**{"name": "drain", "transition": LAUNCHING, **about})  # type: ignore[arg-type]


def test_a_hook_is_changed_by_what_is_said_of_it() -> None:
    lifecycle = one(heartbeat_timeout=60)
    lifecycle.put("drain", {"default_result": CONTINUE})
    assert lifecycle.hooks["drain"] == Hook(
        name="drain", transition=TERMINATING, heartbeat_timeout=60, default_result=CONTINUE
    )
    with pytest.raises(HookError, match="LifecycleTransition is required"):
        lifecycle.put("other", {})


def test_a_group_has_fifty_hooks_at_most() -> None:
    lifecycle = Lifecycle("workers")
    for number in range(50):
        lifecycle.put(f"hook-{number}", {"transition": LAUNCHING})
    with pytest.raises(HookError, match="at most 50"):
        lifecycle.put("one-more", {"transition": LAUNCHING})


def test_heartbeats_end_at_the_global_timeout() -> None:
    lifecycle = one(heartbeat_timeout=30)
    lifecycle.begin("i-1", TERMINATING, 0)
    for now in range(20, 3000, 20):
        lifecycle.expire(now)
        lifecycle.beat("drain", "i-1", None, now)
    lifecycle.expire(2999)
    assert lifecycle.outcome("i-1") is None
    lifecycle.expire(3000)
    outcome = lifecycle.outcome("i-1")
    assert outcome is not None
    assert outcome.result == ABANDON
    assert outcome.reason.endswith("was abandoned: Global Timeout")


def test_all_hooks_of_a_transition_are_waited_for_and_one_can_give_up() -> None:
    lifecycle = one()
    lifecycle.put("save", {"transition": TERMINATING})
    lifecycle.put("join", {"transition": LAUNCHING})
    assert [action.hook.name for action in lifecycle.begin("i-1", TERMINATING, 0)] == ["drain", "save"]
    lifecycle.complete("drain", CONTINUE, "i-1", None)
    assert lifecycle.outcome("i-1") is None
    lifecycle.complete("save", ABANDON, "i-1", None)
    assert (
        lifecycle.outcome(
            "i-1",
        )
        is not None
    )

    lifecycle.begin("i-2", TERMINATING, 0)
    lifecycle.complete("save", ABANDON, "i-2", None)
    outcome = lifecycle.outcome("i-2")
    assert outcome is not None
    assert outcome.result == ABANDON
    with pytest.raises(HookError, match="No active Lifecycle Action found with instance ID i-2"):
        lifecycle.complete("drain", CONTINUE, "i-2", None)


@pytest.mark.parametrize(("transition", "result"), [(LAUNCHING, ABANDON), (TERMINATING, CONTINUE)])
def test_a_hook_that_goes_lets_go(transition: str, result: str) -> None:
    lifecycle = one(transition)
    lifecycle.begin("i-1", transition, 0)
    lifecycle.delete("drain")
    outcome = lifecycle.outcome("i-1")
    assert outcome is not None
    assert outcome.result == result
    with pytest.raises(HookError, match="No Lifecycle Hook found with name drain"):
        lifecycle.delete("drain")


def test_a_wait_is_told_by_its_token_or_its_instance() -> None:
    lifecycle = one()
    (action,) = lifecycle.begin("i-1", TERMINATING, 0)
    with pytest.raises(HookError, match="found with token nonsense"):
        lifecycle.complete("drain", CONTINUE, "i-1", "nonsense")
    with pytest.raises(HookError, match="LifecycleActionToken or InstanceId is required"):
        lifecycle.complete("drain", CONTINUE, None, None)
    with pytest.raises(HookError, match="CONTINUE or ABANDON"):
        lifecycle.complete("drain", "DONE", "i-1", None)
    lifecycle.complete("drain", CONTINUE, None, action.token)
    assert lifecycle.outcome("i-1") == Outcome(CONTINUE)


class Waits(RuleBasedStateMachine):
    """Instances that wait for one hook while somebody completes, beats, and lets time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.lifecycle = one(heartbeat_timeout=60)
        self.now = 0.0
        self.count = 0
        self.open: dict[str, Action] = {}
        self.results: dict[str, str] = {}

    @rule()
    def begin(self) -> None:
        self.count += 1
        (action,) = self.lifecycle.begin(f"i-{self.count}", TERMINATING, self.now)
        self.open[action.instance] = action

    @precondition(lambda self: self.open)
    @rule(data=st.data(), result=RESULTS, by_token=st.booleans())
    def complete(self, data: st.DataObject, result: str, by_token: bool) -> None:
        action = data.draw(st.sampled_from(list(self.open.values())))
        instance, token = (None, action.token) if by_token else (action.instance, None)
        self.lifecycle.complete("drain", result, instance, token)
        self._ended(action, result)
        with pytest.raises(HookError, match="No active Lifecycle Action"):
            self.lifecycle.complete("drain", CONTINUE, instance, token)
        with pytest.raises(HookError, match="No active Lifecycle Action"):
            self.lifecycle.beat("drain", instance, token, self.now)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        action = data.draw(st.sampled_from(list(self.open.values())))
        self.lifecycle.beat("drain", action.instance, None, self.now)
        assert action.due > self.now

    @rule(seconds=st.integers(1, 100))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.lifecycle.expire(self.now)
        for action in [action for action in self.open.values() if action.due <= self.now]:
            self._ended(action, ABANDON)

    @invariant()
    def who_waits_has_no_outcome(self) -> None:
        assert all(self.lifecycle.outcome(instance) is None for instance in self.open)
        assert all(action.due <= action.began + 6000 for action in self.open.values())

    def _ended(self, action: Action, result: str) -> None:
        del self.open[action.instance]
        assert action.instance not in self.results
        outcome = self.lifecycle.outcome(action.instance)
        assert outcome is not None
        self.results[action.instance] = outcome.result
        assert outcome.result == result


TestWaits = Waits.TestCase
TestWaits.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
