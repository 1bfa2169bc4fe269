"""The open loop's plan: every message once, at its time, however many producers share the work."""

from hypothesis import given
from hypothesis import strategies as st

from services.simulator.schedule import Schedule


@st.composite
def plans(draw: st.DrawFn) -> list[Schedule]:
    """All parts of one load."""
    devices = draw(st.integers(1, 12))
    parts = draw(st.integers(1, devices))
    rate = draw(st.sampled_from([0.5, 1, 7, 11, 333.3, 5000, 74_000]))
    total, tick = draw(st.integers(0, 400)), draw(st.sampled_from([250, 1000, 10_000]))
    return [Schedule(rate, total, devices, tick, part, parts) for part in range(parts)]


@given(plans())
def test_the_parts_send_what_one_producer_would(plan: list[Schedule]) -> None:
    first = plan[0]
    alone = Schedule(first.rate, first.total, first.devices, first.tick_us)
    assert sum(part.planned for part in plan) == alone.planned == first.total
    assert sum(part.own_devices for part in plan) == first.devices
    due = sorted(part.due_us(seq) for part in plan for seq in range(part.planned))
    assert due == [alone.due_us(seq) for seq in range(alone.planned)]


@given(plans())
def test_a_message_is_due_in_its_tick_and_never_before_the_one_before(plan: list[Schedule]) -> None:
    first = plan[0]
    alone = Schedule(first.rate, first.total, first.devices, first.tick_us)
    due = [alone.due_us(seq) for seq in range(alone.planned)]
    assert due == sorted(due)
    for seq, at in enumerate(due):
        assert at % first.tick_us == 0
        assert at <= seq / first.rate * 1e6 + 1e-3
        assert seq / first.rate * 1e6 < at + first.tick_us + 1e-3


@given(plans())
def test_every_device_reports_at_an_even_pace(plan: list[Schedule]) -> None:
    for part in plan:
        period_us = part.devices / part.rate * 1e6
        for seq in range(part.planned - part.own_devices):
            gap = part.due_us(seq + part.own_devices) - part.due_us(seq)
            assert abs(gap - period_us) <= part.tick_us + 1
