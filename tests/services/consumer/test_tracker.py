"""Loss, duplicates and order are found in any arrival, however messages were shuffled, dropped and doubled."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.consumer.heads import Heads
from services.consumer.tracker import Seen, Tracker
from services.contract import warm_up_of
from services.intervals import Intervals

Row = tuple[int, str, int]
"""seq, device, device_seq"""


def heads(rows: list[Row], producer: str = "run-00") -> Heads:
    """A batch of one producer."""
    seqs, devices, device_seqs = zip(*rows, strict=True)
    zeros = np.zeros(len(rows), dtype=np.int64)
    return Heads(
        producer,
        places=np.arange(len(rows)),
        seqs=np.asarray(seqs, dtype=np.int64),
        device_seqs=np.asarray(device_seqs, dtype=np.int64),
        due_us=zeros,
        sent_us=zeros,
        devices=np.asarray([name.encode() for name in devices], dtype=np.bytes_),
    )


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[int, list[list[int]]]:
    """How many messages were sent, and those that arrive in order of arrival, batch by batch."""
    sent = draw(st.integers(0, 40))
    arrived = draw(st.lists(st.integers(0, sent - 1), max_size=60)) if sent else []
    left, batches = iter(arrived), list[list[int]]()
    while batch := list(islice(left, draw(st.integers(1, 15)))):
        batches.append(batch)
    return sent, batches


@pytest.mark.parametrize("name", ["car-{:05d}", "truck{}", "van {} of the fleet", "{}"])
@given(arrivals(), st.integers(1, 4), st.sampled_from([0, (1 << 16) - 20]))
def test_any_arrival_is_recovered(name: str, arrival: tuple[int, list[list[int]]], devices: int, first: int) -> None:
    sent, batches = arrival
    tracker = Tracker("run")
    reordered, seen, last = 0, set[int](), dict[int, int]()
    for batch in batches:
        expected: list[bool] = []
        for seq in batch:
            device = seq % devices
            expected.append(seq not in seen)
            if seq not in seen:
                reordered += seq < last.get(device, -1)
                last[device] = max(seq, last.get(device, -1))
            seen.add(seq)
        rows = [(first + seq, name.format(seq % devices), seq // devices) for seq in batch]
        found = tracker.see(heads(rows))
        assert found is not None
        assert found.tolist() == expected
    received = tracker.received.get("run-00", Intervals())
    assert {seq - first for seq in received} == seen
    assert tracker.duplicates == sum(map(len, batches)) - len(seen)
    assert tracker.reordered == reordered
    assert sent >= len(seen)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 1 << 22), min_size=1, max_size=200), st.integers(1, 50))
def test_numbers_far_apart_are_kept_as_ranges(numbers: list[int], batch: int) -> None:
    seen, known = Seen(), set[int]()
    for start in range(0, len(numbers), batch):
        some = numbers[start : start + batch]
        new = seen.add(np.asarray(some, dtype=np.int64))
        assert new.tolist() == [number not in known and number not in some[:at] for at, number in enumerate(some)]
        known.update(some)
    assert set(seen.intervals()) == known


def test_memory_is_bounded_by_the_gaps() -> None:
    seen = Seen()
    for start in range(0, 10_000_000, 50_000):
        assert seen.add(np.arange(start, start + 50_000)).all()
    assert len(seen._open) <= 1
    assert seen.intervals().ranges() == [(0, 9_999_999)]


def test_other_runs_are_not_counted_and_the_warm_up_is_apart() -> None:
    tracker = Tracker("run-1")
    assert tracker.see(heads([(0, "car", 0)], "run-1-00")) is not None
    for producer in ("run-00", "run-1", "run-1-", "run-1-x1", "run-12-00", "other-run-1-00"):
        assert tracker.see(heads([(0, "car", 0)], producer)) is None
    assert tracker.see(heads([(0, "car", 0), (1, "car", 1)], warm_up_of("run-1-00"))) is None
    assert tracker.received.keys() == {"run-1-00"}
    assert (tracker.foreign, tracker.warmup) == (6, 2)


def test_partitions_that_overtake_each_other_are_no_loss_and_no_disorder() -> None:
    tracker = Tracker("run")
    for seq in [*range(0, 1000, 2), *range(1, 1000, 2)]:
        tracker.see(heads([(seq, f"car-{seq % 2}", seq // 2)]))
    assert tracker.received["run-00"].ranges() == [(0, 999)]
    assert (tracker.duplicates, tracker.reordered) == (0, 0)


def test_producers_of_a_run_on_several_hosts_are_its_own() -> None:
    tracker = Tracker("run")
    for producer in ("run-00", "runh03-00", "run2-00", "runh-00", "xrun-00", "run-x"):
        tracker.see(heads([(0, "car", 0)], producer))
    tracker.see(heads([(0, "car", 0)], warm_up_of("runh03-00")))
    assert tracker.received.keys() == {"run-00", "runh03-00"}
    assert (tracker.foreign, tracker.warmup) == (4, 1)
