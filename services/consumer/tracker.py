"""Loss, duplicates and order of one run's messages by their sequence numbers, in little memory."""

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.consumer.heads import Heads, Numbers
from services.contract import WARM_UP
from services.intervals import Intervals

_CHUNK_BITS: Final = 16
_CHUNK: Final = 1 << _CHUNK_BITS
_OPEN_CHUNKS: Final = 16
_NUMBER: Final = 1 << 34
"""More than any sequence number: the contract gives it ten digits."""


class Seen:
    """Sequence numbers of one producer: recent ones as flags, all others as ranges. Memory grows with the gaps."""

    def __init__(self) -> None:
        self._settled = Intervals()
        self._open: dict[int, NDArray[np.bool_]] = {}
        """By the number of the chunk: which of its `_CHUNK` numbers were seen."""

    def add(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Notes these numbers; says which of them were new. A number that comes twice is new the first time."""
        chunks = numbers >> _CHUNK_BITS
        if len(numbers) and chunks[0] == chunks[-1] and (chunks == chunks[0]).all():
            return self._add(int(chunks[0]), numbers & (_CHUNK - 1))
        new = np.zeros(len(numbers), dtype=np.bool_)
        for chunk in np.unique(chunks).tolist():
            here = chunks == chunk
            new[here] = self._add(chunk, numbers[here] & (_CHUNK - 1))
        return new

    def _add(self, chunk: int, places: Numbers) -> NDArray[np.bool_]:
        flags = self._open.get(chunk)
        if flags is None:
            flags = self._reopened(chunk)
        new = ~flags[places]
        before = np.count_nonzero(flags)
        flags[places] = True
        added = np.count_nonzero(flags) - before
        if added != np.count_nonzero(new):
            # Some number is in here twice: only its first place is new.
            first = np.zeros(len(places), dtype=np.bool_)
            first[np.unique(places, return_index=True)[1]] = True
            new &= first
        if before + added == _CHUNK:
            self._settle(chunk)
        return new

    def _reopened(self, chunk: int) -> NDArray[np.bool_]:
        while len(self._open) >= _OPEN_CHUNKS:
            self._settle(min(self._open))
        first = chunk << _CHUNK_BITS
        flags = np.zeros(_CHUNK, dtype=np.bool_)
        for start, end in (self._settled & Intervals([(first, first + _CHUNK - 1)])).ranges():
            flags[start - first : end - first + 1] = True
        self._open[chunk] = flags
        return flags

    def _settle(self, chunk: int) -> None:
        self._settled = self._settled | _ranges(chunk, self._open.pop(chunk))

    def intervals(self) -> Intervals:
        """All that was seen."""
        seen = self._settled
        for chunk, flags in self._open.items():
            seen = seen | _ranges(chunk, flags)
        return seen


def _ranges(chunk: int, flags: NDArray[np.bool_]) -> Intervals:
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0)) + (chunk << _CHUNK_BITS)
    return Intervals(zip(edges[0::2].tolist(), (edges[1::2] - 1).tolist(), strict=True))


class Order:
    """The highest number of each device of one producer. Devices that end in digits are rows of an array."""

    def __init__(self) -> None:
        self._last: dict[bytes, NDArray[np.int64]] = {}
        """By the part of the name before its digits (and how many they are)."""
        self._single: dict[bytes, int] = {}

    def late(self, devices: NDArray[np.bytes_], numbers: Numbers) -> int:
        """How many of these came after a higher number of their device, in this order."""
        rows, family = _numbered(devices)
        if rows is None:
            return self._late_singly(devices, numbers)
        last = self._last.get(family)
        highest = int(rows.max())
        if last is None or len(last) <= highest:
            grown = np.full(max(highest + 1, 2 * len(last) if last is not None else 1024), -1, dtype=np.int64)
            if last is not None:
                grown[: len(last)] = last
            last = self._last[family] = grown
        order = np.argsort(rows, kind="stable")
        device, number = rows[order], numbers[order]
        start = np.flatnonzero(np.diff(device, prepend=-1))
        # The highest so far of each device: one pass over all, each device above the one before it.
        group = np.zeros(len(device), dtype=np.int64)
        group[start] = 1
        above = (np.cumsum(group) - 1) * _NUMBER
        known = number.copy()
        known[start] = np.maximum(known[start], last[device[start]])
        highest_so_far = np.maximum.accumulate(above + known) - above
        before = np.empty_like(highest_so_far)
        before[1:] = highest_so_far[:-1]
        before[start] = last[device[start]]
        ends = np.append(start[1:], len(device)) - 1
        last[device[ends]] = highest_so_far[ends]
        return int(np.count_nonzero(number < before))

    def _late_singly(self, devices: NDArray[np.bytes_], numbers: Numbers) -> int:
        late = 0
        for device, number in zip(devices.tolist(), numbers.tolist(), strict=True):
            if number < self._single.get(device, -1):
                late += 1
            else:
                self._single[device] = number
        return late


_ROWS_AT_MOST: Final = 7
"""Digits of a name that may be a row's number: ten million devices."""


def _numbered(devices: NDArray[np.bytes_]) -> tuple[Numbers | None, bytes]:
    """The numbers at the end of these names and what stands before, if that is the same for all; else None."""
    width = devices.dtype.itemsize
    first = bytes(devices[0])
    stem = first.rstrip(b"0123456789")
    digits = len(first) - len(stem)
    if len(first) != width or not 1 <= digits <= _ROWS_AT_MOST:
        return None, b""
    letters = devices.view(np.uint8).reshape(len(devices), width)
    if (letters[:, : len(stem)] != np.frombuffer(stem, np.uint8)).any():
        return None, b""
    values = letters[:, len(stem) :] - np.uint8(ord("0"))
    if (values > np.uint8(9)).any():
        return None, b""
    numbers = np.zeros(len(devices), dtype=np.int64)
    for at in range(digits):
        numbers = numbers * 10 + values[:, at]
    return numbers, b"%b/%d" % (stem, digits)


class Tracker:
    """What arrived of one run. `received` has the sequence numbers by producer; what it lacks was lost or never sent.

    Memory grows with the gaps and the devices, not with the messages.
    """

    def __init__(self, run_id: str) -> None:
        self._own = re.compile(rf"{re.escape(run_id)}(h\d+)?(?P<warm_up>{WARM_UP})?-\d+", re.ASCII)
        self._seen: dict[str, Seen] = {}
        self._order: dict[str, Order] = {}
        self.duplicates = 0
        self.reordered = 0
        """Messages that came after a later one of the same device. A message that came twice is a duplicate only."""
        self.warmup = 0
        """Messages of the run's own warm-up."""
        self.foreign = 0
        """Messages of other runs."""

    def see(self, heads: Heads) -> NDArray[np.bool_] | None:
        """Notes messages of one producer: which of them are new, or None when they are not in the run's account.

        The run's producers are ``<run>-<number>``, on several hosts ``<run>h<host>-<number>``.
        """
        own = self._own.fullmatch(heads.producer)
        if own is None or own["warm_up"]:
            if own is None:
                self.foreign += len(heads.seqs)
            else:
                self.warmup += len(heads.seqs)
            return None
        if heads.producer not in self._seen:
            self._seen[heads.producer], self._order[heads.producer] = Seen(), Order()
        new = self._seen[heads.producer].add(heads.seqs)
        order = self._order[heads.producer]
        if new.all():
            self.reordered += order.late(heads.devices, heads.device_seqs)
        else:
            self.duplicates += int(np.count_nonzero(~new))
            if new.any():
                self.reordered += order.late(heads.devices[new], heads.device_seqs[new])
        return new

    @property
    def received(self) -> dict[str, Intervals]:
        """The sequence numbers that came, by producer."""
        return {producer: seen.intervals() for producer, seen in self._seen.items()}
