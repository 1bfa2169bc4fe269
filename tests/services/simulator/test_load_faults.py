"""Faults under load, on Apache Kafka itself: whatever happens, the account is exact and says what was lost where."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from benchmarks.brokers import Cluster, cluster
from envs import toolchain
from services import accounting, contract
from services.accounting import Accounting
from services.clock import Clock
from services.consumer.measure import Consume, ConsumeResult, ConsumeSpec
from services.intervals import Intervals
from services.simulator.load import Load, LoadSpec
from services.simulator.result import LoadProgress, LoadResult
from services.simulator.source import GeneratedSource

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("load-faults")]

PARTITIONS: Final = 3
KILLS: Final = 5
SMALL: Final = GeneratedSource(devices=20, rows=20)


JVM: Final = ("-Xms512m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:-AlwaysPreTouch")
"""A broker that is started often, and not for speed."""
FORGET_SOON: Final = {"broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "500"}
"""A broker that was killed is registered anew only once its controller has given up the one before it."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One for all: each test leaves it running, and has a topic of its own."""
    with cluster(toolchain.find(), tmp_path_factory.mktemp("kafka"), jvm=JVM, properties=FORGET_SOON) as running:
        running.create_topic("canary", PARTITIONS)
        yield running


@pytest.fixture
def topic(broker: Cluster, request: pytest.FixtureRequest) -> str:
    name = re.sub(r"\W", "-", request.node.name)[:60]
    broker.create_topic(name, PARTITIONS)
    return name


def load_spec(broker: Cluster, topic: str, **changes: Any) -> LoadSpec:
    """A load without end, which the test ends: 500 messages/s from two processes."""
    usual: dict[str, Any] = {
        "connection": broker.connection,
        "topic": topic,
        "warmup_topic": "canary",
        "run_id": "run",
        "source": SMALL,
        "seconds": 600,
        "rate": 500,
        "warmup_seconds": 0,
        "delivery_timeout_s": 60,
        "real_time": False,
    }
    return LoadSpec(**{**usual, **changes})


def consume_spec(broker: Cluster, topic: str, **changes: Any) -> ConsumeSpec:
    usual: dict[str, Any] = {
        "connection": broker.connection,
        "topic": topic,
        "warmup_topic": "canary",
        "group": f"measure-{topic}",
        "run_id": "run",
        "idle_seconds": 120,
        "real_time": False,
    }
    return ConsumeSpec(**{**usual, **changes})


def account_of(result: LoadResult, consumed: ConsumeResult | None = None) -> Accounting:
    """The account of a load; that it holds is the first thing that every fault has to leave."""
    seen = {} if consumed is None else {"consumed": consumed.received, "duplicates": consumed.duplicates}
    account = accounting.by_ids(
        attempted={name: one.attempted for name, one in result.by_producer.items()},
        acked=result.ids("acked"),
        rejected=result.ids("rejected"),
        unknown=result.ids("unknown"),
        **seen,
    )
    assert account.check() == []
    assert account.attempted == account.acked + account.rejected + account.unknown > 0
    return account


def in_log(broker: Cluster, topic: str) -> dict[str, Intervals]:
    """What a plain consumer finds in a topic: sequence numbers by producer."""
    config = {**broker.connection.settings(), "group.id": "look", "enable.partition.eof": True}
    consumer = Consumer(config)
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    found: dict[str, list[tuple[int, int]]] = {}
    ends = 0
    while ends < PARTITIONS:
        message = consumer.poll(60)
        assert message is not None
        if (error := message.error()) is not None:
            assert error.code() == KafkaError._PARTITION_EOF, error
            ends += 1
        else:
            one = contract.parse(message.value() or b"")
            found.setdefault(one.producer, []).append((one.seq, one.seq))
    consumer.close()
    return {name: Intervals(sorted(ranges)) for name, ranges in found.items()}


