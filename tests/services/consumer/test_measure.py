"""Consuming processes on librdkafka's mock cluster: everything from being ready on is counted, exactly."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Producer

from services import contract
from services.accounting import by_ids
from services.clock import Clock
from services.connection import ConnectionSpec
from services.consumer.measure import Consume, ConsumeError, ConsumeSpec
from services.intervals import Intervals
from services.simulator.load import Load, LoadSpec
from services.simulator.source import GeneratedSource

Send = Callable[..., None]


def spec(kafka: Any, **changes: Any) -> ConsumeSpec:
    """A measurement of the topic that the load's tests fill.

    The mock cluster ends a rebalance a second before the session would time out, so that is kept short.
    """
    usual: dict[str, Any] = {
        "connection": kafka.connection(**{"session.timeout.ms": 3000, "heartbeat.interval.ms": 500}),
        "topic": "telemetry",
        "warmup_topic": "canary",
        "group": "measure",
        "run_id": "run",
    }
    return ConsumeSpec(**{**usual, **changes})


@pytest.fixture
def send(kafka: Any) -> Send:
    """Sends one message and waits for its acknowledgement."""
    client = Producer({**kafka.connection().settings(), "acks": "all", "log_level": 0})

    def send(
        seq: int,
        device_seq: int = 0,
        producer: str = "run-00",
        device: str = "car",
        due_us: int = 1_000_000,
        topic: str = "telemetry",
        value: bytes | None = None,
    ) -> None:
        made = contract.stamp(
            contract.head(producer), contract.tail(device, {"rpm": 1.0}), seq, device_seq, due_us, due_us, due_us + 10
        )
        client.produce(topic, made if value is None else value, partition=0)
        assert client.flush(10) == 0

    return send


@pytest.mark.parametrize("processes", [1, 2])
def test_a_load_is_measured_whole(kafka: Any, tmp_path: Path, processes: int) -> None:
    load = Load(
        LoadSpec(
            connection=kafka.connection(),
            topic="telemetry",
            warmup_topic="canary",
            run_id="run",
            source=GeneratedSource(devices=12, rows=20),
            seconds=1,
            rate=600,
            warmup_seconds=0.5,
        ),
        tmp_path / "load",
    )
    with Consume(spec(kafka, processes=processes), tmp_path / "consume", load.clock) as consume:
        consume.start()
        consume.ready()
        sent = load.run()
        result = consume.finish()
    assert not any(psutil.pid_exists(pid) for pid in consume.processes.values())
    assert sent.acked == 600
    account = by_ids(
        attempted={name: one.attempted for name, one in sent.by_producer.items()},
        acked=sent.ids("acked"),
        rejected=sent.ids("rejected"),
        unknown=sent.ids("unknown"),
        consumed=result.received,
        duplicates=result.duplicates,
    )
    assert account.check() == []
    assert (result.consumed, result.duplicates, result.reordered, result.foreign, result.unreadable) == (
        600,
        0,
        0,
        0,
        0,
    )
    assert result.warmup == sent.warmup_acked == 1800
    assert result.drained
    assert result.end_to_end.count == sum(second.count for second in result.per_second) == 600
    assert result.end_to_end.max_us >= max(leg.max_us for leg in result.legs.values())
    assert {leg: made.count for leg, made in result.legs.items()} == {"due_to_sent": 600, "sent_to_received": 600}
    assert result.negative == {}
    assert sent.started_us // 1_000_000 <= result.per_second[0].second <= result.per_second[-1].second
    assert not any(result.gaps({name: one.attempted for name, one in sent.by_producer.items()}).values())


def test_gaps_duplicates_disorder_strangers_and_garbage_are_told_apart(
    kafka: Any, tmp_path: Path, send: Send
) -> None:
    send(0, producer="run-00", device="before")
    with Consume(spec(kafka), tmp_path, Clock.anchored()) as consume:
        consume.start()
        consume.ready()
        send(0, 0)
        send(1, 1)
        send(4, 3)
        send(3, 2)  # comes after a later one of its device
        send(1, 1)  # comes twice
        send(7, 0, device="other", due_us=3_000_000)
        send(0, 0, producer="stranger-00")
        send(0, value=b"no message")
        send(0, producer=contract.warm_up_of("run-00"), topic="canary")
        result = consume.finish()
    # What was there before the consumer was ready is not counted.
    assert result.received.keys() == {"run-00"}
    assert result.received["run-00"].ranges() == [(0, 1), (3, 4), (7, 7)]
    assert result.gaps({"run-00": 9, "run-01": 2}) == {
        "run-00": Intervals([(2, 2), (5, 6), (8, 8)]),
        "run-01": Intervals.upto(2),
    }
    assert (result.consumed, result.duplicates, result.reordered) == (5, 1, 1)
    assert (result.foreign, result.unreadable, result.warmup) == (1, 1, 1)
    assert result.unreadable_first is not None
    assert "telemetry/0 offset 8: not JSON" in result.unreadable_first
    assert [(second.second, second.count) for second in result.per_second] == [(1, 4), (3, 1)]
    assert result.legs["due_to_sent"].max_us == 10


def test_another_measurement_begins_where_the_stream_is(kafka: Any, tmp_path: Path, send: Send) -> None:
    for number, group in enumerate(["first", "second"]):
        with Consume(spec(kafka, group=group), tmp_path / group, Clock.anchored()) as consume:
            consume.start()
            consume.ready()
            send(number)
            assert consume.finish().received["run-00"].ranges() == [(number, number)]


def test_a_group_continues_behind_what_it_has_counted(kafka: Any, tmp_path: Path, send: Send) -> None:
    for number in range(2):
        with Consume(spec(kafka), tmp_path / str(number), Clock.anchored()) as consume:
            consume.start()
            consume.ready()
            send(2 * number)
            assert consume.finish().consumed == number + 1
        send(2 * number + 1)


def test_a_consumer_that_is_killed_is_an_error(kafka: Any, tmp_path: Path) -> None:
    with Consume(spec(kafka), tmp_path, Clock.anchored()) as consume:
        consume.start()
        consume.ready()
        os.kill(consume.processes["consumer-00"], signal.SIGKILL)
        with pytest.raises(ConsumeError, match="consumer-00 was killed by signal 9"):
            consume.finish()


def test_a_stream_whose_end_does_not_come_is_not_called_whole(kafka: Any, tmp_path: Path, send: Send) -> None:
    with Consume(spec(kafka, idle_seconds=1), tmp_path, Clock.anchored()) as consume:
        consume.start()
        consume.ready()
        send(0)
        kafka.go_down()
        result = consume.finish()
    assert not result.drained
    assert result.troubles


def test_a_broker_that_is_not_there_is_named(kafka: Any, tmp_path: Path) -> None:
    away = spec(kafka, connection=ConnectionSpec(bootstrap="127.0.0.1:1"), connect_timeout_s=1)
    with Consume(away, tmp_path, Clock.anchored()) as consume:
        consume.start()
        with pytest.raises(ConsumeError, match=r"Kafka at 127\.0\.0\.1:1 cannot be reached"):
            consume.ready()
    assert not any(psutil.pid_exists(pid) for pid in consume.processes.values())


def test_two_groups_cannot_be_one(kafka: Any, tmp_path: Path) -> None:
    """Somebody else is in the group and holds partitions: the measurement would miss them, and says so instead."""
    with Consume(spec(kafka), tmp_path / "one", Clock.anchored()) as one:
        one.start()
        one.ready()
        with Consume(spec(kafka), tmp_path / "two", Clock.anchored()) as two:
            two.start()
            with pytest.raises(ConsumeError, match="Is another consumer in the same group"):
                two.ready(seconds=8)


def test_a_directory_that_cannot_be_made_is_named(kafka: Any, tmp_path: Path) -> None:
    blocked = tmp_path / "build"
    blocked.write_text("a file in its place")
    with pytest.raises(ConsumeError, match="build/consume cannot be made"):
        Consume(spec(kafka), blocked / "consume", Clock.anchored()).start()
