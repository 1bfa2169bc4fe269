"""A producer's devices in flat arrays: their keys, and the prepared tails of their messages."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services import contract
from services.errors import ServiceError
from services.simulator.drive import Drive

_SIGNALS: Final = b'"signals":'
_CLOSE: Final = b"}}"


class SizeError(ServiceError):
    """A message cannot be as small as asked; `least` is how small it can be, in bytes."""

    def __init__(self, what: str, least: int) -> None:
        super().__init__(what)
        self.least = least


@dataclass(frozen=True, slots=True)
class Fleet:
    """`keys` by device (padded with zero bytes, as NumPy does), `labels` as JSON writes them between quotes, and what
    each sends: its messages carry in turn ``payloads[first : first + count]``, everything from ``"signals"`` on.

    Devices may share payloads: a fleet of ten million does not have ten million drives in memory.
    """

    keys: NDArray[np.bytes_]
    labels: NDArray[np.bytes_]
    payloads: list[bytes]
    first: NDArray[np.int64]
    count: NDArray[np.int64]

    @classmethod
    def of_drives(cls, drives: Sequence[Drive]) -> "Fleet":
        """A device a drive, each with its own payloads."""
        rows = [list(map(payload, drive.rows)) for drive in drives]
        count = np.asarray([len(one) for one in rows], dtype=np.int64)
        return cls(
            keys=np.asarray([drive.device.encode() for drive in drives], dtype=np.bytes_),
            labels=np.asarray([json.dumps(drive.device)[1:-1].encode() for drive in drives], dtype=np.bytes_),
            payloads=[one for drive in rows for one in drive],
            first=np.concatenate(([0], np.cumsum(count)[:-1])).astype(np.int64),
            count=count,
        )

    @classmethod
    def sharing(
        cls, keys: NDArray[np.bytes_], patterns: Sequence[Sequence[bytes]], pattern: NDArray[np.int64]
    ) -> "Fleet":
        """Devices whose `keys` JSON need not escape, of which each sends the payloads of its pattern."""
        count = np.asarray([len(one) for one in patterns], dtype=np.int64)
        first = np.concatenate(([0], np.cumsum(count)[:-1])).astype(np.int64)
        return cls(keys, keys, [one for each in patterns for one in each], first[pattern], count[pattern])

    def __len__(self) -> int:
        return len(self.keys)

    def sorted_by(self, places: NDArray[np.int32]) -> tuple["Fleet", NDArray[np.int32]]:
        """The same devices in the order of their places, and the places in order."""
        order = np.argsort(places, kind="stable")
        again = replace(
            self, keys=self.keys[order], labels=self.labels[order], first=self.first[order], count=self.count[order]
        )
        return again, places[order]

    def payload_of(self, devices: NDArray[np.int64], device_seqs: NDArray[np.int64]) -> list[bytes]:
        """What these messages carry."""
        payloads = self.payloads
        return [payloads[at] for at in (self.first[devices] + device_seqs % self.count[devices]).tolist()]


def payload(signals: dict[str, float]) -> bytes:
    """A message from ``"signals"`` on. Raises `ContractError` for a signal that is not a finite number."""
    tail = contract.tail("", signals)
    return tail[tail.index(_SIGNALS) :]


def sized(signals: dict[str, float], size: int) -> bytes:
    """The same in exactly `size` bytes: the signals that fit, in order, and blanks, which JSON allows, up to the end.

    Raises `SizeError` when not even no signal fits.
    """
    empty = payload({})
    room = size - len(empty)
    if room < 0:
        raise SizeError(f"{len(empty)} bytes at least", len(empty))
    kept: dict[str, float] = {}
    for name, value in signals.items():
        # Its colon and its comma, or the comma of the one before it.
        needed = len(payload({name: value})) - len(empty) + bool(kept)
        if needed <= room:
            kept[name] = value
            room -= needed
    return payload(kept).removesuffix(_CLOSE) + b" " * room + _CLOSE
