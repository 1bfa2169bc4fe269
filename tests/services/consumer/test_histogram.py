"""Histograms merge exactly, and say what they were given."""

import math

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from services.consumer.histogram import HIGHEST_US, Distribution, Recorder

latencies = st.integers(0, 20) | st.integers(900, 5000) | st.integers(0, 2 * HIGHEST_US)
samples = st.lists(st.tuples(st.integers(0, 3), latencies), max_size=40)


def direct(values: list[int]) -> Distribution:
    """All values recorded one by one."""
    made = Distribution()
    for value in values:
        made.record(value)
    return made


def same(one: Distribution, other: Distribution) -> bool:
    """Whether two distributions say the same of everything."""
    percents = (0.1, 25, 50, 75, 90, 99, 99.6, 99.9, 100)
    return (
        one.count == other.count
        and one.summary() == other.summary()
        and one.percentiles_ms(*percents) == other.percentiles_ms(*percents)
    )


@settings(max_examples=25)
@given(samples, st.integers(0, 4))
def test_seconds_merge_into_what_direct_recording_gives(values: list[tuple[int, int]], pack_at: int) -> None:
    recorder, merged = Recorder(), Distribution()
    for start in range(0, len(values), 7):
        batch = np.asarray(values[start : start + 7], dtype=np.int64)
        recorder.record(batch[:, 0], batch[:, 1])
        if start % 2:
            # Some seconds are packed while messages of theirs are still to come.
            recorder.pack_before(pack_at)
    for second, made in recorder.distributions():
        expected = [value for at, value in values if at == second]
        assert same(made, direct(expected))
        assert made.max_us == max(expected)
        merged.add(Distribution.decode(made.encode()))
    assert same(merged, direct([value for _, value in values]))


@settings(max_examples=25)
@given(st.lists(st.integers(1, HIGHEST_US), min_size=1, max_size=40), st.sampled_from([50.0, 99.0, 100.0]))
def test_percentiles_are_those_of_the_values_at_three_digits(values: list[int], percent: float) -> None:
    (found,) = direct(values).percentiles_ms(percent)
    rank = max(1, int(percent * len(values) / 100 + 0.5))
    exact = sorted(values)[rank - 1] / 1000
    assert exact <= found <= exact * 1.001


def test_percentiles_come_in_the_order_they_were_asked_for() -> None:
    made = direct(list(range(1, 1001)))
    assert made.percentiles_ms(99, 50) == [0.99, 0.5]


def test_shares_count_what_is_at_the_limit() -> None:
    made = direct([999, 1000, 1001, 10_000, 10_100, 100_000, 200_000, 300_000])
    assert [made.share_within(limit) for limit in (1, 10, 100)] == [2 / 8, 4 / 8, 6 / 8]
    assert made.summary()["max"] == 300.0


def test_an_empty_distribution_is_no_failure() -> None:
    made = Distribution()
    assert made.percentiles_ms(50, 99) == [0.0, 0.0]
    assert made.share_within(1) == 1.0
    assert same(Distribution.decode(made.encode()), made)


def test_other_tools_can_read_the_encoding() -> None:
    encoded = direct([5, 5, 7000]).encode()["hdr"]
    decoded = HdrHistogram.decode(encoded)
    assert decoded.get_total_count() == 3
    assert decoded.get_count_at_value(5) == 2


def test_a_latency_below_zero_counts_as_zero_and_is_told() -> None:
    recorder = Recorder()
    recorder.record(np.asarray([1]), np.asarray([-5]))
    ((_, made),) = recorder.distributions()
    assert (recorder.negative, made.count, made.max_us) == (1, 1, 0)


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=60))
def test_a_glance_at_a_running_second(values: list[int]) -> None:
    recorder = Recorder()
    recorder.record(np.full(len(values), 9), np.asarray(values))
    ordered = sorted(values)

    def at(share: float) -> float:
        return ordered[max(0, math.ceil(len(values) * share) - 1)] / 1000

    assert recorder.glance(9) == pytest.approx([at(0.5), at(0.99), ordered[-1] / 1000])
    assert recorder.glance(8) == []
