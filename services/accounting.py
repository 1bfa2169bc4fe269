"""The accounting identity: what became of every message, hop by hop, and which hop lost the ones that are missing.

    attempted = acked + rejected + unknown
    acked     is within archived + dead-lettered, and within consumed
    archived  is within acked + unknown, and so is consumed

Pure functions of counts or, better, of sequence numbers: with totals alone a loss can hide behind an unknown message
that did arrive.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.intervals import Intervals

Ids = Mapping[str, Intervals]
"""Sequence numbers by producer."""


class Hop(StrEnum):
    """Where a message can be lost after the broker has acknowledged it."""

    TO_BROKER = "producer->broker"
    """Acknowledged, and neither a consumer nor the archive has it: it is not in the log."""
    TO_CONSUMER = "broker->consumer"
    TO_ARCHIVE = "broker->archive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """Counts of one run. A stage that was not looked at is None, and nothing is said about it.

    `consumed`, `archived` and `dead_lettered` count distinct messages of the run, `duplicates` and
    `archive_duplicates` those that came again. `lost` is by hop: exact from `by_ids`, a lower bound from counts.
    `contradictions` are further findings in words, such as a rejected message that arrived.
    """

    attempted: int
    acked: int
    rejected: int
    unknown: int
    consumed: int | None = None
    archived: int | None = None
    dead_lettered: int = 0
    duplicates: int = 0
    archive_duplicates: int = 0
    lost: Mapping[Hop, int] = field(default_factory=dict)
    contradictions: tuple[str, ...] = ()

    @property
    def lost_total(self) -> int:
        """How many acknowledged messages are missing somewhere; one that is missing in two places counts twice."""
        return sum(self.lost.values())

    def check(self) -> list[str]:
        """Every identity that does not hold, in words; empty when all hold."""
        broken = list(self.contradictions)
        decided = self.acked + self.rejected + self.unknown
        if self.attempted != decided:
            broken.append(
                f"attempted is not acked + rejected + unknown: {self.attempted:,} is not "
                f"{self.acked:,} + {self.rejected:,} + {self.unknown:,} = {decided:,}"
            )
        for hop, count in self.lost.items():
            if count:
                broken.append(f"{hop} lost {count:,} acknowledged messages{_WHERE[hop]}")
        for name, count in (("consumed", self.consumed), ("archived", self.archived)):
            possible = self.acked + self.unknown
            if count is not None and count > possible:
                broken.append(
                    f"{name} is not within acked + unknown: {count:,} messages, and only "
                    f"{self.acked:,} + {self.unknown:,} = {possible:,} can be in the log"
                )
        return broken


_WHERE = {
    Hop.TO_BROKER: ": neither the consumer nor the archive has them",
    Hop.TO_CONSUMER: ": they are not among the consumed",
    Hop.TO_ARCHIVE: ": they are neither archived nor dead-lettered",
}


def by_counts(
    *,
    attempted: int,
    acked: int,
    rejected: int,
    unknown: int,
    consumed: int | None = None,
    archived: int | None = None,
    dead_lettered: int = 0,
    duplicates: int = 0,
    archive_duplicates: int = 0,
) -> Accounting:
    """The account from totals alone: what is lost at least, if all messages that arrived were acknowledged ones."""
    lost: dict[Hop, int] = {}
    if consumed is not None:
        lost[Hop.TO_CONSUMER] = max(0, acked - consumed)
    if archived is not None:
        lost[Hop.TO_ARCHIVE] = max(0, acked - archived - dead_lettered)
    return Accounting(
        attempted=attempted,
        acked=acked,
        rejected=rejected,
        unknown=unknown,
        consumed=consumed,
        archived=archived,
        dead_lettered=dead_lettered,
        duplicates=duplicates,
        archive_duplicates=archive_duplicates,
        lost=lost,
    )


def by_ids(
    *,
    attempted: Mapping[str, int],
    acked: Ids,
    rejected: Ids,
    unknown: Ids,
    consumed: Ids | None = None,
    archived: Ids | None = None,
    dead_lettered: Ids | None = None,
    dead_letters_without_id: int = 0,
    duplicates: int = 0,
    archive_duplicates: int = 0,
) -> Accounting:
    """The account message by message.

    `attempted` has each producer's count (it numbers from 0). `dead_letters_without_id` are dead letters that cannot
    be read: each may be one of the acknowledged messages that the archive lacks, so that many are not called lost.
    """
    seen = [stage for stage in (acked, rejected, unknown, consumed, archived, dead_lettered) if stage is not None]
    producers = sorted(set(attempted).union(*seen))
    missing_consumer = missing_archive = missing_both = 0
    contradictions: list[str] = []
    for name in producers:
        told = {"acked": _of(acked, name), "rejected": _of(rejected, name), "unknown": _of(unknown, name)}
        contradictions += _decided_once(name, attempted.get(name, 0), told)
        possible = told["acked"] | told["unknown"]
        in_archive = _of(archived, name) | _of(dead_lettered, name)
        for what, stage in (("consumed", _of(consumed, name)), ("archived or dead-lettered", in_archive)):
            if impossible := stage - possible:
                contradictions.append(
                    f"{what} is not within acked + unknown: {len(impossible):,} messages of {name} that were "
                    f"rejected or never sent ({_some(impossible)})"
                )
        not_consumed = told["acked"] - _of(consumed, name) if consumed is not None else Intervals()
        not_archived = told["acked"] - in_archive if archived is not None else Intervals()
        both = not_consumed & not_archived
        missing_both += len(both)
        missing_consumer += len(not_consumed - both)
        missing_archive += len(not_archived - both)
    lost: dict[Hop, int] = {}
    if consumed is not None:
        lost[Hop.TO_CONSUMER] = missing_consumer
    if archived is not None:
        lost[Hop.TO_ARCHIVE] = max(0, missing_archive - dead_letters_without_id)
    if consumed is not None and archived is not None:
        excused = max(0, dead_letters_without_id - missing_archive)
        lost[Hop.TO_BROKER] = max(0, missing_both - excused)
        lost[Hop.TO_CONSUMER] += missing_both - lost[Hop.TO_BROKER]
    return Accounting(
        attempted=sum(attempted.values()),
        acked=_count(acked),
        rejected=_count(rejected),
        unknown=_count(unknown),
        consumed=_count(consumed) if consumed is not None else None,
        archived=_count(archived) if archived is not None else None,
        dead_lettered=_count(dead_lettered or {}) + dead_letters_without_id,
        duplicates=duplicates,
        archive_duplicates=archive_duplicates,
        lost=lost,
        contradictions=tuple(contradictions),
    )


def _decided_once(name: str, attempted: int, told: Mapping[str, Intervals]) -> Iterable[str]:
    """Every attempted message is in exactly one of acked, rejected and unknown."""
    decided = Intervals()
    for what, ids in told.items():
        if twice := decided & ids:
            yield f"{len(twice):,} messages of {name} are {what} and something else as well ({_some(twice)})"
        decided |= ids
    every = Intervals.upto(attempted)
    if open_ends := every - decided:
        yield f"{len(open_ends):,} messages of {name} are neither acked nor rejected nor unknown ({_some(open_ends)})"
    if extra := decided - every:
        yield f"{len(extra):,} messages of {name} were decided and never attempted ({_some(extra)})"


def _of(stage: Ids | None, name: str) -> Intervals:
    return (stage or {}).get(name, Intervals())


def _count(stage: Ids) -> int:
    return sum(map(len, stage.values()))


def _some(ids: Intervals) -> str:
    """The first few ranges, for a message to a person."""
    ranges = [str(first) if first == last else f"{first}-{last}" for first, last in ids.ranges()]
    return "seq " + ", ".join(ranges[:3]) + (", ..." if len(ranges) > 3 else "")
