"""Stamps many messages at once: the head of the contract's message as a table of bytes, a row a message."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services import contract

NUMBER: Final = 10
TIME: Final = 16
"""Digits of a number and of a time in a message's head (services.contract)."""
_GROUP: Final = 10_000
_DIGITS: Final = np.frombuffer(b"".join(b"%04d" % number for number in range(_GROUP)), np.uint8).reshape(_GROUP, 4)
_LEADING: Final = 10 ** np.arange(NUMBER - 1, 0, -1, dtype=np.int64)
_BLANK: Final = ord(" ")


def digits(numbers: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """Decimal digits with leading zeros, a row a number; `width` digits at most 16."""
    groups = -(-width // 4)
    made = np.empty((len(numbers), groups * 4), dtype=np.uint8)
    rest = numbers
    for at in range(groups - 1, 0, -1):
        rest, last = np.divmod(rest, _GROUP)
        made[:, at * 4 : at * 4 + 4] = _DIGITS[last]
    made[:, :4] = _DIGITS[rest]
    return made[:, groups * 4 - width :]


def padded(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Decimal digits with blanks before them, `NUMBER` wide: JSON allows no leading zeros."""
    made = digits(numbers, NUMBER)
    made[:, :-1][numbers[:, None] < _LEADING] = _BLANK
    return made


def head_width(producer: str, labels: NDArray[np.bytes_]) -> int:
    """Bytes before ``"signals"`` in the messages of these devices. Raises `ContractError` for a bad producer."""
    return len(_head(producer)) + labels.dtype.itemsize + len('"",')


def _head(producer: str) -> bytes:
    return contract.stamp(contract.head(producer), b'"device":', 0, 0, 0, 0, 0)


class Stamps:
    """The heads of one producer's messages: everything before ``"signals"``, in one width for all its devices."""

    def __init__(self, producer: str, labels: NDArray[np.bytes_]) -> None:
        """`labels` are the devices' names as JSON writes them between quotes."""
        names, longest = _names(labels)
        head = _head(producer)
        self._template = np.frombuffer(head + b" " * (longest + 2) + b",", np.uint8)
        self._names = names
        self._device = slice(len(head), len(head) + longest + 2)
        at = {field: head.index(b'"%b":' % field.encode()) + len(field) + 3 for field in ("seq", "device_seq")}
        self._seq, self._device_seq = (slice(start, start + NUMBER) for start in at.values())
        times = [head.index(b'"%b":' % field) + len(field) + 3 for field in (b"event_us", b"due_us", b"sent_us")]
        self._event, self._due, self._sent = (slice(start, start + TIME) for start in times)

    def seq_of(self, value: bytes) -> int:
        """The sequence number in a message of this producer."""
        return int(value[self._seq])

    def rows(self, devices: NDArray[np.int64], seqs: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A head a message, with its device and number. What is put into it later are the numbers within the devices,
        the times, and when it is sent."""
        made = np.empty((len(seqs), len(self._template)), dtype=np.uint8)
        made[:] = self._template
        made[:, self._device] = self._names[devices]
        made[:, self._seq] = padded(seqs)
        return made

    def put_device_seqs(self, rows: NDArray[np.uint8], device_seqs: NDArray[np.int64]) -> None:
        """Numbers within the devices."""
        rows[:, self._device_seq] = padded(device_seqs)

    def put_times(
        self,
        rows: NDArray[np.uint8],
        due_us: NDArray[np.int64],
        event_us: NDArray[np.int64],
        starts: NDArray[np.intp],
    ) -> None:
        """When they are due and were measured, in microseconds since the epoch. From one of the places `starts` to
        the next all are due at once."""
        due = np.repeat(digits(due_us[starts], TIME), np.diff(starts, append=len(rows)), axis=0)
        rows[:, self._due] = due
        rows[:, self._event] = due if event_us is due_us else digits(event_us, TIME)

    def send(self, rows: NDArray[np.uint8], sent_us: int, payloads: list[bytes]) -> list[bytes]:
        """Puts the messages together, sent now."""
        rows[:, self._sent] = np.frombuffer(b"%016d" % sent_us, np.uint8)
        raw, width = rows.tobytes(), len(self._template)
        return [
            raw[start : start + width] + payload
            for start, payload in zip(range(0, len(raw), width), payloads, strict=True)
        ]


def _names(labels: NDArray[np.bytes_]) -> tuple[NDArray[np.uint8], int]:
    """The devices' names in quotes, with blanks behind up to the longest one."""
    longest = labels.dtype.itemsize
    letters = labels.view(np.uint8).reshape(len(labels), longest)
    made = np.full((len(labels), longest + 2), _BLANK, dtype=np.uint8)
    made[:, 0] = ord('"')
    made[:, 1:-1] = np.where(letters == 0, _BLANK, letters)
    made[np.arange(len(labels)), (letters != 0).sum(axis=1) + 1] = ord('"')
    return made, longest