def assert_all_there(result: LoadResult, log: dict[str, Intervals]) -> None:
    """What was acknowledged is in the log, and what was rejected is not."""
    for name, acked in result.ids("acked").items():
        there = log.get(name, Intervals())
        assert len(acked & there) == len(acked)
        assert len(result.ids("rejected")[name] & there) == 0


class Driver:
    """Does the next thing each time `MORE` messages were acknowledged, and ends the load in the end."""

    MORE: Final = 1_000
    """More than were acknowledged before a thing and are reported after it: reports come once a second."""

    def __init__(self, load: Load, things: list[Callable[[], object]]) -> None:
        self._load = load
        self._things = list(things)
        self._at = 0
        self._done_at = 0.0
        self.waits: list[float] = []
        """Seconds from each thing to the next acknowledgements."""

    def __call__(self, progress: LoadProgress) -> None:
        if progress.phase != "load" or progress.acked < self._at + self.MORE:
            return
        if self._done_at:
            self.waits.append(time.monotonic() - self._done_at)
            self._done_at = 0.0
        self._at = progress.acked
        if self._things:
            self._things.pop(0)()
            self._done_at = time.monotonic()
        else:
            self._load.stop()


def test_five_times_a_broker_is_killed_and_nothing_acknowledged_is_lost(
    broker: Cluster, topic: str, tmp_path: Path
) -> None:
    clock = Clock.anchored()
    load = Load(load_spec(broker, topic), tmp_path / "load", clock)

    def kill_and_restart() -> None:
        broker.brokers[0].kill()
        broker.brokers[0].start()

    driver = Driver(load, [kill_and_restart] * KILLS)
    with Consume(consume_spec(broker, topic), tmp_path / "consume", clock) as consume:
        consume.start()
        consume.ready()
        result = load.run(driver)
        consumed = consume.finish()
    assert consumed.drained
    account = account_of(result, consumed)
    assert account.lost_total == 0
    assert result.acked > 200 * KILLS
    # The outages are in the report: what the client complained of, and messages that took as long as they lasted.
    assert result.troubles
    assert consumed.end_to_end.max_us > 500_000
    # Sending went on after each; within 30 s on a machine that has nothing else to do.
    assert len(driver.waits) == KILLS
    assert_all_there(result, in_log(broker, topic))


def test_a_topic_that_is_deleted_is_told_and_what_is_sent_to_it_is_not_acknowledged(
    broker: Cluster, topic: str, tmp_path: Path
) -> None:
    load = Load(load_spec(broker, topic, delivery_timeout_s=5), tmp_path / "load")
    deleted = False

    def delete(progress: LoadProgress) -> None:
        nonlocal deleted
        if progress.phase == "load" and progress.acked > 200 and not deleted:
            deleted = True
            broker.delete_topics(topic)
        elif progress.rejected + progress.unknown > 200:
            load.stop()

    result = load.run(delete)
    account = account_of(result)
    assert account.acked > 200
    assert account.rejected + account.unknown > 200
    errors = {name for one in result.by_producer.values() for name in one.errors}
    assert errors & {
        "UNKNOWN_TOPIC_OR_PART",
        "_UNKNOWN_TOPIC",
        "_UNKNOWN_PARTITION",
        "_MSG_TIMED_OUT",
        "_PURGE_QUEUE",
    }


