"""The identity recovers what happened to messages, wherever they were lost or doubled."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounting import Accounting, Hop, by_counts, by_ids
from services.intervals import Intervals

GOOD = {"attempted": 10, "acked": 8, "rejected": 1, "unknown": 1, "consumed": 9, "archived": 8, "dead_lettered": 1}


@dataclass(frozen=True)
class Fate:
    """What happens to one message: what its producer hears, whether it is in the log, and who gets it how often."""

    heard: str
    in_log: bool
    consumed: int
    archived: int
    dead_lettered: bool


@st.composite
def fates(draw: st.DrawFn) -> Fate:
    """Any fate that a platform can deal: what is not in the log is nowhere, what was rejected is not in the log."""
    heard = draw(st.sampled_from(["acked", "acked", "acked", "rejected", "unknown"]))
    in_log = heard != "rejected" and draw(
        st.booleans() if heard == "unknown" else st.sampled_from([True, True, False])
    )
    consumed = draw(st.integers(0, 2)) if in_log else 0
    archived = draw(st.integers(0, 2)) if in_log else 0
    return Fate(heard, in_log, consumed, archived, in_log and not archived and draw(st.booleans()))


histories = st.dictionaries(st.sampled_from(["run-00", "run-01", "run-02"]), st.lists(fates(), max_size=30))


def account(history: dict[str, list[Fate]]) -> Accounting:
    """The account of a history as the parts of the platform would tell it."""

    def ids(chosen: str) -> dict[str, Intervals]:
        told = {
            name: Intervals.of(seq for seq, fate in enumerate(fates) if getattr(fate, chosen, fate.heard == chosen))
            for name, fates in history.items()
        }
        return {name: seen for name, seen in told.items() if seen}

    every = [fate for fates in history.values() for fate in fates]
    return by_ids(
        attempted={name: len(fates) for name, fates in history.items()},
        acked=ids("acked"),
        rejected=ids("rejected"),
        unknown=ids("unknown"),
        consumed=ids("consumed"),
        archived=ids("archived"),
        dead_lettered=ids("dead_lettered"),
        duplicates=sum(max(0, fate.consumed - 1) for fate in every),
        archive_duplicates=sum(max(0, fate.archived - 1) for fate in every),
    )


@given(histories)
def test_any_history_is_recovered_from_sequence_numbers(history: dict[str, list[Fate]]) -> None:
    made = account(history)
    acked = [fate for fates in history.values() for fate in fates if fate.heard == "acked"]
    nowhere = [fate for fate in acked if not (fate.consumed or fate.archived or fate.dead_lettered)]
    assert made.lost == {
        Hop.TO_BROKER: len(nowhere),
        Hop.TO_CONSUMER: sum(not fate.consumed for fate in acked) - len(nowhere),
        Hop.TO_ARCHIVE: sum(not (fate.archived or fate.dead_lettered) for fate in acked) - len(nowhere),
    }
    assert made.attempted == made.acked + made.rejected + made.unknown == sum(map(len, history.values()))
    assert made.contradictions == ()
    # Nothing is called broken but the losses, and every loss is.
    assert len(made.check()) == sum(count > 0 for count in made.lost.values())


@given(histories)
def test_counts_never_claim_a_loss_that_was_none(history: dict[str, list[Fate]]) -> None:
    exact = account(history)
    rough = by_counts(
        attempted=exact.attempted,
        acked=exact.acked,
        rejected=exact.rejected,
        unknown=exact.unknown,
        consumed=exact.consumed,
        archived=exact.archived,
        dead_lettered=exact.dead_lettered,
    )
    assert rough.lost[Hop.TO_CONSUMER] <= exact.lost[Hop.TO_CONSUMER] + exact.lost[Hop.TO_BROKER]
    assert rough.lost[Hop.TO_ARCHIVE] <= exact.lost[Hop.TO_ARCHIVE] + exact.lost[Hop.TO_BROKER]


@given(histories, st.sampled_from(["run-00", "run-01"]), st.integers(0, 40))
def test_a_message_that_cannot_be_there_is_told(history: dict[str, list[Fate]], name: str, seq: int) -> None:
    """A rejected message, or one that nobody sent, turns up at the consumer."""
    fates = history.get(name, [])
    made = by_ids(
        attempted={name: len(fates)},
        acked={name: Intervals.of(n for n, fate in enumerate(fates) if fate.heard == "acked")},
        rejected={name: Intervals.of(n for n, fate in enumerate(fates) if fate.heard == "rejected")},
        unknown={name: Intervals.of(n for n, fate in enumerate(fates) if fate.heard == "unknown")},
        consumed={name: Intervals.of([seq])},
    )
    possible = seq < len(fates) and fates[seq].heard != "rejected"
    assert any("consumed is not within acked + unknown" in text for text in made.check()) == (not possible)


def test_all_identities_hold() -> None:
    assert by_counts(**GOOD).check() == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"attempted": 11}, "attempted is not acked + rejected + unknown: 11 is not 8 + 1 + 1 = 10"),
        ({"consumed": 7}, "broker->consumer lost 1 acknowledged messages"),
        (
            {"archived": 5},
            "broker->archive lost 2 acknowledged messages: they are neither archived nor dead",
        ),
        ({"consumed": 10}, "consumed is not within acked + unknown: 10 messages, and only 8 + 1 = 9"),
        ({"archived": 10}, "archived is not within acked + unknown: 10 messages, and only 8 + 1 = 9"),
    ],
)
def test_each_broken_identity_is_named(change: dict[str, int], text: str) -> None:
    found = by_counts(**{**GOOD, **change}).check()
    assert len(found) == 1
    assert text in found[0]


def test_a_stage_that_was_not_looked_at_is_not_judged() -> None:
    made = by_counts(attempted=5, acked=5, rejected=0, unknown=0)
    assert made.check() == []
    assert made.lost == {}


def test_a_message_with_two_fates_and_one_without() -> None:
    made = by_ids(
        attempted={"run-00": 4},
        acked={"run-00": Intervals([(0, 2)])},
        rejected={"run-00": Intervals([(2, 2)])},
        unknown={},
    )
    assert "1 messages of run-00 are rejected and something else as well (seq 2)" in made.check()
    assert "1 messages of run-00 are neither acked nor rejected nor unknown (seq 3)" in made.check()


def test_unreadable_dead_letters_excuse_as_many_missing_in_the_archive() -> None:
    every = {"run-00": Intervals.upto(10)}
    told = {"attempted": {"run-00": 10}, "acked": every, "rejected": {}, "unknown": {}, "consumed": every}
    made = by_ids(**told, archived={"run-00": Intervals.upto(7)}, dead_letters_without_id=2)
    assert made.lost == {Hop.TO_ARCHIVE: 1, Hop.TO_CONSUMER: 0, Hop.TO_BROKER: 0}
    assert by_ids(**told, archived={"run-00": Intervals.upto(7)}, dead_letters_without_id=3).check() == []
