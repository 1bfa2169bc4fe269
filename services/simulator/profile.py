"""A load's rate over its time: constant, in steps, a ramp, bursts, a day, or from a file."""

import csv
import math
from functools import cached_property
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from services.errors import ServiceError

_DAY_POINTS: Final = 96
"""A daily curve is a polygon: one corner for each quarter of an hour."""
_LOWEST_OF_DAY: Final = 0.2
"""A day's lowest rate by its highest: traffic at night is about a fifth of that in the evening."""
_PEAK_OF_DAY: Final = 0.75
"""Where in the day the highest rate stands: 18 o'clock."""
_BURST_EVERY: Final = 0.1
_BURST_LENGTH: Final = 0.2
FORMS: Final = "RATE, steps:RATE,..., ramp:FROM-TO, burst:RATE-PEAK, daily:PEAK, or a CSV file of seconds,rate"


class ProfileError(ServiceError):
    """A profile that says nothing sensible: names the text or the line, and the forms there are."""


class Profile(BaseModel):
    """Messages/s over time as a polygon: `rates` at the times `seconds`, straight lines between, 0 outside.

    Two corners at one time are a step. Times ascend from 0; the last one is the load's length.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: tuple[float, ...]
    rates: tuple[float, ...]

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if len(self.seconds) != len(self.rates) or len(self.seconds) < 2:
            raise ValueError("a profile needs two corners at least, each with a time and a rate")
        if self.seconds[0] != 0 or any(b < a for a, b in zip(self.seconds, self.seconds[1:], strict=False)):
            raise ValueError("a profile's times start at 0 and ascend")
        if not all(math.isfinite(one) and one >= 0 for one in (*self.seconds, *self.rates)):
            raise ValueError("a profile's times and rates are finite and not negative")
        if self.total == 0:
            raise ValueError("a profile sends one message at least")
        return self

    @classmethod
    def constant(cls, rate: float, seconds: float) -> Self:
        """The same rate all the time; at least one message."""
        return cls(seconds=(0.0, max(seconds, 1 / rate)), rates=(rate, rate))

    @classmethod
    def steps(cls, rates: list[float], seconds: float) -> Self:
        """These rates one after the other, equally long."""
        each = seconds / len(rates)
        corners = [(step * each, (step + 1) * each) for step in range(len(rates))]
        return cls(
            seconds=tuple(time for pair in corners for time in pair),
            rates=tuple(rate for rate in rates for _ in range(2)),
        )

    @classmethod
    def bursts(cls, rate: float, peak: float, seconds: float) -> Self:
        """`rate`, and `peak` for a fifth of each tenth of the time, at its end."""
        period = seconds * _BURST_EVERY
        times: list[float] = []
        for number in range(round(1 / _BURST_EVERY)):
            start = number * period
            calm = start + period * (1 - _BURST_LENGTH)
            times += [start, calm, calm, start + period]
        return cls(seconds=tuple(times), rates=(rate, rate, peak, peak) * round(1 / _BURST_EVERY))

    @classmethod
    def daily(cls, peak: float, seconds: float) -> Self:
        """A day from midnight to midnight, squeezed into the load's time; the rate is highest at 18 o'clock."""
        at = np.linspace(0, 1, _DAY_POINTS + 1)
        share = (1 + _LOWEST_OF_DAY) / 2 + (1 - _LOWEST_OF_DAY) / 2 * np.cos(2 * np.pi * (at - _PEAK_OF_DAY))
        return cls(seconds=tuple((at * seconds).tolist()), rates=tuple((share * peak).tolist()))

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a CSV file: a header ``seconds,rate`` and a corner a line. Raises `ProfileError`."""
        try:
            rows = list(csv.reader(path.read_text().splitlines()))
        except (OSError, UnicodeDecodeError) as error:
            raise ProfileError(f"{path} cannot be read as a load profile: {error}") from error
        if not rows or [cell.strip().lower() for cell in rows[0]] != ["seconds", "rate"]:
            raise ProfileError(f"{path}, line 1: a load profile starts with the header seconds,rate")
        corners: list[tuple[float, float]] = []
        for line, row in enumerate(rows[1:], 2):
            try:
                time, rate = map(float, row)
            except ValueError as error:
                raise ProfileError(f"{path}, line {line}: two numbers are needed, seconds and messages/s") from error
            corners.append((time, rate))
        return cls._made(str(path), tuple(c[0] for c in corners), tuple(c[1] for c in corners))

    @classmethod
    def _made(cls, name: str, seconds: tuple[float, ...], rates: tuple[float, ...]) -> Self:
        try:
            return cls(seconds=seconds, rates=rates)
        except ValueError as error:
            reason = str(error).split("Value error, ")[-1].split(" [type=")[0]
            raise ProfileError(f"{name}: {reason}") from error

    @classmethod
    def parse(cls, text: str, seconds: float) -> Self:
        """From what a user writes (`FORMS`); `seconds` is the length of all but a file's. Raises `ProfileError`."""
        kind, _, rest = text.partition(":")
        try:
            match kind:
                case "steps":
                    return cls.steps([float(one) for one in rest.split(",")], seconds)
                case "ramp":
                    low, high = map(float, rest.split("-"))
                    return cls(seconds=(0.0, seconds), rates=(low, high))
                case "burst":
                    low, high = map(float, rest.split("-"))
                    return cls.bursts(low, high, seconds)
                case "daily":
                    return cls.daily(float(rest), seconds)
                case _ if not rest and _is_number(text):
                    return cls.constant(float(text), seconds)
        except (ValueError, ZeroDivisionError) as error:
            raise ProfileError(f"load profile {text!r} is not understood. There are: {FORMS}") from error
        return cls.read(Path(text))

    def shared(self, count: int) -> Self:
        """The part of one of `count` that send it together."""
        return type(self)(seconds=self.seconds, rates=tuple(rate / count for rate in self.rates))

    @property
    def length(self) -> float:
        """Seconds from its start to its end."""
        return self.seconds[-1]

    @property
    def total(self) -> int:
        """How many messages it sends."""
        # Rounded: what a sum of fractions lacks must not cost a message.
        return math.floor(float(self._pieces[0][-1]) + 1e-6)

    @property
    def mean(self) -> float:
        """Messages/s over its whole length."""
        return self.total / self.length

    @property
    def highest(self) -> float:
        """The highest rate that it reaches."""
        return max(self.rates)

    @cached_property
    def _pieces(self) -> tuple[NDArray[np.float64], ...]:
        """Messages sent up to each corner; and of each straight piece its start, length, rate at first, and slope."""
        times, rates = np.asarray(self.seconds), np.asarray(self.rates)
        length = np.diff(times)
        sent = np.concatenate(([0.0], np.cumsum(length * (rates[1:] + rates[:-1]) / 2)))
        slope = np.divide(np.diff(rates), length, out=np.zeros_like(length), where=length > 0)
        return sent, times[:-1], length, rates[:-1], slope

    def when_us(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """When these messages, counted from 0, are due: microseconds since the start.

        Message n is due when n messages are to have been sent. On a straight piece from rate a to b with slope
        k = (b - a) / length, m = a t + k t^2 / 2 messages are sent after t, so t = 2 m / (a + sqrt(a^2 + 2 k m)),
        which holds for k = 0 as well.
        """
        sent, starts, lengths, rates, slopes = self._pieces
        piece = np.clip(np.searchsorted(sent, numbers, side="right") - 1, 0, len(starts) - 1)
        first = rates[piece]
        over = numbers - sent[piece]
        root = first + np.sqrt(np.maximum(first * first + 2 * slopes[piece] * over, 0))
        after = np.divide(2 * over, root, out=np.zeros_like(root), where=root > 0)
        return np.floor((starts[piece] + np.minimum(after, lengths[piece])) * 1e6 + 1e-3).astype(np.int64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
