"""Batches and parcels: nothing lost, order kept, the first of size and interval decides."""

from hypothesis import given
from hypothesis import strategies as st

from envs.sandbox.firehose.buffer import Batcher, Buffer, Outcome, Parcel, Record


def record(number: int, size: int = 10, partition: int = 0, arrival_ms: int = 1000) -> Record:
    return Record(b"x" * size, partition, number, 0, arrival_ms)


@given(st.lists(st.integers(0, 30)), st.integers(1, 40))
def test_batches_hold_every_record_once_in_order_and_exceed_the_size_only_alone(sizes: list[int], limit: int) -> None:
    batcher = Batcher(limit, 60)
    batches = [batch for n, size in enumerate(sizes) if (batch := batcher.add(record(n, size), 0)) is not None]
    batches.append(batcher.take())
    assert [entry.offset for batch in batches for entry in batch] == list(range(len(sizes)))
    for batch in batches:
        assert sum(len(entry.value) for entry in batch) <= limit or len(batch) == 1


def test_a_batch_is_due_when_its_first_record_has_waited_for_the_interval() -> None:
    batcher = Batcher(100, 5)
    assert not batcher.due(1000)
    batcher.add(record(0), 10)
    batcher.add(record(1), 14)
    assert not batcher.due(14.9)
    assert batcher.due(15)
    assert len(batcher.take()) == 2
    assert not batcher.due(1000)


def test_an_interval_of_zero_lets_a_batch_go_at_once() -> None:
    batcher = Batcher(100, 0)
    batcher.add(record(0), 10)
    assert batcher.due(10)


def test_a_parcel_is_due_when_its_first_outcome_has_waited_for_the_interval() -> None:
    buffer = Buffer(1000, 60, b"\n")
    assert not buffer.due(1000)
    assert buffer.take() is None
    buffer.add(Outcome(record(0), b"a"), 100)
    assert not buffer.due(159.9)
    assert buffer.due(160)
    parcel = buffer.take()
    assert parcel is not None
    assert parcel.data == [b"a\n"]
    assert not buffer.due(10_000)


def test_dropped_records_are_committed_without_an_object() -> None:
    buffer = Buffer(1000, 60, b"")
    buffer.add(Outcome(record(7), None), 0)
    assert buffer.due(60)
    assert buffer.take() == Parcel(offsets={0: 8}, dropped=1)


outcomes = st.lists(
    st.tuples(st.sampled_from(["ok", "failed", "dropped"]), st.integers(0, 3), st.integers(0, 20), st.integers(1, 99))
)


@given(outcomes, st.integers(1, 60), st.sampled_from([b"", b"\n"]))
def test_parcels_hold_every_outcome_once_with_its_offset_and_the_oldest_arrival(
    entries: list[tuple[str, int, int, int]], limit: int, delimiter: bytes
) -> None:
    buffer = Buffer(limit, 60, delimiter)
    following = [0, 0, 0, 0]
    made = []
    for kind, partition, size, arrival_ms in entries:
        entry = record(following[partition], size, partition, arrival_ms)
        following[partition] += 1
        data = b"%d/%d" % (partition, entry.offset)
        made.append(Outcome(entry, data if kind == "ok" else None, b"F" + data if kind == "failed" else None))
    parcels, groups, group = [], [], []
    for outcome in made:
        group.append(outcome)
        if (parcel := buffer.add(outcome, 0)) is not None:
            parcels.append(parcel)
            groups.append(group)
            group = []
    if (parcel := buffer.take()) is not None:
        parcels.append(parcel)
        groups.append(group)
    assert sum(len(group) for group in groups) == len(made)
    committed: dict[int, int] = {}
    for parcel, group in zip(parcels, groups, strict=True):
        good = [outcome for outcome in group if outcome.data is not None]
        bad = [outcome for outcome in group if outcome.failure is not None]
        assert parcel.data == [outcome.data + delimiter for outcome in good if outcome.data is not None]
        assert parcel.failures == [outcome.failure for outcome in bad]
        assert parcel.dropped == len(group) - len(good) - len(bad)
        assert parcel.size == sum(map(len, parcel.data))
        assert parcel.oldest_ms == min((outcome.record.arrival_ms for outcome in good), default=0)
        assert parcel.oldest_failure_ms == min((outcome.record.arrival_ms for outcome in bad), default=0)
        for outcome in group:
            committed[outcome.record.partition] = outcome.record.offset + 1
        assert parcel.offsets == {n: committed[n] for n in {outcome.record.partition for outcome in group}}
        # Full with its last outcome, not before: the object is the smallest that meets the size.
        assert parcel is parcels[-1] or parcel.size >= limit or parcel.failure_size >= limit


def test_offsets_never_go_backwards_when_a_partition_is_read_again() -> None:
    buffer = Buffer(1000, 60, b"")
    for offset in (98, 99, 50, 51):
        buffer.add(Outcome(record(offset), b"a"), 0)
    parcel = buffer.take()
    assert parcel is not None
    assert parcel.offsets == {0: 100}
