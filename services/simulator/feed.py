"""One producer's messages ahead of their time: who sends them, in which order, and where they go."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.simulator.fleet import Fleet
from services.simulator.schedule import Schedule
from services.simulator.stamps import Stamps
from services.simulator.traffic import Faults, Numbers, Traffic, chooser

_AHEAD: Final = 512
"""Messages prepared in one go: few enough to fit between two ticks, enough to spread NumPy's cost a call."""
_EMPTY: Final = frozenset[int]()


@dataclass(frozen=True, slots=True)
class Group:
    """Messages ``start`` to ``end - 1`` of a block: due together, for one partition, so that they leave together."""

    start: int
    end: int
    partition: int
    due_us: int
    """Since the load's start."""


@dataclass(frozen=True, slots=True)
class Block:
    """Prepared messages, numbered from `first` on. `twice` and `cut_off` have the places of those that are to be sent
    again, and without their end."""

    first: int
    groups: list[Group]
    rows: NDArray[np.uint8]
    keys: list[bytes]
    payloads: list[bytes]
    twice: frozenset[int]
    cut_off: frozenset[int]


class Feed:
    """All messages of one producer, block by block. The state of a device is its next number, four bytes.

    Messages of one tick are ordered by partition before they are numbered: a producer's numbers ascend within each
    partition, and those of a device in any case.
    """

    def __init__(
        self, producer: str, fleet: Fleet, schedule: Schedule, traffic: Traffic, partitions: NDArray[np.int32]
    ) -> None:
        """`partitions` has the partition of each device."""
        self._fleet = fleet
        self._schedule = schedule
        self._partitions = partitions
        self._stamps = Stamps(producer, fleet.labels)
        self._choose = chooser(traffic, schedule, partitions)
        self._faults = Faults(traffic, schedule.part, schedule.parts, len(fleet))
        self._next = np.zeros(len(fleet), dtype=np.uint32)

    def blocks(self, start_us: int) -> Iterator[Block]:
        """The messages of a load that starts at `start_us` (microseconds since the epoch)."""
        for first in range(0, self._schedule.planned, _AHEAD):
            yield self._block(np.arange(first, min(first + _AHEAD, self._schedule.planned), dtype=np.int64), start_us)

    def _block(self, seqs: Numbers, start_us: int) -> Block:
        due = self._schedule.due_us(seqs)
        devices = self._choose(seqs, due)
        partitions = self._partitions[devices]
        order = np.lexsort((partitions, due))
        devices, partitions = devices[order], partitions[order]
        device_seqs = self._numbered(devices)
        due_us = due + start_us
        event_us = self._faults.measured_us(devices, device_seqs, due_us)
        return Block(
            first=int(seqs[0]),
            groups=_groups(due, partitions),
            rows=self._stamps.rows(devices, seqs, device_seqs, event_us, due_us),
            keys=self._fleet.keys[devices].tolist(),
            payloads=self._fleet.payload_of(devices, device_seqs),
            twice=frozenset(self._faults.twice(len(seqs)).tolist()) or _EMPTY,
            cut_off=frozenset(self._faults.cut_off(len(seqs)).tolist()) or _EMPTY,
        )

    def _numbered(self, devices: Numbers) -> Numbers:
        """The next number of each message's device; a device may have several messages here."""
        order = np.argsort(devices, kind="stable")
        present, start, count = np.unique(devices[order], return_index=True, return_counts=True)
        numbers = np.empty(len(devices), dtype=np.int64)
        numbers[order] = np.arange(len(devices)) - np.repeat(start, count) + self._next[devices[order]]
        self._next[present] += count.astype(np.uint32)
        return self._faults.numbered(devices, numbers)

    def send(self, block: Block, group: Group, sent_us: int) -> list[bytes]:
        """The messages of one group, stamped as sent now."""
        some = slice(group.start, group.end)
        values = self._stamps.send(block.rows[some], sent_us, block.payloads[some])
        for place in block.cut_off.intersection(range(group.start, group.end)) if block.cut_off else ():
            values[place - group.start] = values[place - group.start][:-1]
        return values

    def seq_of(self, value: bytes) -> int:
        """The number of one of this producer's messages."""
        return self._stamps.seq_of(value)


def _groups(due: Numbers, partitions: NDArray[np.int32]) -> list[Group]:
    changes = np.flatnonzero((np.diff(due) != 0) | (np.diff(partitions) != 0)) + 1
    starts = [0, *changes.tolist()]
    return [
        Group(start, end, int(partitions[start]), int(due[start]))
        for start, end in zip(starts, [*starts[1:], len(due)], strict=True)
    ]
