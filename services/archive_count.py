"""Counts what the archive holds: messages, duplicates and dead letters, read once each.

Counting is incremental: an object is read once and remembered by key and ETag, so that a caller that waits for the
archive can ask again and again. Memory grows with the gaps between sequence numbers, not with the messages.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services import contract
from services.archive import Kind, ObjectError, Problem, identity, objects, parse_dead_letter, read
from services.errors import ServiceError
from services.intervals import Intervals

_BATCH: Final = 50_000


@dataclass(frozen=True, slots=True)
class ProducerCount:
    """What the archive holds of one producer."""

    records: int
    unique: int


@dataclass(frozen=True, slots=True)
class ArchiveCount:
    """What the archive holds, of one run or of all: `unique` counts (producer, seq) pairs, `ids` names them."""

    objects: int
    records: int
    unique: int
    other_runs: int
    by_producer: dict[str, ProducerCount]
    ids: Mapping[str, Intervals]
    problems: tuple[Problem, ...]

    @property
    def duplicates(self) -> int:
        """Records beyond the first of each message."""
        return self.records - self.unique


@dataclass(frozen=True, slots=True)
class DeadLetterCount:
    """What the error prefix holds."""

    objects: int
    records: int
    by_code: dict[str, int]
    problems: tuple[Problem, ...]


class _Incremental(ABC):
    """Reads every object below a prefix once, and everything again when a known object changed or went."""

    def __init__(self, s3: Any, bucket: str, prefix: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._prefix = prefix
        self._known: dict[str, str] = {}
        self._problems: list[Problem] = []

    def _update(self) -> None:
        found = {entry.key: entry.etag for entry in objects(self._s3, self._bucket, self._prefix)}
        if any(found.get(key) != etag for key, etag in self._known.items()):
            self._start_over()
        for key, etag in found.items():
            if key not in self._known:
                try:
                    self._read(key)
                except ServiceError:
                    # Half of an object may have been counted by now.
                    self._start_over()
                    raise
                self._known[key] = etag

    def _start_over(self) -> None:
        self._known.clear()
        self._problems.clear()
        self._reset()

    def _read(self, key: str) -> None:
        reasons: dict[Kind, str] = {}
        refused: Counter[Kind] = Counter()
        lines = 0
        try:
            for line in read(self._s3, self._bucket, key):
                lines += 1
                try:
                    self._take(line)
                except contract.ContractError as error:
                    kind = Kind.UNDELIMITED if b"}{" in line else Kind.FOREIGN
                    reasons.setdefault(kind, str(error)[:200])
                    refused[kind] += 1
            if not lines:
                self._problems.append(Problem(key, Kind.EMPTY, "holds no record"))
        except ObjectError as error:
            self._problems.append(Problem(key, error.kind, error.detail))
        self._problems += [Problem(key, kind, reasons[kind], number) for kind, number in refused.items()]

    @abstractmethod
    def _reset(self) -> None: ...

    @abstractmethod
    def _take(self, line: bytes) -> None: ...


class ArchiveCounter(_Incremental):
    """Counts the archived messages below a prefix; with `run` only those of producers named ``<run>-...``."""

    def __init__(self, s3: Any, bucket: str, prefix: str, run: str | None = None) -> None:
        super().__init__(s3, bucket, prefix)
        self._names = f"{run}-" if run is not None else ""
        self._reset()

    def update(self) -> ArchiveCount:
        """Reads what is new and answers all counts. Raises `ServiceError` when S3 does not answer."""
        self._update()
        self._settle()
        by_producer = {
            name: ProducerCount(self._records[name], len(self._seen[name])) for name in sorted(self._records)
        }
        return ArchiveCount(
            objects=len(self._known),
            records=sum(count.records for count in by_producer.values()),
            unique=sum(count.unique for count in by_producer.values()),
            other_runs=self._other_runs,
            by_producer=by_producer,
            ids=dict(self._seen),
            problems=tuple(self._problems),
        )

    def _reset(self) -> None:
        self._records: Counter[str] = Counter()
        self._seen: dict[str, Intervals] = {}
        self._pending: dict[str, list[int]] = {}
        self._other_runs = 0

    def _take(self, line: bytes) -> None:
        producer, seq = identity(line)
        if not producer.startswith(self._names):
            self._other_runs += 1
            return
        pending = self._pending.setdefault(producer, [])
        pending.append(seq)
        self._records[producer] += 1
        if len(pending) >= _BATCH:
            self._settle()

    def _settle(self) -> None:
        for producer, numbers in self._pending.items():
            self._seen[producer] = self._seen.get(producer, Intervals()) | Intervals.of(numbers)
        self._pending = {}


class DeadLetterCounter(_Incremental):
    """Counts the dead letters below an error prefix."""

    def __init__(self, s3: Any, bucket: str, prefix: str) -> None:
        super().__init__(s3, bucket, prefix)
        self._reset()

    def update(self) -> DeadLetterCount:
        """Reads what is new and answers all counts. Raises `ServiceError` when S3 does not answer."""
        self._update()
        return DeadLetterCount(len(self._known), self._codes.total(), dict(self._codes), tuple(self._problems))

    def _reset(self) -> None:
        self._codes: Counter[str] = Counter()

    def _take(self, line: bytes) -> None:
        self._codes[parse_dead_letter("", line).code] += 1
