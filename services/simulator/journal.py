"""What became of every message of one producer, a byte a message in a shared file: exact up to a kill."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.errors import ServiceError
from services.intervals import Intervals

NOT_SENT: Final = 0
ATTEMPTED: Final = 1
"""Handed to the Kafka client, nothing heard since: unknown, when it stays so."""
ACKED: Final = 2
REJECTED: Final = 3
"""Refused for certain: the message is not in the log."""
UNKNOWN: Final = 4
"""Given up (timed out, purged, connection lost): the message may be in the log or not."""


States = NDArray[np.uint8]
"""What became of each message of a producer, by its sequence number."""


def create(path: Path, messages: int) -> None:
    """Reserves the whole file at once: a full disk is an error here, and not a crash on a later write."""
    try:
        with path.open("xb") as file:
            os.posix_fallocate(file.fileno(), 0, max(messages, 1))
    except OSError as error:
        raise ServiceError(
            f"{path}: {error.strerror}. The load keeps a byte a message there; free some space or choose another "
            "directory"
        ) from error


def opened(path: Path) -> States:
    """The producer's side: an array over the file that `create` made, written in place."""
    return np.memmap(path, dtype=np.uint8, mode="r+")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The sequence numbers of one producer by what became of them; together they are what was attempted."""

    acked: Intervals
    rejected: Intervals
    unknown: Intervals

    @property
    def attempted(self) -> int:
        """How many messages were handed to the Kafka client."""
        return len(self.acked) + len(self.rejected) + len(self.unknown)


def read(path: Path) -> Outcome:
    """What a journal says, also while or after its producer died."""
    states = np.fromfile(path, dtype=np.uint8)
    return Outcome(
        acked=_runs(states == ACKED),
        rejected=_runs(states == REJECTED),
        unknown=_runs((states == ATTEMPTED) | (states == UNKNOWN)),
    )


def _runs(chosen: NDArray[np.bool_]) -> Intervals:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], chosen, [False])).astype(np.int8)))
    return Intervals(zip(edges[0::2].tolist(), (edges[1::2] - 1).tolist(), strict=True))
