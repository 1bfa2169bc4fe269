"""Schedule expressions of EventBridge rules: when they fire.

EventBridge User Guide, "Setting a schedule pattern": ``rate(value unit)`` and ``cron(minutes hours day-of-month month
day-of-week year)``, in UTC. The letters L and W and the sign # of cron are refused by name.
"""

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

_RATE: Final = re.compile(r"rate\((?P<value>[1-9]\d*) (?P<unit>minute|hour|day)(?P<plural>s?)\)")
_CRON: Final = re.compile(r"cron\((?P<fields>[^()]*)\)")
_SECONDS: Final = {"minute": 60, "hour": 3600, "day": 86400}
_MONTHS: Final[dict[str, int]] = {name.upper(): at for at, name in enumerate(calendar.month_abbr) if name}
_DAYS: Final[dict[str, int]] = {name.upper(): (at + 1) % 7 + 1 for at, name in enumerate(calendar.day_abbr)}
_FIELDS: Final[tuple[tuple[str, int, int, Mapping[str, int]], ...]] = (
    ("minutes", 0, 59, {}),
    ("hours", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 1, 7, _DAYS),
    ("year", 1970, 2199, {}),
)
_ANY: Final = "?"


class ScheduleError(ValueError):
    """An expression that EventBridge does not take."""


class UnknownScheduleError(ScheduleError):
    """An expression that EventBridge takes, and that is not known here; the text names what is not."""


@dataclass(frozen=True)
class Rate:
    """Every so many seconds, counted from when the rule was made."""

    seconds: int


@dataclass(frozen=True)
class Cron:
    """At the minutes whose parts are all among these; None stands for any day."""

    fields: tuple[frozenset[int] | None, ...]

    def fires(self, at: datetime) -> bool:
        """Whether the minute of this time (UTC) is one of them."""
        parts = (at.minute, at.hour, at.day, at.month, at.isoweekday() % 7 + 1, at.year)
        return all(field is None or part in field for field, part in zip(self.fields, parts, strict=True))


def parse(expression: str) -> Rate | Cron:
    """The schedule in an expression. Raises `ScheduleError`."""
    if found := _RATE.fullmatch(expression):
        value = int(found["value"])
        if (value == 1) is bool(found["plural"]):
            raise ScheduleError(f"{expression}: one {found['unit']}, several {found['unit']}s")
        return Rate(value * _SECONDS[found["unit"]])
    if found := _CRON.fullmatch(expression):
        fields = found["fields"].split()
        if len(fields) != len(_FIELDS):
            raise ScheduleError(f"{expression}: cron has six fields")
        if (fields[2] == _ANY) is (fields[4] == _ANY):
            raise ScheduleError(f"{expression}: exactly one of day-of-month and day-of-week is ?")
        return Cron(tuple(_field(text, *about) for text, about in zip(fields, _FIELDS, strict=True)))
    raise ScheduleError(f"{expression} is neither rate(...) nor cron(...)")


def _field(text: str, name: str, low: int, high: int, names: Mapping[str, int]) -> frozenset[int] | None:
    if text == _ANY and name.startswith("day"):
        return None
    found: set[int] = set()
    for part in text.upper().split(","):
        if name.startswith("day") and re.search(r"[LW#]", part.replace("WED", "")):
            raise UnknownScheduleError(f"{part} as {name}")
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = _number(first, name, low, high, names)
            end = _number(last, name, low, high, names) if dash else (high if step else start)
        if end < start or (step and (not step.isdecimal() or int(step) < 1)):
            raise ScheduleError(f"{part} is no {name}")
        found.update(range(start, end + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, name: str, low: int, high: int, names: Mapping[str, int]) -> int:
    number = names.get(text, int(text) if text.isdecimal() else -1)
    if not low <= number <= high:
        raise ScheduleError(f"{text} is no {name} from {low} to {high}")
    return number
