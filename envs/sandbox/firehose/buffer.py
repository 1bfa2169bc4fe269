"""What a stream holds in memory: batches on their way to the function, and the object that is being filled. Pure.

Sizes are counted before compression, and the first of size and interval that is met decides (Firehose API Reference,
BufferingHints; Developer Guide, "Understand data transformation flow"). Times are given in: a monotonic clock's
seconds.
"""

from dataclasses import dataclass, field
from typing import NamedTuple


class Record(NamedTuple):
    """One record of the topic. Times in milliseconds since the epoch."""

    value: bytes
    partition: int
    offset: int
    broker_ms: int
    arrival_ms: int


class Outcome(NamedTuple):
    """What became of a record: `data` to deliver, or the `failure` document, or neither when it was dropped."""

    record: Record
    data: bytes | None
    failure: bytes | None = None


@dataclass
class Parcel:
    """One object's worth of outcomes, with the offsets that may be committed once it is written."""

    data: list[bytes] = field(default_factory=list)
    failures: list[bytes] = field(default_factory=list)
    size: int = 0
    """Bytes of `data`, delimiters included."""
    failure_size: int = 0
    oldest_ms: int = 0
    oldest_failure_ms: int = 0
    offsets: dict[int, int] = field(default_factory=dict)
    """The next offset to read, by partition."""
    dropped: int = 0


class Batcher:
    """Collects records into batches for the function.

    A record that would take a batch over the size starts the next one, so that one large record fails alone when it
    is too large for an invocation.
    """

    def __init__(self, size_bytes: int, interval_s: float) -> None:
        self._limit = size_bytes
        self._interval = interval_s
        self._records: list[Record] = []
        self._size = 0
        self._since = 0.0

    def add(self, record: Record, now: float) -> list[Record] | None:
        """Takes a record; answers the batch that is full now, if there is one."""
        full = self.take() if self._records and self._size + len(record.value) > self._limit else None
        if not self._records:
            self._since = now
        self._records.append(record)
        self._size += len(record.value)
        return full

    def due(self, now: float) -> bool:
        """Whether there is a batch whose interval has passed."""
        return bool(self._records) and now - self._since >= self._interval

    def take(self) -> list[Record]:
        """The batch collected so far, which may be empty."""
        records, self._records, self._size = self._records, [], 0
        return records


class Buffer:
    """Collects outcomes until they make an object."""

    def __init__(self, size_bytes: int, interval_s: float, delimiter: bytes) -> None:
        self._limit = size_bytes
        self._interval = interval_s
        self._delimiter = delimiter
        self._parcel = Parcel()
        self._since = 0.0

    def add(self, outcome: Outcome, now: float) -> Parcel | None:
        """Takes an outcome; answers the parcel that is full with it, if it is."""
        parcel, record = self._parcel, outcome.record
        if not parcel.offsets:
            self._since = now
        if outcome.data is not None:
            parcel.oldest_ms = min(parcel.oldest_ms, record.arrival_ms) if parcel.data else record.arrival_ms
            parcel.data.append(outcome.data + self._delimiter)
            parcel.size += len(outcome.data) + len(self._delimiter)
        elif outcome.failure is not None:
            oldest = min(parcel.oldest_failure_ms, record.arrival_ms) if parcel.failures else record.arrival_ms
            parcel.oldest_failure_ms = oldest
            parcel.failures.append(outcome.failure)
            parcel.failure_size += len(outcome.failure)
        else:
            parcel.dropped += 1
        # Never backwards: after a rebalance a partition may be read again from an earlier offset.
        parcel.offsets[record.partition] = max(parcel.offsets.get(record.partition, 0), record.offset + 1)
        full = parcel.size >= self._limit or parcel.failure_size >= self._limit
        return self.take() if full else None

    def due(self, now: float) -> bool:
        """Whether something has waited for the interval."""
        return bool(self._parcel.offsets) and now - self._since >= self._interval

    def take(self) -> Parcel | None:
        """What has been collected so far; None when there is nothing."""
        if not self._parcel.offsets:
            return None
        parcel, self._parcel = self._parcel, Parcel()
        return parcel
