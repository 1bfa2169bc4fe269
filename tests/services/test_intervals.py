"""Ranges behave like the sets they stand for."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.intervals import Intervals

numbers = st.lists(st.integers(0, 60), max_size=80)


@given(numbers)
def test_adding_one_by_one(members: list[int]) -> None:
    made, reference = Intervals(), set[int]()
    for member in members:
        assert made.add(member) == (member not in reference)
        reference.add(member)
    assert list(made) == sorted(reference)
    assert len(made) == len(reference)
    assert all(number in made for number in reference)
    assert -1 not in made
    assert 61 not in made


@given(numbers)
def test_ranges_never_touch_and_rebuild_the_set(members: list[int]) -> None:
    made = Intervals.of(members)
    ranges = made.ranges()
    assert all(one[1] + 1 < other[0] for one, other in pairwise(ranges))
    assert Intervals(reversed(ranges)) == made
    assert len(made) == len(set(members))


@given(numbers, numbers)
def test_set_algebra(one: list[int], other: list[int]) -> None:
    left, right = Intervals.of(one), Intervals.of(other)
    assert set(left | right) == set(one) | set(other)
    assert set(left & right) == set(one) & set(other)
    assert set(left - right) == set(one) - set(other)


@given(st.integers(0, 50))
def test_upto(stop: int) -> None:
    assert list(Intervals.upto(stop)) == list(range(stop))
