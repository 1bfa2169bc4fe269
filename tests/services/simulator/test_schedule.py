"""The open loop's plan: every message once, at its time, however many producers share the work."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.simulator.profile import Profile
from services.simulator.schedule import Schedule, readings_at_once


@st.composite
def plans(draw: st.DrawFn) -> list[Schedule]:
    """All parts of one load."""
    devices = draw(st.integers(1, 12))
    parts = draw(st.integers(1, devices))
    rate = draw(st.sampled_from([0.5, 1, 7, 11, 333.3, 5000, 74_000]))
    total, tick = draw(st.integers(1, 400)), draw(st.sampled_from([250, 1000, 10_000]))
    readings = draw(st.integers(1, 9))
    profile = Profile.constant(rate, max(total, 1) / rate)
    return [Schedule(profile, devices, tick, part, parts, readings) for part in range(parts)]


def due(plan: Schedule) -> list[int]:
    """When all its messages are due."""
    return plan.due_us(np.arange(plan.planned)).tolist()


def alone(plan: list[Schedule]) -> Schedule:
    """The same load from one producer."""
    one = plan[0]
    return Schedule(one.profile, one.devices, one.tick_us, readings=one.readings)


@given(plans())
def test_the_parts_send_what_one_producer_would(plan: list[Schedule]) -> None:
    one = alone(plan)
    assert sum(part.planned for part in plan) == one.planned == one.profile.total
    assert sum(part.own_devices for part in plan) == one.devices
    assert sorted(at for part in plan for at in due(part)) == due(one)


@given(plans())
def test_a_message_is_due_in_its_tick_and_never_before_the_one_before(plan: list[Schedule]) -> None:
    one = alone(plan)
    planned, rate = due(one), one.profile.highest
    assert planned == sorted(planned)
    for seq, at in enumerate(planned):
        assert at == one.due_one_us(seq)
        assert at % one.tick_us == 0
        assert at <= seq / rate * 1e6 + 1e-2
        assert seq / rate * 1e6 < at + one.tick_us + 1e-2


@given(plans())
def test_every_device_reports_at_an_even_pace(plan: list[Schedule]) -> None:
    for part in plan:
        cycle = part.own_devices * part.readings
        period_us = part.devices * part.readings / part.profile.highest * 1e6
        planned = due(part)
        for before, after in zip(planned, planned[cycle:], strict=False):
            assert abs(after - before - period_us) <= part.tick_us + 1


@given(plans())
def test_devices_take_turns(plan: list[Schedule]) -> None:
    for part in plan:
        counts = np.bincount(part.turns(np.arange(part.planned)), minlength=part.own_devices)
        assert len(counts) == part.own_devices
        assert counts.max() - counts.min() <= part.readings


def test_few_devices_send_several_messages_at_once_and_many_send_one() -> None:
    # 10 messages a tick: one device of each partition, two, and as many as the tick has messages.
    assert readings_at_once(5000, 2000, devices=6, partitions=6) == 10
    assert readings_at_once(5000, 2000, devices=12, partitions=6) == 5
    assert readings_at_once(5000, 2000, devices=60, partitions=6) == 1
    assert readings_at_once(5000, 2000, devices=3, partitions=6) == 10
    assert readings_at_once(1, 1000, devices=1, partitions=1) == 1