def test_messages_larger_than_the_topic_allows_are_rejected_by_name(broker: Cluster, tmp_path: Path) -> None:
    topic = "small-messages"
    broker.create_topic(topic, PARTITIONS, {"max.message.bytes": "1000"})
    source = GeneratedSource(devices=20, rows=20, size=4_000)
    load = Load(load_spec(broker, topic, source=source, seconds=2, rate=100), tmp_path / "load")
    result = load.run()
    account = account_of(result)
    assert (account.attempted, account.rejected) == (200, 200)
    assert {name for one in result.by_producer.values() for name in one.errors} == {"MSG_SIZE_TOO_LARGE"}
    assert in_log(broker, topic) == {}


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_FSIZE"), reason="only Linux can limit a running process's files")
def test_a_broker_that_cannot_write_acknowledges_nothing_that_it_has_not(
    broker: Cluster, topic: str, tmp_path: Path
) -> None:
    load = Load(load_spec(broker, topic, delivery_timeout_s=10), tmp_path / "load")
    limited = False

    def no_room(progress: LoadProgress) -> None:
        nonlocal limited
        if progress.phase == "load" and progress.acked > 200 and not limited:
            limited = True
            # As on a full disk: each write beyond this size of a file fails (setrlimit(2)).
            psutil.Process(broker.pids[0]).rlimit(psutil.RLIMIT_FSIZE, (1, 1))
        elif progress.attempted > progress.acked + 1_000:
            load.stop()

    result = load.run(no_room)
    account = account_of(result)
    assert account.acked > 200
    assert account.rejected + account.unknown > 0
    assert result.troubles
    # A new process has its limits from the test's: there is room again.
    broker.brokers[0].kill()
    broker.brokers[0].start()
    broker.wait()
    assert_all_there(result, in_log(broker, topic))


def test_a_second_consumer_joins_and_leaves_under_load(broker: Cluster, topic: str, tmp_path: Path) -> None:
    clock = Clock.anchored()
    load = Load(load_spec(broker, topic), tmp_path / "load", clock)
    reading = consume_spec(broker, topic, warmup_topic=None)
    with (
        Consume(reading, tmp_path / "first", clock) as first,
        Consume(reading, tmp_path / "second", clock) as second,
    ):
        first.start()
        first.ready()
        partial: list[ConsumeResult] = []

        def come_and_go(progress: LoadProgress) -> None:
            if progress.phase != "load":
                return
            if not second.processes:
                second.start()
            elif not partial and second.progress().consumed > 100:
                partial.append(second.leave())
            elif partial:
                # The first one has not got back yet what the other had.
                load.stop()

        result = load.run(come_and_go)
        rest = first.finish()
    assert rest.drained
    received = {
        name: rest.received.get(name, Intervals()) | partial[0].received.get(name, Intervals())
        for name in result.by_producer
    }
    again = rest.consumed + partial[0].consumed - sum(map(len, received.values()))
    account = accounting.by_ids(
        attempted={name: one.attempted for name, one in result.by_producer.items()},
        acked=result.ids("acked"),
        rejected=result.ids("rejected"),
        unknown=result.ids("unknown"),
        consumed=received,
        duplicates=again + rest.duplicates + partial[0].duplicates,
    )
    assert account.check() == []
    assert (account.acked, account.lost_total) == (account.attempted, 0)
    assert partial[0].consumed > 0
    assert not partial[0].drained


def test_a_step_of_the_wall_clock_moves_no_latency_and_is_told(
    broker: Cluster, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock.anchored()
    load = Load(load_spec(broker, topic, seconds=3), tmp_path / "load", clock)
    wall = time.time_ns
    with Consume(consume_spec(broker, topic), tmp_path / "consume", clock) as consume:
        consume.start()
        consume.ready()

        def step(progress: LoadProgress) -> None:
            if progress.phase == "load" and progress.acked:
                monkeypatch.setattr("services.clock.time.time_ns", lambda: wall() + 1_000_000_000)

        result = load.run(step)
        consumed = consume.finish()
    assert account_of(result, consumed).acked == 1_500
    assert consumed.negative == {}
    assert 900_000 < clock.drift_us() < 10_000_000


def test_a_load_waits_for_a_broker_that_is_not_there_yet(broker: Cluster, topic: str, tmp_path: Path) -> None:
    broker.brokers[0].kill()
    load = Load(load_spec(broker, topic, seconds=1, connect_timeout_s=90), tmp_path / "load")

    def come(progress: LoadProgress) -> None:
        if progress.phase == "connect" and broker.brokers[0].ended:
            broker.brokers[0].start()

    result = load.run(come)
    assert (account_of(result).acked, result.complete) == (500, True)
