"""Reads the heads of many messages at once: what measuring needs, in columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.consumer.head import LAYOUT, read_head
from services.contract import ContractError

Numbers = NDArray[np.int64]

_LAYOUTS: Final = 8
"""So many layouts of a batch are read as tables; what is laid out differently still is read message by message."""
_DIGITS: Final = 16
_FIELDS: Final = ("seq", "device_seq", "due_us", "sent_us")
_HIGHEST: Final = 2**63 - 1
_ZERO: Final = np.uint8(ord("0"))
_NINE: Final = np.uint8(9)
_ALL_BITS: Final = np.uint8(0xFF)
_ONE: Final = np.uint64(1)
_NO_DIGIT: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
_BLANK: Final = np.uint8(ord(" "))
_ASCII: Final = np.uint8(0x80)


@dataclass(frozen=True, slots=True)
class Heads:
    """Messages of one producer, in the order in which they came; `places` are theirs in the batch.

    Times in microseconds since the epoch.
    """

    producer: str
    places: NDArray[np.intp]
    seqs: Numbers
    device_seqs: Numbers
    due_us: Numbers
    sent_us: Numbers
    devices: NDArray[np.bytes_]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that breaks the contract: its place in the batch, and how."""

    place: int
    reason: str


def read_heads(values: Sequence[bytes]) -> tuple[list[Heads], list[Unreadable]]:
    """The heads of a batch, by producer and layout; those of one device are in one of them, in order.

    It reads what `services.consumer.head.read_head` reads, to the same result.
    """
    found: list[Heads] = []
    rest = np.arange(len(values))
    for _ in range(_LAYOUTS):
        if not len(rest):
            return found, []
        layout = _Layout.of(values[rest[0]])
        if layout is None:
            break
        heads, left = layout.read(values, rest)
        if not len(heads.places):
            break
        found.append(heads)
        rest = left
    singles, unreadable = _one_by_one(values, rest)
    return found + singles, unreadable


class _Layout:
    """Where the fields of some messages stand: those that look like one of them everywhere but in its fields."""

    def __init__(self, producer: str, template: bytes, fields: dict[str, slice]) -> None:
        self._producer = producer
        self._device = fields["device"]
        self._numbers = [fields[name] for name in (*_FIELDS, "event_us")]
        self._width = -(-len(template) // 8) * 8
        fixed = np.zeros(self._width, dtype=np.uint8)
        fixed[: len(template)] = 0xFF
        for field in fields.values():
            fixed[field] = 0
        # Compared eight bytes at a time.
        self._fixed = fixed.view("<u8")
        self._template = np.frombuffer(template.ljust(self._width), "<u8")

    @classmethod
    def of(cls, value: bytes) -> "_Layout | None":
        """The layout of a message as `contract.stamp` makes it; None when it is laid out otherwise."""
        found = LAYOUT(value)
        if found is None or not found["producer"].isascii():
            return None
        fields = {name: slice(*found.span(name)) for name in (*_FIELDS, "event_us", "device")}
        if any(len(found[name]) > _DIGITS for name in (*_FIELDS, "event_us")):
            return None
        return cls(found["producer"].decode(), value[: found.end()], fields)

    def read(self, values: Sequence[bytes], places: NDArray[np.intp]) -> tuple[Heads, NDArray[np.intp]]:
        """The messages at `places` that are laid out like this, and the places of the others."""
        width = self._width
        starts = [values[place][:width] for place in places.tolist()]
        raw = b"".join(starts)
        if len(raw) != width * len(starts):
            raw = b"".join([start.ljust(width) for start in starts])
        table = np.frombuffer(raw, np.uint8).reshape(len(places), width)
        unlike = (table.view("<u8") ^ self._template) & self._fixed
        good = np.ones(len(places), dtype=np.bool_)
        if unlike.any():
            good &= ~unlike.any(axis=1)
        columns: list[NDArray[Any]] = [*_numbers(table, self._numbers, good)]
        names = np.ascontiguousarray(table[:, self._device])
        # A byte outside ASCII may be part of a letter or nonsense, and these two would end the name: looked at alone.
        odd = (names >= _ASCII) | (names == ord('"')) | (names == ord("\\"))
        if odd.any():
            good &= ~odd.any(axis=1)
        columns[-1] = names.view(f"S{names.shape[1]}")[:, 0]
        if good.all():
            return Heads(self._producer, places, *columns), places[:0]
        return Heads(self._producer, places[good], *(column[good] for column in columns)), places[~good]


def _numbers(table: NDArray[np.uint8], fields: Sequence[slice], good: NDArray[np.bool_]) -> list[Numbers]:
    """Whole numbers of at most 16 digits with blanks before them; rows that hold anything else are not `good`.

    All in words of eight digits, the first one in the lowest byte, two words a number.
    """
    letters = np.full((len(table), len(fields) * _DIGITS), _BLANK, dtype=np.uint8)
    for at, field in enumerate(fields, 1):
        letters[:, at * _DIGITS - (field.stop - field.start) : at * _DIGITS] = table[:, field]
    blank = (letters == _BLANK).view(np.uint8)
    # A blank counts as a zero.
    digits = letters - _ZERO + blank * np.uint8(_ZERO - _BLANK)
    if (wrong := digits > _NINE).any():
        good &= ~wrong.any(axis=1)
    blanks = (blank * _ALL_BITS).view("<u8")
    # Blanks are the lowest bytes of the first word, go on in the second only when they fill it, and leave a digit.
    scattered = (blanks & (blanks + _ONE)) | (blanks[:, 1::2] & ~blanks[:, 0::2]).repeat(2, axis=1)
    if scattered.any() or (blanks[:, 1::2] == _NO_DIGIT).any():
        good &= ~(scattered != 0).any(axis=1) & ~(blanks[:, 1::2] == _NO_DIGIT).any(axis=1)
    words = digits.view("<u8")
    # Neighbours become pairs, pairs fours, fours a number of eight digits.
    words = (words * np.uint64(10) + (words >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    words = (words * np.uint64(100) + (words >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    words = (words * np.uint64(10_000) + (words >> np.uint64(32))) & np.uint64(0x00000000FFFFFFFF)
    numbers = words.astype(np.int64)
    return [numbers[:, at] * 100_000_000 + numbers[:, at + 1] for at in range(0, numbers.shape[1], 2)]


def _one_by_one(values: Sequence[bytes], places: NDArray[np.intp]) -> tuple[list[Heads], list[Unreadable]]:
    unreadable: list[Unreadable] = []
    rows: dict[str, list[tuple[int, int, int, int, int, bytes]]] = {}
    for place in places.tolist():
        try:
            producer, seq, device_seq, due_us, sent_us, device = read_head(values[place])
        except ContractError as error:
            unreadable.append(Unreadable(place, str(error)))
            continue
        if max(seq, device_seq, due_us, sent_us) > _HIGHEST:
            unreadable.append(Unreadable(place, "a number has more than 64 bits"))
        else:
            rows.setdefault(producer, []).append((place, seq, device_seq, due_us, sent_us, device.encode()))
    found: list[Heads] = []
    for producer, some in rows.items():
        at, *columns, devices = zip(*some, strict=True)
        numbers = [np.asarray(column, dtype=np.int64) for column in columns]
        found.append(Heads(producer, np.asarray(at, dtype=np.intp), *numbers, devices=np.asarray(devices, np.bytes_)))
    return found, unreadable
