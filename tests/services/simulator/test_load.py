"""Whole loads on librdkafka's mock cluster: the account is exact, whatever happens to the broker or the producers."""

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from services import contract
from services.accounting import by_ids
from services.clock import Clock
from services.connection import ConnectionSpec
from services.partitions import partition_of
from services.simulator import journal
from services.simulator.load import Load, LoadError, LoadSpec
from services.simulator.replay import ReplayError
from services.simulator.result import LoadProgress, LoadResult
from services.simulator.source import GeneratedSource, ReplaySource

PRODUCE: Final = 0
"""The Kafka protocol's number of the Produce request."""
SOURCE: Final = GeneratedSource(devices=5, rows=20)


def spec(connection: ConnectionSpec, **changes: Any) -> LoadSpec:
    """A short load: 300 messages in a second from two processes."""
    usual: dict[str, Any] = {
        "connection": connection,
        "topic": "telemetry",
        "warmup_topic": "canary",
        "run_id": "run",
        "source": SOURCE,
        "seconds": 1,
        "rate": 300,
        "warmup_seconds": 0,
    }
    return LoadSpec(**{**usual, **changes})


def check(result: LoadResult) -> None:
    """The identity holds by sequence number, and the totals are those of the producers."""
    account = by_ids(
        attempted={name: one.attempted for name, one in result.by_producer.items()},
        acked=result.ids("acked"),
        rejected=result.ids("rejected"),
        unknown=result.ids("unknown"),
    )
    assert account.check() == []
    assert result.attempted == result.acked + result.rejected + result.unknown
    assert result.attempted == sum(one.attempted for one in result.by_producer.values())


