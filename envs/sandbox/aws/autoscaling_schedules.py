"""Scheduled actions: they change a group's numbers at the minutes that their recurrence names.

Auto Scaling API Reference, PutScheduledUpdateGroupAction; User Guide, "Recurring schedules" (Unix cron with five
fields, in UTC). Actions that happen once, that begin or end, or that have a time zone are refused by name, and so are
days of the week.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import FakeScheduledAction

from envs.sandbox.aws import event_schedules
from envs.sandbox.aws.autoscaling_rules import not_emulated

_NOT_EMULATED: Final = ("StartTime", "EndTime", "Time", "TimeZone")
_NUMBERS: Final = ("DesiredCapacity", "MaxSize", "MinSize")
_FIELDS: Final = 5
_MINUTE: Final = timedelta(minutes=1)


def check(asked: Mapping[str, Any]) -> None:
    """Raises AWS's refusals, and those of what is not emulated."""
    for name in _NOT_EMULATED:
        if asked.get(name):
            raise not_emulated(f"{name} of a scheduled action")
    if all(asked.get(name) is None for name in _NUMBERS):
        raise ValidationError("At least one of MinSize, MaxSize or DesiredCapacity must be specified")
    if not asked.get("Recurrence"):
        raise not_emulated("a scheduled action without a recurrence")
    recurrence(asked["Recurrence"])


def recurrence(expression: str) -> event_schedules.Cron:
    """When an action happens. Raises AWS's refusals."""
    fields = expression.split()
    if len(fields) != _FIELDS:
        raise ValidationError(f"Given recurrence string: {expression} is invalid")
    *date, weekday = fields
    if weekday != "*":
        raise not_emulated("days of the week in the recurrence of a scheduled action")
    try:
        found = event_schedules.parse(f"cron({' '.join(date)} ? *)")
    except event_schedules.ScheduleError as error:
        raise ValidationError(f"Given recurrence string: {expression} is invalid ({error})") from error
    assert isinstance(found, event_schedules.Cron)  # noqa: S101 (it was written as one)
    return found


class Minutes:
    """The minutes that begin between two looks, each once, however far the clock was put forward."""

    def __init__(self, now: datetime) -> None:
        self._last = _whole(now)

    def passed(self, now: datetime) -> Iterator[datetime]:
        """Those since the last look."""
        while self._last < _whole(now):
            self._last += _MINUTE
            yield self._last


def due(actions: Iterable[FakeScheduledAction], minute: datetime) -> list[FakeScheduledAction]:
    """The actions that happen in this minute."""
    return [each for each in actions if recurrence(each.recurrence or "").fires(minute)]


def _whole(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
