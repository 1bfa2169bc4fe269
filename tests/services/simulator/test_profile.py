"""A load's rate over time: every form sends what its curve says, when it says so."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.simulator.profile import Profile, ProfileError


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """Any polygon, steps and silences in it."""
    gaps = draw(st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.0]), min_size=1, max_size=6))
    rates = draw(st.lists(st.sampled_from([0.0, 1.0, 10.0, 500.0]), min_size=len(gaps) + 1, max_size=len(gaps) + 1))
    times = np.concatenate(([0.0], np.cumsum(gaps)))
    sent = np.sum(np.diff(times) * (np.asarray(rates[1:]) + rates[:-1]) / 2)
    if sent < 1:
        return Profile.constant(10, 1)
    return Profile(seconds=tuple(times.tolist()), rates=tuple(rates))


def sent_by(profile: Profile, second: float) -> float:
    """The area under the curve up to `second`, by a fine sum."""
    total = 0.0
    for (t0, r0), (t1, r1) in zip(
        zip(profile.seconds, profile.rates, strict=True),
        zip(profile.seconds[1:], profile.rates[1:], strict=True),
        strict=False,
    ):
        if t1 > t0 and second > t0:
            end = min(second, t1)
            at_end = r0 + (r1 - r0) * (end - t0) / (t1 - t0)
            total += (end - t0) * (r0 + at_end) / 2
    return total


@given(profiles())
def test_a_message_is_due_when_as_many_were_to_be_sent(profile: Profile) -> None:
    numbers = np.arange(profile.total)
    due = profile.when_us(numbers)
    assert (np.diff(due) >= 0).all()
    assert due[0] >= 0
    assert due[-1] <= profile.length * 1e6
    for number, at in zip(numbers.tolist(), due.tolist(), strict=True):
        # A microsecond of the highest rate is what rounding down to whole microseconds may be off.
        assert sent_by(profile, at / 1e6) <= number + 1e-3
        assert sent_by(profile, (at + 1) / 1e6) >= number - 1e-3


@pytest.mark.parametrize(
    ("text", "total", "highest"),
    [
        ("5000", 50_000, 5000),
        ("steps:100,200,300", 2000, 300),
        ("ramp:0-1000", 5000, 1000),
        ("burst:100-1000", 2800, 1000),
        ("daily:1000", 6000, 1000),
    ],
)
def test_the_forms_that_a_user_writes(text: str, total: int, highest: float) -> None:
    made = Profile.parse(text, 10)
    assert made.length == 10
    assert made.total == pytest.approx(total, abs=2)
    assert made.highest == pytest.approx(highest, rel=1e-3)
    assert made.mean == pytest.approx(total / 10, rel=1e-3)


def test_a_file_says_when_how_many(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text("seconds, rate\n0,10\n5,10\n5,0\n10,20\n")
    made = Profile.parse(str(path), 1)
    assert (made.length, made.total, made.highest) == (10, 100, 20)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0,10\n", "line 1: a load profile starts with the header seconds,rate"),
        ("seconds,rate\n0,10\n5,many\n", "line 3: two numbers are needed"),
        ("seconds,rate\n0,10\n", "two corners at least"),
        ("seconds,rate\n1,10\n2,10\n", "start at 0 and ascend"),
        ("seconds,rate\n0,10\n2,10\n1,10\n", "start at 0 and ascend"),
        ("seconds,rate\n0,10\n2,-1\n", "not negative"),
        ("seconds,rate\n0,0\n2,0\n", "one message at least"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "day.csv"
    path.write_text(content)
    with pytest.raises(ProfileError, match=message):
        Profile.parse(str(path), 1)


@pytest.mark.parametrize("text", ["steps:", "ramp:5", "burst:a-b", "daily:", "0", "-5"])
def test_a_form_that_is_not_understood_is_told_with_those_that_are(text: str) -> None:
    with pytest.raises(ProfileError, match="There are: RATE"):
        Profile.parse(text, 10)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"nowhere\.csv cannot be read as a load profile"):
        Profile.parse(str(tmp_path / "nowhere.csv"), 10)
