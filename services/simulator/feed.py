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
        return (block for block in self._steps(start_us) if block is not None)

    def ahead(self, start_us: int) -> "Ahead":
        """The same, made ready step by step."""
        return Ahead(self._steps(start_us))

    def _steps(self, start_us: int) -> Iterator[Block | None]:
        """The blocks, each after some steps of its work."""
        for first in range(0, self._schedule.planned, _AHEAD):
            seqs = np.arange(first, min(first + _AHEAD, self._schedule.planned), dtype=np.int64)
            yield from self._block(seqs, start_us)

    def _block(self, seqs: Numbers, start_us: int) -> Iterator[Block | None]:
        due = self._schedule.due_us(seqs)
        yield None
        devices = self._choose(seqs, due)
        partitions = self._partitions[devices]
        order = np.lexsort((partitions, due))
        devices, partitions = devices[order], partitions[order]
        yield None
        device_seqs = self._numbered(devices)
        yield None
        groups, starts = _groups(due, partitions)
        yield None
        due_us = due + start_us
        event_us = self._faults.measured_us(devices, device_seqs, due_us)
        rows = self._stamps.rows(devices, seqs)
        yield None
        self._stamps.put_times(rows, due_us, event_us, starts)
        yield None
        self._stamps.put_device_seqs(rows, device_seqs)
        yield None
        keys, payloads = self._fleet.keys[devices].tolist(), self._fleet.payload_of(devices, device_seqs)
        yield None
        yield Block(
            first=int(seqs[0]),
            groups=groups,
            rows=rows,
            keys=keys,
            payloads=payloads,
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


def _groups(due: Numbers, partitions: NDArray[np.int32]) -> tuple[list[Group], NDArray[np.intp]]:
    """The groups, and where they start."""
    changes = np.flatnonzero((np.diff(due) != 0) | (np.diff(partitions) != 0)) + 1
    starts = np.concatenate(([0], changes))
    bounds = [*starts.tolist(), len(due)]
    each = zip(bounds, bounds[1:], partitions[starts].tolist(), due[starts].tolist(), strict=False)
    return [Group(*one) for one in each], starts


class Ahead:
    """Blocks that are made ready in small steps, so that no step stands between a message and its time for long."""

    def __init__(self, steps: Iterator[Block | None]) -> None:
        self._steps = steps
        self._ready: Block | None = None
        self._over = False

    def work(self) -> bool:
        """Does one step for the next block, if it is not ready; says whether there was something to do."""
        if self._ready is not None or self._over:
            return False
        try:
            self._ready = next(self._steps)
        except StopIteration:
            self._over = True
        return True

    def take(self) -> Block | None:
        """The next block, with what was not done of it done now. None after the last one."""
        while self.work():
            pass
        block, self._ready = self._ready, None
        return block