def in_log(kafka: Any, partitions: int = 3, topic: str = "telemetry") -> list[tuple[int, contract.Message]]:
    """What a plain consumer finds in a topic: partition and message."""
    consumer = Consumer({**kafka.connection().settings(), "group.id": "look", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    found: list[tuple[int, contract.Message]] = []
    ends = 0
    while ends < partitions:
        message = consumer.poll(10)
        assert message is not None
        if (error := message.error()) is not None:
            assert error.code() == KafkaError._PARTITION_EOF, error
            ends += 1
        else:
            found.append((message.partition() or 0, contract.parse(message.value() or b"")))
    consumer.close()
    return found


@pytest.mark.parametrize(("kept_up_us", "rounds"), [(60_000_000, 1), (0, 3)], ids=["keeps up", "never keeps up"])
def test_a_load_sends_everything_once_in_order_of_each_device_and_accounts_for_it(
    kafka: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_up_us: int, rounds: int
) -> None:
    monkeypatch.setattr("services.simulator.load._KEPT_UP_US", kept_up_us)
    reports: list[LoadProgress] = []
    result = Load(spec(kafka.connection(), warmup_seconds=0.5), tmp_path).run(reports.append)
    check(result)
    assert (result.attempted, result.acked, result.complete, result.interrupted) == (300, 300, True, False)
    assert (result.warmup_attempted, result.warmup_acked) == (900 * rounds, 900 * rounds)
    assert [one.ended for one in result.by_producer.values()] == ["done", "done"]
    assert result.produced_rate <= result.target_rate == 300
    assert reports[-1].acked == 300

    found = in_log(kafka)
    by_device: dict[str, list[contract.Message]] = defaultdict(list)
    for partition, message in found:
        assert partition == partition_of(message.device.encode(), 3)
        by_device[message.device].append(message)
    assert len(by_device) == 5
    for messages in by_device.values():
        assert [message.device_seq for message in messages] == list(range(60))
        assert len({message.producer for message in messages}) == 1
    by_producer: dict[str, set[int]] = defaultdict(set)
    for _, message in found:
        by_producer[message.producer].add(message.seq)
        # Never sent early, never restamped: the due time is on the plan, the sending time is not before it.
        assert message.sent_us >= message.due_us
        assert (message.due_us - result.started_us) % 1000 == 0
    assert {name: len(seen) for name, seen in by_producer.items()} == {"run-00": 180, "run-01": 120}
    assert min(message.due_us for _, message in found) == result.due_first_us
    assert max(message.due_us for _, message in found) == result.due_last_us
    assert len(in_log(kafka, 1, "canary")) == 900 * rounds


def test_recordings_are_looped_and_speed_sets_the_pace(kafka: Any, tmp_path: Path) -> None:
    paths = [tmp_path / f"drive{number}.csv" for number in range(2)]
    for number, path in enumerate(paths):
        path.write_text("rpm\n" + "".join(f"{number}{row}\n" for row in range(3)))
    load = Load(
        spec(kafka.connection(), source=ReplaySource(paths=tuple(paths)), rate=None, speed=20, processes=9),
        tmp_path / "load",
    )
    result = load.run()
    check(result)
    # Two devices report once a second as recorded: 40 messages in a second at twenty times the pace.
    assert (result.target_rate, result.acked, len(result.by_producer)) == (40, 40, 2)
    rows: dict[str, list[float]] = defaultdict(list)
    for _, message in in_log(kafka):
        rows[message.device].append(message.signals["rpm"])
    assert rows == {"drive0": [0, 1, 2] * 6 + [0, 1], "drive1": [10, 11, 12] * 6 + [10, 11]}


def test_refused_messages_are_rejected_and_the_rest_acked(kafka: Any, tmp_path: Path) -> None:
    # One producer is refused, which then refuses by itself until it asks for the topic again; the other one is not.
    kafka.refuse(PRODUCE, KafkaError.TOPIC_AUTHORIZATION_FAILED, 1)
    result = Load(spec(kafka.connection()), tmp_path).run()
    check(result)
    assert result.rejected > 0
    assert result.acked > 0
    assert result.unknown == 0
    assert (
        sum(one.errors.get("TOPIC_AUTHORIZATION_FAILED", 0) for one in result.by_producer.values()) == result.rejected
    )
    assert {(m.producer, m.seq) for _, m in in_log(kafka)} == {
        (name, seq) for name, acked in result.ids("acked").items() for seq in acked
    }


def test_a_broker_that_dies_leaves_unknown_messages_and_is_told(kafka: Any, tmp_path: Path) -> None:
    reports: list[LoadProgress] = []

    def down(progress: LoadProgress) -> None:
        reports.append(progress)
        if progress.phase == "load" and progress.acked and not progress.unknown:
            kafka.go_down()

    result = Load(spec(kafka.connection(), seconds=4, delivery_timeout_s=1), tmp_path).run(down)
    check(result)
    assert result.attempted == result.planned == 1200
    assert result.acked > 0
    assert result.unknown > 0
    assert result.troubles
    assert any(report.trouble for report in reports)
    assert sum(one.errors.get("_MSG_TIMED_OUT", 0) for one in result.by_producer.values()) == result.unknown


def test_a_full_queue_holds_back_and_loses_nothing(kafka: Any, tmp_path: Path) -> None:
    """The broker goes away and comes back; meanwhile the queue has room for a few messages only."""
    turns: list[Callable[[], None]] = [kafka.go_down, lambda: None, kafka.come_up]

    def turn(progress: LoadProgress) -> None:
        if progress.phase == "load" and progress.acked and turns:
            turns.pop(0)()

    connection = kafka.connection(**{"queue.buffering.max.messages": 20})
    result = Load(spec(connection, seconds=5, processes=1), tmp_path).run(turn)
    check(result)
    assert not turns
    assert (result.acked, result.complete) == (1500, True)
    assert result.late_max_us > 500_000
    messages = [message for _, message in in_log(kafka)]
    assert len({message.seq for message in messages}) == len(messages) == 1500
    assert max(message.sent_us - message.due_us for message in messages) > 500_000


def test_a_producer_that_is_killed_is_accounted_for_up_to_the_kill(kafka: Any, tmp_path: Path) -> None:
    load = Load(spec(kafka.connection(), seconds=600, processes=3), tmp_path)

    acked_at_kill: list[int] = []

    def kill(progress: LoadProgress) -> None:
        if progress.phase != "load":
            return
        if not acked_at_kill and journal.read(tmp_path / "run-01.journal").acked:
            acked_at_kill.append(progress.acked)
            os.kill(load.processes["run-01"], signal.SIGKILL)
        elif acked_at_kill and progress.acked > acked_at_kill[0] + 100:
            load.stop()

    result = load.run(kill)
    check(result)
    assert not result.complete
    assert result.acked > acked_at_kill[0] + 100
    killed = result.by_producer["run-01"]
    assert 0 < killed.attempted < killed.planned
    assert killed.ended == "run-01 was killed by signal 9"
    assert killed.ended in result.troubles
    for name in ("run-00", "run-02"):
        other = result.by_producer[name]
        assert (other.ended, other.acked) == ("stopped", other.attempted)
    arrived = {message.seq for _, message in in_log(kafka) if message.producer == "run-01"}
    outcome = result.outcomes["run-01"]
    assert set(outcome.acked) <= arrived <= set(outcome.acked | outcome.unknown)


@pytest.mark.parametrize("how", ["stop", "Ctrl-C"])
def test_a_load_that_is_stopped_gives_a_correct_partial_account(kafka: Any, tmp_path: Path, how: str) -> None:
    load = Load(spec(kafka.connection(), seconds=600), tmp_path)

    def stop(progress: LoadProgress) -> None:
        if progress.phase == "load" and progress.acked:
            if how == "stop":
                load.stop()
            elif not load.stopping:
                raise KeyboardInterrupt

    result = load.run(stop)
    check(result)
    assert result.interrupted
    assert not result.complete
    assert 0 < result.acked == result.attempted < result.planned
    assert [one.ended for one in result.by_producer.values()] == ["stopped", "stopped"]
    assert len(in_log(kafka)) == result.acked


@pytest.mark.parametrize("phase", ["connect", "warm-up"])
def test_a_load_that_is_stopped_before_it_began_has_sent_nothing(kafka: Any, tmp_path: Path, phase: str) -> None:
    load = Load(spec(kafka.connection(), warmup_seconds=600), tmp_path)

    def stop(progress: LoadProgress) -> None:
        if progress.phase == phase:
            load.stop()

    result = load.run(stop)
    assert (result.attempted, result.started_us, result.produced_rate, result.interrupted) == (0, 0, 0, True)
    assert not any(psutil.pid_exists(pid) for pid in load.processes.values())


def test_a_broker_that_is_not_there_is_named(tmp_path: Path) -> None:
    connection = ConnectionSpec(bootstrap="127.0.0.1:1")
    load = Load(spec(connection, connect_timeout_s=1), tmp_path)
    with pytest.raises(LoadError, match=r"Kafka at 127\.0\.0\.1:1 cannot be reached"):
        load.run()
    assert not any(psutil.pid_exists(pid) for pid in load.processes.values())


def test_a_bad_recording_is_told_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "car.csv"
    path.write_text("1,2\n")
    with pytest.raises(ReplayError, match="no header"):
        Load(spec(ConnectionSpec(bootstrap="127.0.0.1:1"), source=ReplaySource(paths=(path,))), tmp_path)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "build"
    blocked.write_text("a file in its place")
    with pytest.raises(LoadError, match="build/load cannot be made"):
        Load(spec(ConnectionSpec(bootstrap="127.0.0.1:1")), blocked / "load").run()


COORDINATOR: Final = """
import json, sys
from pathlib import Path
from services.simulator.load import Load, LoadSpec
load = Load(LoadSpec.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
def show(progress):
    if progress.phase == "load" and progress.acked:
        print(json.dumps(load.processes), flush=True)
load.run(show)
"""


def test_producers_end_when_their_coordinator_is_killed(kafka: Any, tmp_path: Path) -> None:
    task = spec(kafka.connection(), seconds=600).model_dump_json()
    coordinator = subprocess.Popen(
        [sys.executable, "-c", COORDINATOR, task, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert coordinator.stdout is not None
    with coordinator:
        pids = json.loads(coordinator.stdout.readline())
        producers = [psutil.Process(pid) for pid in pids.values()]
        coordinator.kill()
    _, left = psutil.wait_procs(producers, timeout=30)
    assert left == []


def test_a_load_begins_when_it_was_agreed(kafka: Any, tmp_path: Path) -> None:
    clock = Clock.anchored()
    agreed = clock.now_us() + 4_000_000
    result = Load(spec(kafka.connection()), tmp_path, clock).run(agree=lambda: agreed)
    check(result)
    assert result.complete
    # Whoever is ready too late begins at once, never earlier.
    assert result.started_us >= agreed
    assert result.due_first_us >= agreed
