"""What a snapshot policy says: when it is due, what it keeps, and what Data Lifecycle Manager refuses of it.

Sources: Amazon Data Lifecycle Manager API Reference (PolicyDetails, Schedule, CreateRule, RetainRule), EBS User Guide
("How Amazon Data Lifecycle Manager works": a volume with any of the target tags is meant).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

_KIND: Final = "EBS_SNAPSHOT_MANAGEMENT"
_HOURS: Final = (1, 2, 3, 4, 6, 8, 12, 24)
_TIME: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_DESCRIPTION: Final = re.compile(r"[0-9A-Za-z _-]{1,500}")
_DAYS: Final = {"DAYS": 1, "WEEKS": 7, "MONTHS": 30, "YEARS": 365}
_OF_A_POLICY: Final = frozenset({"PolicyType", "ResourceTypes", "ResourceLocations", "TargetTags", "Schedules"})
_OF_A_SCHEDULE: Final = frozenset({"Name", "CopyTags", "TagsToAdd", "CreateRule", "RetainRule"})
_OF_A_CREATE_RULE: Final = frozenset({"Interval", "IntervalUnit", "Times", "Location"})


class InvalidRequestError(Exception):
    """A refusal of Data Lifecycle Manager."""


def check(request: Mapping[str, Any]) -> None:
    """Refuses a policy: with `InvalidRequestError`, or by name with `NotImplementedError` what nothing here does."""
    if "Description" in request and not _DESCRIPTION.fullmatch(request["Description"]):
        raise InvalidRequestError("Description must have 1 to 500 letters, digits, spaces, _ or -")
    if request.get("State", "ENABLED") not in ("ENABLED", "DISABLED"):
        raise InvalidRequestError(f"State must be ENABLED or DISABLED, not {request['State']}")
    if "PolicyDetails" in request:
        _check_details(request["PolicyDetails"])


def _check_details(details: Mapping[str, Any]) -> None:
    _refuse_unknown(details, _OF_A_POLICY, "policies")
    if (kind := details.get("PolicyType", _KIND)) != _KIND:
        raise NotImplementedError(f"policies of type {kind}")
    if details.get("ResourceTypes") != ["VOLUME"]:
        raise NotImplementedError(f"snapshots of {details.get('ResourceTypes')}")
    if not details.get("TargetTags"):
        raise InvalidRequestError("A policy needs at least one target tag")
    schedules = details.get("Schedules") or []
    if not 1 <= len(schedules) <= 4:
        raise InvalidRequestError(f"A policy has 1 to 4 schedules, not {len(schedules)}")
    for schedule in schedules:
        _check_schedule(schedule)


def _check_schedule(schedule: Mapping[str, Any]) -> None:
    _refuse_unknown(schedule, _OF_A_SCHEDULE, "schedules")
    name, create, retain = schedule.get("Name"), schedule.get("CreateRule") or {}, schedule.get("RetainRule") or {}
    if not name:
        raise InvalidRequestError("A schedule needs a name")
    _refuse_unknown(create, _OF_A_CREATE_RULE, "creation rules")
    if create.get("Interval") not in _HOURS or create.get("IntervalUnit", "HOURS") != "HOURS":
        raise InvalidRequestError(f"The interval of schedule {name} must be one of {_HOURS} HOURS")
    if wrong := [each for each in create.get("Times") or [] if not _TIME.fullmatch(each)]:
        raise InvalidRequestError(f"{wrong[0]!r} of schedule {name} is no time as hh:mm")
    by_count = 1 <= retain.get("Count", 0) <= 1000
    by_age = retain.get("Interval", 0) >= 1 and retain.get("IntervalUnit") in _DAYS
    if by_count == by_age:
        raise InvalidRequestError(f"Schedule {name} must retain by a count of 1 to 1000 or by an interval")


def _refuse_unknown(given: Mapping[str, Any], known: frozenset[str], of: str) -> None:
    if unknown := sorted(name for name in given.keys() - known if given[name]):
        raise NotImplementedError(f"{', '.join(unknown)} of {of}")


def following(schedule: Mapping[str, Any], moment: datetime) -> datetime:
    """When a schedule is due next after a moment: at its time of day, and every interval from there."""
    rule = schedule["CreateRule"]
    hour, minute = map(int, (rule.get("Times") or ["09:00"])[0].split(":"))
    due = moment.replace(hour=hour, minute=minute, second=0, microsecond=0) - timedelta(days=1)
    while due <= moment:
        due += timedelta(hours=rule["Interval"])
    return due


def targets(details: Mapping[str, Any], tags: Mapping[str, str]) -> bool:
    """Whether something with these tags is meant by a policy."""
    return any(tags.get(each["Key"]) == each["Value"] for each in details["TargetTags"])


def surplus(schedule: Mapping[str, Any], taken: list[tuple[datetime, str]], now: datetime) -> Iterator[str]:
    """Which of a volume's snapshots (when, id) a schedule does not keep."""
    rule = schedule["RetainRule"]
    if rule.get("Count"):
        yield from (snapshot for _, snapshot in sorted(taken, reverse=True)[rule["Count"] :])
        return
    oldest = now - timedelta(days=rule["Interval"] * _DAYS[rule["IntervalUnit"]])
    yield from (snapshot for when, snapshot in taken if when < oldest)
