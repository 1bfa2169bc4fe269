"""What lies in the scale-in queue: events, our own continuations, and the scheduled sweep. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.fabric.lifecycle import LAUNCHING, TERMINATING, Action, MalformedEventError, parse

VERSION: Final = 1
"""Of a continuation's form. Another version is dropped: the sweep finds the machine it was about."""
_FORM: Final = "fleetstream.scale-in"
_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "group": (str,),
    "hook": (str,),
    "instance": (str,),
    "began": (int, float),
    "attempt": (int,),
}
_TEST: Final = "autoscaling:TEST_NOTIFICATION"
_LAUNCH: Final = "EC2 Instance-launch Lifecycle Action"


@dataclass(frozen=True)
class Sweep:
    """Time to look for what lost events left behind."""


@dataclass(frozen=True)
class Needless:
    """A message that is in order and asks for nothing."""

    reason: str


Message = Action | Sweep | Needless


def read(body: str) -> Message:
    """What a message asks for. Raises `MalformedEventError` for what nobody should have sent."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedEventError(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise MalformedEventError("not a JSON object")
    if found.get("form") == _FORM:
        return _continuation(found)
    if found.get("Event") == _TEST:
        return Needless(f"{_TEST} of group {found.get('AutoScalingGroupName')}")
    if found.get("source") == "aws.events" and found.get("detail-type") == "Scheduled Event":
        return Sweep()
    if found.get("detail-type") == _LAUNCH:
        # Its hook is completed by the machine itself or by the launch function, which get it as well.
        parse(found, LAUNCHING)
        return Needless("a launch, and this function is for machines that leave")
    return parse(found, TERMINATING)


def continuation(action: Action) -> str:
    """The message by which a function comes back to an action."""
    return json.dumps(
        {"form": _FORM, "version": VERSION, **{name: getattr(action, name) for name in _FIELDS}},
        separators=(",", ":"),
    )


def _continuation(found: Mapping[str, Any]) -> Action:
    if found.get("version") != VERSION:
        raise MalformedEventError(f"a continuation of version {found.get('version')!r}, not {VERSION}")
    for name, kinds in _FIELDS.items():
        value = found.get(name)
        if not isinstance(value, kinds) or isinstance(value, bool) or value == "":
            raise MalformedEventError(f"a continuation whose {name} is {value!r}")
    return Action(**{name: found[name] for name in _FIELDS})
