"""Loss, duplicates and order are found in any arrival, however messages were shuffled, dropped and doubled."""

from hypothesis import given
from hypothesis import strategies as st

from services.consumer.tracker import Tracker
from services.intervals import Intervals


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[int, list[int]]:
    """How many messages were sent, and those that arrive in order of arrival."""
    sent = draw(st.integers(0, 40))
    return sent, draw(st.lists(st.integers(0, sent - 1), max_size=60)) if sent else []


@given(arrivals(), st.integers(1, 4))
def test_any_arrival_is_recovered(arrival: tuple[int, list[int]], devices: int) -> None:
    sent, arrived = arrival
    tracker = Tracker("run")
    reordered, seen, last = 0, set[int](), dict[int, int]()
    for seq in arrived:
        device = seq % devices
        assert tracker.see("run-00", seq, f"car-{device}", seq // devices) == (seq not in seen)
        if seq not in seen:
            reordered += seq < last.get(device, -1)
            last[device] = max(seq, last.get(device, -1))
        seen.add(seq)
    received = tracker.received.get("run-00", Intervals())
    assert set(received) == seen
    assert set(Intervals.upto(sent) - received) == set(range(sent)) - seen
    assert tracker.duplicates == len(arrived) - len(seen)
    assert tracker.reordered == reordered


def test_other_runs_are_not_counted() -> None:
    tracker = Tracker("run-1")
    assert tracker.see("run-1-00", 0, "car", 0) is True
    for producer in ("run-00", "run-1", "run-1-", "run-1-x1", "run-12-00", "other-run-1-00"):
        assert tracker.see(producer, 0, "car", 0) is None
    assert tracker.received.keys() == {"run-1-00"}


def test_partitions_that_overtake_each_other_are_no_loss_and_no_disorder() -> None:
    tracker = Tracker("run")
    for seq in [*range(0, 1000, 2), *range(1, 1000, 2)]:
        tracker.see("run-00", seq, f"car-{seq % 2}", seq // 2)
    assert tracker.received["run-00"].ranges() == [(0, 999)]
    assert (tracker.duplicates, tracker.reordered) == (0, 0)


def test_producers_of_a_run_on_several_hosts_are_its_own() -> None:
    tracker = Tracker("run")
    assert [tracker.is_own(name) for name in ("run-00", "runh03-00", "run2-00", "runh-00", "xrun-00", "run-x")] == [
        *(True, True),
        *(False, False, False, False),
    ]
