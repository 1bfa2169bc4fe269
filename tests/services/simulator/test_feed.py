"""A producer's messages as they leave: real messages, in order of each device, spread as the seed and the mix say."""

from collections import Counter, defaultdict
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services import contract
from services.consumer.head import read_head
from services.errors import ServiceError
from services.partitions import partition_of, partitions_of
from services.simulator.feed import Feed
from services.simulator.profile import Profile
from services.simulator.schedule import Schedule
from services.simulator.source import GeneratedSource
from services.simulator.traffic import Order, Traffic

START_US: Final = 1_764_000_000_000_000
PARTITIONS: Final = 6


def sent(
    traffic: Traffic,
    *,
    devices: int = 30,
    messages: int = 3000,
    rate: float = 10_000,
    size: int | None = None,
    part: int = 0,
    parts: int = 1,
    readings: int = 1,
) -> list[tuple[int, bytes, bytes]]:
    """Everything that one producer sends: partition, key and message, in order."""
    source = GeneratedSource(devices=devices, rows=4, size=size)
    fleet = source.fleet(part, parts, "run-00")
    schedule = Schedule(Profile.constant(rate, messages / rate), devices, 1000, part, parts, readings)
    feed = Feed("run-00", fleet, schedule, traffic, partitions_of(fleet.keys, PARTITIONS))
    found: list[tuple[int, bytes, bytes]] = []
    for block in feed.blocks(START_US):
        for group in block.groups:
            values = feed.send(block, group, START_US + group.due_us + 7)
            keys = block.keys[group.start : group.end]
            assert all(feed.seq_of(value) == block.first + group.start + at for at, value in enumerate(values))
            found += [(group.partition, key, value) for key, value in zip(keys, values, strict=True)]
    return found


def chi_square(observed: list[int], expected: list[float]) -> float:
    """Pearson's statistic by its degrees of freedom, in standard deviations from its mean."""
    freedom = len(observed) - 1
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    return (statistic - freedom) / (2 * freedom) ** 0.5


@settings(max_examples=30)
@given(
    st.sampled_from(["turn", "random", "in-step"]),
    st.integers(1, 40),
    st.integers(1, 3),
    st.integers(1, 700),
    st.integers(1, 4),
)
def test_every_message_keeps_the_contract_and_every_device_its_order(
    order: Order, devices: int, parts: int, messages: int, readings: int
) -> None:
    parts = min(parts, devices)
    seqs = 0
    for part in range(parts):
        next_of: Counter[str] = Counter()
        last_due = 0
        made = sent(
            Traffic(order=order), devices=devices, messages=messages, part=part, parts=parts, readings=readings
        )
        for seq, (partition, key, value) in enumerate(made):
            message = contract.parse(value)
            assert (message.producer, message.seq) == ("run-00", seq)
            assert message.device == key.decode()
            assert partition == partition_of(key, PARTITIONS)
            assert message.device_seq == next_of[message.device]
            next_of[message.device] += 1
            assert message.due_us >= last_due
            assert (message.event_us, message.sent_us) == (message.due_us, message.due_us + 7)
            last_due = message.due_us
        seqs += len(made)
    assert seqs == messages


@pytest.mark.parametrize("size", [200, 500, 4096, 65_536])
def test_messages_have_exactly_the_size_that_was_asked_for(size: int) -> None:
    made = sent(Traffic(), messages=100, size=size)
    assert {len(value) for _, _, value in made} == {size}
    assert all(contract.parse(value).signals for _, _, value in made)


def test_a_size_too_small_for_a_message_is_refused_with_the_least() -> None:
    with pytest.raises(ServiceError, match=r"has \d+ bytes at least: 150 are too few"):
        sent(Traffic(), size=150)


def test_the_same_seed_gives_the_same_messages_and_another_seed_others() -> None:
    mix = Traffic(order="random", skew=1, churn=0.5, late=0.2, disordered=0.1, poison=0.01)
    assert sent(mix) == sent(mix)
    assert sent(mix) != sent(mix.model_copy(update={"seed": 2}))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("skew", [0.0, 0.7, 1.2])
