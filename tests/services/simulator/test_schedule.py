"""The open loop's plan: every message once, at its time, however many producers share the work."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.simulator.schedule import Schedule, readings_at_once


@st.composite
def plans(draw: st.DrawFn) -> list[Schedule]:
    """All parts of one load."""
    devices = draw(st.integers(1, 12))
    parts = draw(st.integers(1, devices))
    rate = draw(st.sampled_from([0.5, 1, 7, 11, 333.3, 5000, 74_000]))
    total, tick = draw(st.integers(0, 400)), draw(st.sampled_from([250, 1000, 10_000]))
    readings = draw(st.integers(1, 9))
    return [Schedule(rate, total, devices, tick, part, parts, readings) for part in range(parts)]


def alone(plan: list[Schedule]) -> Schedule:
    """The same load from one producer."""
    one = plan[0]
    return Schedule(one.rate, one.total, one.devices, one.tick_us, readings=one.readings)


@given(plans())
def test_the_parts_send_what_one_producer_would(plan: list[Schedule]) -> None:
    one = alone(plan)
    assert sum(part.planned for part in plan) == one.planned == one.total
    assert sum(part.own_devices for part in plan) == one.devices
    due = sorted(part.due_us(seq) for part in plan for seq in range(part.planned))
    assert due == [one.due_us(seq) for seq in range(one.planned)]


@given(plans())
def test_a_message_is_due_in_its_tick_and_never_before_the_one_before(plan: list[Schedule]) -> None:
    one = alone(plan)
    due = [one.due_us(seq) for seq in range(one.planned)]
    assert due == sorted(due)
    for seq, at in enumerate(due):
        assert at % one.tick_us == 0
        assert at <= seq / one.rate * 1e6 + 1e-3
        assert seq / one.rate * 1e6 < at + one.tick_us + 1e-3


@given(plans())
def test_every_device_reports_at_an_even_pace(plan: list[Schedule]) -> None:
    for part in plan:
        cycle = part.own_devices * part.readings
        period_us = part.devices * part.readings / part.rate * 1e6
        for seq in range(part.planned - cycle):
            gap = part.due_us(seq + cycle) - part.due_us(seq)
            assert abs(gap - period_us) <= part.tick_us + 1


@given(plans())
def test_every_device_counts_its_messages_without_a_gap(plan: list[Schedule]) -> None:
    for part in plan:
        sent: Counter[int] = Counter()
        for seq in range(part.planned):
            device, device_seq = part.reading(seq)
            assert device_seq == sent[device]
            sent[device] += 1
        assert len(sent) <= part.own_devices
        counts = [sent[device] for device in range(part.own_devices)]
        assert max(counts) - min(counts) <= part.readings


def test_few_devices_send_several_messages_at_once_and_many_send_one() -> None:
    # 10 messages a tick: one device of each partition, two, and as many as the tick has messages.
    assert readings_at_once(5000, 2000, devices=6, partitions=6) == 10
    assert readings_at_once(5000, 2000, devices=12, partitions=6) == 5
    assert readings_at_once(5000, 2000, devices=60, partitions=6) == 1
    assert readings_at_once(5000, 2000, devices=3, partitions=6) == 10
    assert readings_at_once(1, 1000, devices=1, partitions=1) == 1
