"""Which device sends next, and what is wrong with some messages on purpose: chosen by seed, repeatable."""

from typing import Final, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from services.simulator.schedule import Schedule

Numbers = NDArray[np.int64]
Order = Literal["turn", "random", "in-step"]

_MINUTE_US: Final = 60_000_000
_DISORDER_US: Final = 1_000_000
_LATE_DEVICE, _DISORDERED_DEVICE = 1, 2


class Traffic(BaseModel):
    """Who sends, and the faults of a load; shares are between 0 and 1.

    * `order`: devices take turns; or each message comes from any device ("random"); or from any device of one
      partition, the next partition with each tick ("in-step": devices that report together share a gateway).
    * `skew`: how much more the busiest devices send: activity falls with the rank to this power (Zipf's law).
    * `churn`: half of the devices are active at a time, and this share of them is replaced by others each minute.
    * `late`: the share of devices that lag behind: they measured up to `late_seconds` before they report.
    * `disordered`: the share of devices that send their readings pairwise swapped.
    * `duplicate` and `poison`: the shares of messages that are sent twice, and that are cut off in the middle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    order: Order = "turn"
    skew: float = Field(default=0.0, ge=0, le=4)
    churn: float = Field(default=0.0, ge=0, le=1)
    late: float = Field(default=0.0, ge=0, le=1)
    late_seconds: float = Field(default=600.0, gt=0)
    disordered: float = Field(default=0.0, ge=0, le=1)
    duplicate: float = Field(default=0.0, ge=0, le=1)
    poison: float = Field(default=0.0, ge=0, le=1)
    seed: int = Field(default=1, ge=0)

    def faultless(self) -> Self:
        """The same traffic with nothing wrong in it."""
        return self.model_copy(update={"late": 0.0, "disordered": 0.0, "duplicate": 0.0, "poison": 0.0})


class Chooser(Protocol):
    """Says who sends messages, given their numbers and when they are due (microseconds since the start)."""

    def __call__(self, seqs: Numbers, due_us: Numbers) -> Numbers: ...


def chooser(traffic: Traffic, schedule: Schedule, partitions: NDArray[np.int32]) -> Chooser:
    """The chooser that `traffic` asks for, over the devices of one producer; `partitions` has that of each device."""
    if traffic.order == "turn":
        return lambda seqs, due_us: schedule.turns(seqs)  # noqa: ARG005 - turns do not depend on time
    random = np.random.default_rng([traffic.seed, schedule.part, 0])
    if traffic.order == "in-step":
        return _InStep(random, partitions, schedule.tick_us)
    return _Random(random, traffic, len(partitions))


class _Random:
    """Any device, the busier ones more often."""

    def __init__(self, random: np.random.Generator, traffic: Traffic, devices: int) -> None:
        self._random = random
        self._devices = devices
        self._active = max(1, devices // 2) if traffic.churn else devices
        self._churn = traffic.churn
        ranks = np.arange(1, self._active + 1, dtype=np.float64)
        self._upto = np.cumsum(ranks**-traffic.skew) if traffic.skew else None

    def __call__(self, seqs: Numbers, due_us: Numbers) -> Numbers:
        if self._upto is None:
            chosen = self._random.integers(0, self._active, len(seqs))
        else:
            chosen = np.searchsorted(self._upto, self._random.random(len(seqs)) * self._upto[-1], side="right")
        if self._churn:
            chosen = (chosen + (due_us * (self._churn * self._active / _MINUTE_US)).astype(np.int64)) % self._devices
        return chosen


class _InStep:
    """Any device of one partition, and of the next one in the next tick."""

    def __init__(self, random: np.random.Generator, partitions: NDArray[np.int32], tick_us: int) -> None:
        self._random = random
        self._tick_us = tick_us
        self._order = np.argsort(partitions, kind="stable")
        _, self._first, self._count = np.unique(partitions[self._order], return_index=True, return_counts=True)

    def __call__(self, seqs: Numbers, due_us: Numbers) -> Numbers:
        turn = due_us // self._tick_us % len(self._count)
        within = (self._random.random(len(seqs)) * self._count[turn]).astype(np.int64)
        return self._order[self._first[turn] + within]


class Faults:
    """What is wrong with which message. A device's faults depend on the seed and its number alone."""

    def __init__(self, traffic: Traffic, part: int, parts: int, devices: int) -> None:
        self._traffic = traffic
        self._random = np.random.default_rng([traffic.seed, part, 1])
        numbers = part + parts * np.arange(devices, dtype=np.int64)
        self._late = _share_of(numbers, traffic.late, traffic.seed, _LATE_DEVICE)
        self._disordered = _share_of(numbers, traffic.disordered, traffic.seed, _DISORDERED_DEVICE)

    def numbered(self, devices: Numbers, device_seqs: Numbers) -> Numbers:
        """The numbers that the devices put on these messages: swapped in pairs where a device is out of order."""
        if not self._traffic.disordered:
            return device_seqs
        return np.where(self._disordered[devices], device_seqs ^ 1, device_seqs)

    def measured_us(self, devices: Numbers, device_seqs: Numbers, due_us: Numbers) -> Numbers:
        """When these readings were taken; `due_us` itself when no device is late or out of order."""
        if not self._traffic.late and not self._traffic.disordered:
            return due_us
        lag = np.where(self._late[devices], self._random.random(len(devices)) * self._traffic.late_seconds * 1e6, 0)
        swapped = np.where(self._disordered[devices] & (device_seqs % 2 == 0), _DISORDER_US, 0)
        return due_us - lag.astype(np.int64) - swapped

    def twice(self, messages: int) -> NDArray[np.intp]:
        """Which of the next so many messages are sent twice."""
        return _chosen(self._random, messages, self._traffic.duplicate)

    def cut_off(self, messages: int) -> NDArray[np.intp]:
        """Which of the next so many messages are cut off."""
        return _chosen(self._random, messages, self._traffic.poison)


def _chosen(random: np.random.Generator, messages: int, share: float) -> NDArray[np.intp]:
    return np.flatnonzero(random.random(messages) < share) if share else np.empty(0, dtype=np.intp)


def _share_of(numbers: Numbers, share: float, seed: int, salt: int) -> NDArray[np.bool_]:
    """Of these devices, a share that stays the same however the fleet is split."""
    if not share:
        return np.zeros(len(numbers), dtype=np.bool_)
    # SplitMix64's finalizer (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
    mixed = numbers.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + salt * 0xD1B54A32D192ED03) % 2**64)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ mixed >> np.uint64(31)) < np.uint64(min(int(share * 2.0**64), 2**64 - 1))