def test_devices_send_as_often_as_their_rank_says(seed: int, skew: float) -> None:
    devices, messages = 30, 30_000
    made = Counter(key for _, key, _ in sent(Traffic(order="random", skew=skew, seed=seed), messages=messages))
    # The producer takes its devices in the order of their number: car-00000 is the busiest one.
    weights = np.arange(1, devices + 1) ** -skew
    expected = (weights / weights.sum() * messages).tolist()
    observed = [made[f"car-{number:05d}".encode()] for number in range(devices)]
    # Six standard deviations: of 15 tests one in a hundred million fails by chance.
    assert abs(chi_square(observed, expected)) < 6


@pytest.mark.parametrize("seed", range(3))
def test_a_random_fleet_spreads_over_the_partitions_as_its_devices_do(seed: int) -> None:
    devices, messages = 300, 30_000
    made = sent(Traffic(order="random", seed=seed), devices=devices, messages=messages)
    own = Counter(partition_of(f"car-{number:05d}".encode(), PARTITIONS) for number in range(devices))
    observed = Counter(partition for partition, _, _ in made)
    assert abs(chi_square([observed[p] for p in own], [messages * own[p] / devices for p in own])) < 6


def test_devices_in_step_share_a_partition_with_each_tick() -> None:
    by_tick: defaultdict[int, set[int]] = defaultdict(set)
    for partition, _, value in sent(Traffic(order="in-step"), devices=200):
        by_tick[read_head(value)[3]].add(partition)
    assert all(len(partitions) == 1 for partitions in by_tick.values())
    assert set.union(*by_tick.values()) == set(range(PARTITIONS))


def test_half_of_the_devices_are_active_and_others_take_their_place() -> None:
    devices, rate = 1000, 50.0
    made = sent(Traffic(order="random", churn=0.5), devices=devices, messages=3000, rate=rate)
    early = {key for _, key, value in made if read_head(value)[3] < START_US + 6_000_000}
    late = {key for _, key, value in made if read_head(value)[3] >= START_US + 54_000_000}
    # 500 at a time, half of them replaced in a minute.
    assert all(int(key[-5:]) < 530 for key in early)
    assert all(220 <= int(key[-5:]) < 755 for key in late)


def test_late_devices_lag_and_the_others_do_not() -> None:
    lags: defaultdict[str, set[int]] = defaultdict(set)
    for _, _, value in sent(Traffic(late=0.3, late_seconds=60), devices=200):
        message = contract.parse(value)
        lags[message.device].add(message.due_us - message.event_us)
    late = [device for device, found in lags.items() if found != {0}]
    assert 30 <= len(late) <= 90
    assert all(max(lags[device]) <= 60_000_000 for device in late)


def test_disordered_devices_swap_their_readings_in_pairs() -> None:
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for _, _, value in sent(Traffic(disordered=0.5), devices=20, messages=200):
        message = contract.parse(value)
        numbers[message.device].append(message.device_seq)
    swapped = [found for found in numbers.values() if found == [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]]
    assert 4 <= len(swapped) <= 16
    assert sum(found == list(range(10)) for found in numbers.values()) == 20 - len(swapped)


def test_poison_is_no_message_and_duplicates_are_chosen() -> None:
    made = sent(Traffic(poison=0.1), messages=5000)
    broken = 0
    for _, _, value in made:
        try:
            contract.parse(value)
        except contract.ContractError:
            broken += 1
            # Whose it was can be told all the same.
            assert read_head(value)[0] == "run-00"
    assert 350 <= broken <= 650


def test_the_faults_of_a_device_do_not_depend_on_how_the_fleet_is_split() -> None:
    def late(parts: int) -> set[str]:
        found: set[str] = set()
        for part in range(parts):
            for _, _, value in sent(Traffic(late=0.3), devices=60, messages=600, part=part, parts=parts):
                message = contract.parse(value)
                if message.event_us != message.due_us:
                    found.add(message.device)
        return found

    assert late(1) == late(2) == late(3)
