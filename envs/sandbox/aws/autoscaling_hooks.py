"""Life cycle hooks: what waits for whom, how long, and how a wait ends. A model that knows neither moto nor a clock.

Sources: Amazon EC2 Auto Scaling User Guide ("How lifecycle hooks work", "Complete a lifecycle action", "Quotas for
Auto Scaling resources and groups"), API Reference (LifecycleHook, PutLifecycleHook, DeleteLifecycleHook,
CompleteLifecycleAction, RecordLifecycleActionHeartbeat).
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

LAUNCHING: Final = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING: Final = "autoscaling:EC2_INSTANCE_TERMINATING"
CONTINUE: Final = "CONTINUE"
ABANDON: Final = "ABANDON"

_LONGEST_S: Final = 48 * 3600
_HEARTBEATS: Final = 100
_MOST: Final = 50
_NAME: Final = re.compile(r"[A-Za-z0-9\-_/]{1,255}")


class HookError(Exception):
    """A refusal of Auto Scaling."""


@dataclass(frozen=True, kw_only=True)
class Hook:
    """What an instance waits for at one of its two transitions."""

    name: str
    transition: str
    heartbeat_timeout: int = 3600
    default_result: str = ABANDON
    metadata: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise HookError(f"{self.name!r} is no name of a lifecycle hook: letters, digits, - _ and / only")
        if self.transition not in (LAUNCHING, TERMINATING):
            raise HookError(f"Lifecycle transition must be {LAUNCHING} or {TERMINATING}, not {self.transition!r}")
        if not 30 <= self.heartbeat_timeout <= 7200:
            raise HookError(f"Heartbeat timeout must be from 30 to 7200 seconds, not {self.heartbeat_timeout}")
        if self.default_result not in (CONTINUE, ABANDON):
            raise HookError(f"Default result must be {CONTINUE} or {ABANDON}, not {self.default_result!r}")

    @property
    def global_timeout(self) -> int:
        """Seconds that no heartbeat can lengthen."""
        return min(_LONGEST_S, _HEARTBEATS * self.heartbeat_timeout)


@dataclass
class Action:
    """One instance's wait for one hook."""

    hook: Hook
    instance: str
    token: str
    began: float
    due: float
    result: str | None = None
    reason: str = ""

    def beat(self, now: float) -> None:
        """Begins the time-out anew, within the global one."""
        self.due = min(now + self.hook.heartbeat_timeout, self.began + self.hook.global_timeout)

    def end(self, result: str, reason: str) -> None:
        """Ends the wait; a wait ends once."""
        self.result, self.reason = result, reason


@dataclass(frozen=True)
class Outcome:
    """How all the waits of an instance ended, and why it was given up when it was."""

    result: str
    reason: str = ""


class Lifecycle:
    """The hooks of a group, and the instances that wait for them."""

    def __init__(self, group: str) -> None:
        self.hooks: dict[str, Hook] = {}
        self._group = group
        self._actions: list[Action] = []

    def put(self, name: str, given: Mapping[str, Any]) -> None:
        """Makes a hook, or changes what is given of one that is there."""
        known = self.hooks.get(name)
        if known is None:
            if "transition" not in given:
                raise HookError("LifecycleTransition is required for a new lifecycle hook")
            if len(self.hooks) >= _MOST:
                raise HookError(f"Lifecycle hook limit exceeded: a group has at most {_MOST} of them")
        self.hooks[name] = replace(known, **given) if known else Hook(name=name, **given)

    def delete(self, name: str) -> None:
        """Takes a hook away: who waits for it to enter service is given up, who waits to leave goes on."""
        self._hook(name)
        del self.hooks[name]
        for action in self._open(name):
            result = ABANDON if action.hook.transition == LAUNCHING else CONTINUE
            action.end(result, "Lifecycle Hook was deleted")

    def begin(self, instance: str, transition: str, now: float) -> list[Action]:
        """Has an instance wait for all hooks of a transition at once; nothing when there are none."""
        begun = [
            Action(hook, instance, str(uuid.uuid4()), now, now + hook.heartbeat_timeout)
            for hook in self.hooks.values()
            if hook.transition == transition
        ]
        self._actions += begun
        return begun

    def complete(self, name: str, result: str, instance: str | None, token: str | None) -> None:
        """Ends a wait, which is told by its token or by its instance. Raises `HookError` when there is none."""
        if result not in (CONTINUE, ABANDON):
            raise HookError(f"Lifecycle action result must be {CONTINUE} or {ABANDON}, not {result!r}")
        self._active(name, instance, token).end(result, f"Lifecycle Action Completed with {result} Result")

    def beat(self, name: str, instance: str | None, token: str | None, now: float) -> None:
        """Lengthens a wait. Raises `HookError` when there is none."""
        self._active(name, instance, token).beat(now)

    def expire(self, now: float) -> None:
        """Ends the waits whose time is over with their default result."""
        for action in self._open():
            if now >= action.due:
                last = now >= action.began + action.hook.global_timeout
                action.end(action.hook.default_result, "Global Timeout" if last else "Heartbeat Timeout")

    def outcome(self, instance: str) -> Outcome | None:
        """How an instance's waits ended, told once; None while it waits. Whoever gives up decides for all."""
        actions = [action for action in self._actions if action.instance == instance]
        given_up = next((action for action in actions if action.result == ABANDON), None)
        if given_up is None and any(action.result is None for action in actions):
            return None
        self.forget(instance)
        if given_up is None:
            return Outcome(CONTINUE)
        return Outcome(ABANDON, f"Lifecycle Action with token {given_up.token} was abandoned: {given_up.reason}")

    def forget(self, instance: str) -> None:
        """Ends the waits of an instance without a result."""
        self._actions = [action for action in self._actions if action.instance != instance]

    def _hook(self, name: str) -> Hook:
        if name not in self.hooks:
            raise HookError(f"No Lifecycle Hook found with name {name} for group {self._group}")
        return self.hooks[name]

    def _open(self, name: str | None = None) -> list[Action]:
        return [action for action in self._actions if action.result is None and name in (None, action.hook.name)]

    def _active(self, name: str, instance: str | None, token: str | None) -> Action:
        self._hook(name)
        if not instance and not token:
            raise HookError("Either LifecycleActionToken or InstanceId is required")
        for action in self._open(name):
            if instance in (None, action.instance) and token in (None, action.token):
                return action
        told = f"token {token}" if token else f"instance ID {instance}"
        raise HookError(f"No active Lifecycle Action found with {told}")
