"""What the launch functions have in common: a machine is held by its hook until it has what belongs to it. Pure.

A function that waits is paid for waiting, so it looks again for a minute at most. Then it fails, and Lambda sends the
event anew a minute later and two minutes after that (Lambda Developer Guide, "How Lambda handles errors and retries
with asynchronous invocation"). If that was not enough the hook times out, the machine ends, and its group starts
another, whose event begins from the front.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from services.fabric.errors import FabricServiceError
from services.fabric.lifecycle import (
    ABANDON,
    CONTINUE,
    LAUNCHING,
    PENDING,
    Action,
    ActionOverError,
    Groups,
    Instance,
    stray,
)

PATIENCE_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 3.0
MARGIN_SECONDS: Final = 10.0
"""Before Lambda cuts the function off: enough for one more look."""


class NotYetError(FabricServiceError):
    """What the machine waits for is not there: the same event is to be tried again."""


class State(StrEnum):
    """What a look at a machine ends in."""

    READY = "ready"
    NOT_YET = "not-yet"
    HOPELESS = "hopeless"
    ENTERING = "entering"
    """Auto Scaling shows the machine not yet in the state that the event speaks of."""
    STRAY = "stray"


@dataclass(frozen=True)
class Verdict:
    """What a look at a machine ends in, and why."""

    state: State
    reason: str


class Outcome(StrEnum):
    """How an event ended."""

    CONTINUED = "continued"
    ABANDONED = "abandoned"
    STRAY = "stray"
    OVER = "over"
    NOT_YET = "not-yet"


class Machines(Protocol):
    """EC2, as far as every launch function speaks to it."""

    def instance(self, instance_id: str) -> Instance | None:
        """A machine; None when it is gone."""
        ...


@dataclass(frozen=True)
class Launches:
    """What a launch function looks at and acts upon."""

    cluster: str
    groups: Groups
    machines: Machines
    record: Callable[[Action, Outcome, str], None]
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def serve(
    launches: Launches, action: Action, look: Callable[[Instance], Verdict], patience: float = PATIENCE_SECONDS
) -> Outcome:
    """Looks until the machine has what it needs, or cannot get it. Raises `NotYetError` when patience ends.

    `look` does whatever brings the machine closer to that, and may be repeated at any time.
    """
    end = launches.now() + patience
    while True:
        verdict = _verdict(launches, action, look)
        try:
            match verdict.state:
                case State.STRAY:
                    return _note(launches, action, Outcome.STRAY, verdict)
                case State.READY:
                    launches.groups.complete(action, CONTINUE)
                    return _note(launches, action, Outcome.CONTINUED, verdict)
                case State.HOPELESS:
                    launches.groups.complete(action, ABANDON)
                    return _note(launches, action, Outcome.ABANDONED, verdict)
                case State.NOT_YET:
                    launches.groups.heartbeat(action)
        except ActionOverError as error:
            return _note(launches, action, Outcome.OVER, Verdict(State.STRAY, str(error)))
        if launches.now() + PAUSE_SECONDS >= end:
            _note(launches, action, Outcome.NOT_YET, verdict)
            raise NotYetError(f"instance {action.instance}: {verdict.reason}: the event is to be tried again")
        launches.sleep(PAUSE_SECONDS)


def _verdict(launches: Launches, action: Action, look: Callable[[Instance], Verdict]) -> Verdict:
    if reason := stray(launches.groups, launches.cluster, action, LAUNCHING):
        member = launches.groups.member(action.instance)
        if member and member.state == PENDING:
            return Verdict(State.ENTERING, f"it is {PENDING} yet")
        return Verdict(State.STRAY, reason)
    instance = launches.machines.instance(action.instance)
    if instance is None:
        # A machine that has just been launched may not show everywhere yet (EC2 API Reference, "Eventual
        # consistency"): Auto Scaling says that it waits.
        return Verdict(State.NOT_YET, "EC2 does not show it yet")
    return look(instance)


def _note(launches: Launches, action: Action, outcome: Outcome, verdict: Verdict) -> Outcome:
    launches.record(action, outcome, verdict.reason)
    return outcome
