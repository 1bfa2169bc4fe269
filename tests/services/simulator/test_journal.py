"""The journal says what became of every message, also of a producer that was killed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import ServiceError
from services.simulator import journal


@given(states=st.lists(st.sampled_from(range(5)), max_size=60))
def test_every_message_has_one_outcome(tmp_path_factory: pytest.TempPathFactory, states: list[int]) -> None:
    path = tmp_path_factory.mktemp("journal") / "run-00.journal"
    journal.create(path, len(states))
    record = journal.opened(path)
    for seq, state in enumerate(states):
        record[seq] = state
    # Read while the producer still has it open, as after a kill.
    made = journal.read(path)
    assert list(made.acked) == [seq for seq, state in enumerate(states) if state == journal.ACKED]
    assert list(made.rejected) == [seq for seq, state in enumerate(states) if state == journal.REJECTED]
    unknown = (journal.ATTEMPTED, journal.UNKNOWN)
    assert list(made.unknown) == [seq for seq, state in enumerate(states) if state in unknown]
    assert made.attempted == sum(state != journal.NOT_SENT for state in states)


def test_a_journal_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="choose another directory"):
        journal.create(tmp_path / "missing" / "run-00.journal", 10)
    with pytest.raises(ServiceError, match="free some space"):
        journal.create(tmp_path / "run-00.journal", 1 << 62)
