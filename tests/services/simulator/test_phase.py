"""When a producer hands messages over: together, once what is in flight has arrived, or when they have waited."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from confluent_kafka import Producer

from services.clock import Clock
from services.connection import ConnectionSpec
from services.partitions import partitions_of
from services.simulator import journal, producer
from services.simulator.feed import Feed
from services.simulator.producer import Phase, ProducerTask
from services.simulator.profile import Profile
from services.simulator.schedule import Schedule
from services.simulator.source import GeneratedSource
from services.simulator.traffic import Traffic
from services.workers import Channel

TICK_US = 1_000


class Client:
    """Takes what it is given, and has it in flight until it was asked `answers` times for news."""

    def __init__(self, clock: Clock, answers: int) -> None:
        self._clock = clock
        self._answers = answers
        self._asked = 0
        self._flying = 0
        self._together = False
        self.taken: list[list[bytes]] = []
        self.waits: list[tuple[int, int]] = []
        """At the first of those that were handed over together: what was in flight, and how late they were (us)."""

    def __len__(self) -> int:
        return self._flying

    def poll(self, _seconds: float) -> int:
        self._asked += 1
        self._together = False
        if self._asked >= self._answers:
            self._flying = 0
        return 0

    def produce_batch(self, _topic: str, messages: list[dict[str, Any]], _partition: int, **_: object) -> int:
        self.taken.append([one["value"] for one in messages])
        if not self._together:
            self.waits.append((self._flying, self._clock.now_us() - stamp_in(self.taken[-1][0], "due_us")))
        self._together = True
        self._flying += len(messages)
        self._asked = 0
        return len(messages)

    def flush(self, _seconds: float) -> int:
        self._flying = 0
        return 0


def stamp_in(value: bytes, field: str) -> int:
    """A number in a message's head."""
    return int(value.split(b'"%b":' % field.encode())[1].split(b",")[0])


class Quiet:
    """A channel of which nothing comes."""

    stopping = orphaned = False

    def say(self, *_: object, **__: object) -> None:
        """Nobody hears it."""


@pytest.fixture
def states(tmp_path: Path) -> Any:
    journal.create(tmp_path / "journal", 300)
    return journal.opened(tmp_path / "journal")


def sent(answers: int, states: Any, tmp_path: Path) -> tuple[Client, int, Phase]:
    """300 messages in 100 ms, three a tick, to a client that needs so long; also when the first one was due."""
    profile = Profile.constant(3_000, 0.1)
    clock = Clock.anchored()
    source = GeneratedSource(devices=30, rows=2)
    fleet = source.fleet(0, 1, "run-00")
    schedule = Schedule(profile, 30, TICK_US)
    task = ProducerTask(
        producer="run-00",
        connection=ConnectionSpec(bootstrap="nobody"),
        topic="telemetry",
        warmup_topic="canary",
        source=source,
        journal=tmp_path / "journal",
        clock_offset_ns=clock.offset_ns,
        profile=profile,
        warmup_profile=profile,
        traffic=Traffic(),
        real_time=False,
        devices=30,
        part=0,
        parts=1,
        tick_us=TICK_US,
        readings=1,
        connect_timeout_s=1,
        delivery_timeout_s=1,
    )
    client = Client(clock, answers)
    feed = Feed("run-00", fleet, schedule, Traffic(), partitions_of(fleet.keys, 1))
    phase = Phase(task, cast(Producer, client), feed, "telemetry", schedule, states)
    start_us = clock.now_us() + 5_000
    phase.run(cast(Channel, Quiet()), start_us)
    return client, start_us, phase


@pytest.mark.parametrize("answers", [1, 20, 10**9], ids=["at once", "after a while", "never"])
def test_nothing_is_handed_over_while_something_is_in_flight_unless_it_has_waited(
    answers: int, states: Any, tmp_path: Path
) -> None:
    client, start_us, phase = sent(answers, states, tmp_path)
    values = [value for some in client.taken for value in some]
    assert [stamp_in(value, "seq") for value in values] == list(range(300))
    assert all(start_us <= stamp_in(value, "due_us") <= stamp_in(value, "sent_us") for value in values)
    assert all(late_us >= producer._PATIENCE_US for flying, late_us in client.waits if flying)
    if answers > 20:
        # All but the first had to wait, and left all the same.
        assert [bool(flying) for flying, _ in client.waits] == [False] + [True] * (len(client.waits) - 1)
    assert phase.acked == phase.attempted == 300
    assert np.all(np.asarray(states) == journal.ACKED)
