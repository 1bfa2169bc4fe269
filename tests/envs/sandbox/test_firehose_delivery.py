"""A delivery stream on a real broker and an emulated S3: nothing lost, whatever fails."""

import base64
import gzip
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from confluent_kafka import TopicPartition

from envs import toolchain
from envs.sandbox import account, broker, processes
from envs.sandbox.firehose.buffer import Record
from envs.sandbox.firehose.errors import StreamError
from envs.sandbox.firehose.settings import Transformation
from envs.sandbox.firehose.source import Source
from envs.sandbox.firehose.transform import LambdaTransformation
from envs.sandbox.functions import FunctionPool
from services import archive, kafka
from services.archive_count import ArchiveCounter, DeadLetterCounter
from tests.envs.sandbox.delivery_child import gated
from tests.envs.sandbox.delivery_stage import (
    FUNCTION_ARN,
    GATE_HANDLER,
    ROOT,
    PoolClient,
    Stage,
    artifact,
    execute,
    gate_artifact,
    messages,
    stream_settings,
)

pytestmark = [pytest.mark.xdist_group("delivery"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    opened = Stage(tmp_path_factory.mktemp("delivery")).open()
    yield opened
    opened.close()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[FunctionPool]:
    made = FunctionPool(tmp_path, environment={})
    yield made
    made.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits for something that must come; only a hang fails by time."""
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def stored(stage: Stage, bucket: str, prefix: str = "") -> dict[str, bytes]:
    s3 = stage.client("s3")
    return {
        entry.key: s3.get_object(Bucket=bucket, Key=entry.key)["Body"].read()
        for entry in archive.objects(s3, bucket, prefix)
    }


def failing_s3(stage: Stage, answers: Iterator[bool]) -> Any:
    """An S3 client whose PutObject is answered 503 as long as `answers` says so."""

    def before_send(request: Any, **_: Any) -> AWSResponse | None:
        if not next(answers):
            return None
        response = AWSResponse(request.url, 503, {}, None)
        response._content = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
        return response

    s3 = stage.client("s3")
    s3.meta.events.register("before-send.s3.PutObject", before_send)
    return s3


def test_records_arrive_once_in_the_order_of_their_partition(stage: Stage) -> None:
    stage.bucket("plain")
    stage.topic("plain", [b"%05d" % n for n in range(5000)], partitions=3)
    running = execute(stage, stream_settings("plain", size_bytes=6000))
    wait_until(lambda: stage.committed("plain") == stage.ends("plain"))
    running.finish()
    objects = stored(stage, "plain")
    lines = [line for body in objects.values() for line in gzip.decompress(body).splitlines()]
    assert sorted(lines) == [b"%05d" % n for n in range(5000)]
    for key, body in objects.items():
        assert key.startswith("telemetry/year=20")
        assert key.endswith(".gz")
        assert body[:2] == b"\x1f\x8b"
        numbers = [int(line) for line in gzip.decompress(body).splitlines()]
        for partition in range(3):
            own = [number for number in numbers if number % 3 == partition]
            assert own == sorted(own)
    # 6 bytes a record with its delimiter: all but the last object are exactly full.
    assert sorted(len(gzip.decompress(body)) for body in objects.values()) == [6000] * 5
    metrics = stage.client("cloudwatch").list_metrics(Namespace="AWS/Firehose")["Metrics"]
    own = {metric["MetricName"] for metric in metrics if metric["Dimensions"][0]["Value"] == "plain"}
    assert {"DeliveryToS3.Records", "DeliveryToS3.Success", "KafkaOffsetLag"} <= own


def test_without_delimiter_and_compression_values_are_concatenated(stage: Stage) -> None:
    stage.bucket("bare")
    stage.topic("bare", [b'{"a":1}', b"two\nlines", b""], partitions=1)
    running = execute(stage, stream_settings("bare", delimiter=b"", gzip=False, interval_s=0.5))
    wait_until(lambda: stage.committed("bare") == {0: 3})
    running.finish()
    (body,) = stored(stage, "bare").values()
    assert body == b'{"a":1}two\nlines'


def test_what_is_buffered_goes_out_when_the_stream_is_stopped(stage: Stage) -> None:
    stage.bucket("stopped")
    stage.topic("stopped", messages("r1-00", 100))
    seen: list[int] = []
    running = execute(stage, stream_settings("stopped"), lambda batch: seen.append(len(batch)) or gated(batch))
    wait_until(lambda: sum(seen) == 100)
    assert not stored(stage, "stopped")
    running.finish()
    assert ArchiveCounter(stage.client("s3"), "stopped", "telemetry/").update().unique == 100
    assert stage.committed("stopped") == stage.ends("stopped")


def test_a_new_stream_begins_at_its_time_and_keeps_its_place(stage: Stage) -> None:
    stage.bucket("late")
    stage.topic("late", [b"before"] * 10, partitions=1)
    started = int(time.time() * 1000) + 60_000
    running = execute(stage, stream_settings("late", start_ms=started, interval_s=0.5))
    wait_until(lambda: stage.committed("late") == {0: 10})
    running.finish()
    stage.produce("late", [b"after"] * 5, partitions=1)
    # The place is kept even though a stream that starts now would begin behind these records.
    running = execute(stage, stream_settings("late", start_ms=int(time.time() * 1000) + 60_000, interval_s=0.5))
    wait_until(lambda: stage.committed("late") == {0: 15})
    running.finish()
    assert [gzip.decompress(body) for body in stored(stage, "late").values()] == [b"after\n" * 5]


def test_s3_that_fails_for_a_while_delays_and_loses_nothing(stage: Stage) -> None:
    stage.bucket("flaky")
    stage.topic("flaky", messages("r1-00", 500))
    tries = itertools.count()
    running = execute(
        stage, stream_settings("flaky", interval_s=0.5), gated, s3=failing_s3(stage, (next(tries) < 4 for _ in tries))
    )
    wait_until(lambda: stage.committed("flaky") == stage.ends("flaky"))
    running.finish()
    count = ArchiveCounter(stage.client("s3"), "flaky", "telemetry/").update()
    assert (count.unique, count.duplicates, count.problems) == (500, 0, ())
    assert next(tries) > 4


def test_while_s3_is_away_reading_stops_and_nothing_is_committed(stage: Stage) -> None:
    stage.bucket("away")
    stage.topic("away", messages("r1-00", 20_000))
    failing, idle, read = [True], [0], [0]

    class Watched:
        def __init__(self, source: Source) -> None:
            self._source = source

        def read(self, seconds: float, paused: bool) -> Any:
            records = self._source.read(seconds, paused)
            read[0] += len(records)
            idle[0] = idle[0] + 1 if paused and not records else 0
            return records

        def __getattr__(self, name: str) -> Any:
            return getattr(self._source, name)

    s3 = failing_s3(stage, (failing[0] for _ in itertools.count()))
    batches = Transformation(function_arn=FUNCTION_ARN, role_arn="", size_bytes=50_000, interval_s=0.5, retries=0)
    settings = stream_settings("away", size_bytes=100_000, interval_s=0.5, transformation=batches)
    running = execute(stage, settings, gated, s3, Watched)
    wait_until(lambda: idle[0] > 50)
    # Of 3.4 MB at most two parcels (0.2 MB), four batches (0.2 MB) and what one read brings (0.34 MB) are in hand.
    assert read[0] < 8_000
    assert set(stage.committed("away").values()) == {0}
    failing[0] = False
    wait_until(lambda: stage.committed("away") == stage.ends("away"))
    running.finish()
    count = ArchiveCounter(stage.client("s3"), "away", "telemetry/").update()
    assert (count.unique, count.duplicates, count.problems) == (20_000, 0, ())


def test_the_deployed_gate_sends_poison_to_the_dead_letters(stage: Stage, pool: FunctionPool) -> None:
    good = messages("r1-00", 300)
    poison = [b"", b"\xff\x00", b'{"v":1}', good[0][:-1], b"x" * 2_000]
    stage.bucket("gate")
    stage.topic(
        "gate", [value for n, value in enumerate(good) for value in ([value, poison[n]] if n < 5 else [value])]
    )
    function = Transformation(function_arn=FUNCTION_ARN, role_arn="", size_bytes=30_000, interval_s=0.5, retries=3)
    settings = stream_settings("gate", transformation=function, interval_s=0.5)
    client = PoolClient(pool, gate_artifact(), GATE_HANDLER)
    running = execute(stage, settings, LambdaTransformation(settings, function, client))
    wait_until(lambda: stage.committed("gate") == stage.ends("gate"))
    running.finish()
    s3 = stage.client("s3")
    count = ArchiveCounter(s3, "gate", "telemetry/", run="r1").update()
    assert (count.records, count.unique, count.problems) == (300, 300, ())
    dead = list(archive.dead_letters(s3, "gate", "dead-letter/"))
    assert sorted(letter.value for letter in dead) == sorted(poison)
    assert {(letter.code, letter.attempts) for letter in dead} == {("Lambda.ProcessingFailedStatus", 1)}
    assert all(letter.key.startswith("dead-letter/processing-failed/gate-1-") for letter in dead)
    assert DeadLetterCounter(s3, "gate", "dead-letter/").update().records == 5


def test_a_function_that_times_out_is_retried_and_then_its_records_are_dead_letters(
    stage: Stage, pool: FunctionPool, tmp_path: Path
) -> None:
    stage.bucket("slow")
    stage.topic("slow", [b"a", b"b"], partitions=1)
    calls = tmp_path / "calls"
    source = f"""
import time
def handle(event, context):
    with open({str(calls)!r}, "a") as calls:
        print(event["deliveryStreamArn"], file=calls)
    time.sleep(600)
"""
    function = Transformation(function_arn=FUNCTION_ARN, role_arn="", size_bytes=1000, interval_s=0, retries=1)
    settings = stream_settings("slow", transformation=function, interval_s=0.5)
    client = PoolClient(pool, artifact({"app.py": source}), "app.handle", timeout_s=3)
    running = execute(stage, settings, LambdaTransformation(settings, function, client))
    wait_until(lambda: stage.committed("slow") == {0: 2})
    running.finish()
    dead = [
        json.loads(line) for body in stored(stage, "slow").values() for line in gzip.decompress(body).splitlines()
    ]
    assert [base64.b64decode(entry["rawData"]) for entry in dead] == [b"a", b"b"]
    for entry in dead:
        assert entry["attemptsMade"] == 2
        assert entry["errorCode"] == "Lambda.FunctionTimedOut"
        assert "Task timed out after 3.00 seconds" in entry["errorMessage"]
        assert entry["lambdaArn"] == FUNCTION_ARN
        assert entry["arrivalTimestamp"] < entry["attemptEndingTimestamp"]
    assert len(calls.read_text().splitlines()) == 2


def test_a_broker_that_is_killed_and_started_again_loses_nothing(stage: Stage) -> None:
    stage.bucket("broker")
    stage.topic("broker", messages("r1-00", 1000))
    failing = [True]
    running = execute(
        stage,
        stream_settings("broker", size_bytes=20_000, interval_s=0.5),
        gated,
        s3=failing_s3(stage, (failing[0] for _ in itertools.count())),
    )
    wait_until(lambda: stage.committed("broker") == {0: 0, 1: 0})
    broker.kill(stage.state_dir)
    broker.start(stage.state_dir, account.load(stage.state_dir).kafka_port, {}, toolchain.find())
    failing[0] = False
    stage.produce("broker", messages("r1-01", 1000))
    wait_until(lambda: stage.committed("broker") == stage.ends("broker"))
    running.finish()
    count = ArchiveCounter(stage.client("s3"), "broker", "telemetry/", run="r1").update()
    assert (count.unique, count.problems) == (2000, ())


def test_records_that_retention_deleted_are_told_and_the_rest_is_delivered(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.bucket("retention")
    stage.topic("retention", partitions=1)
    running = execute(stage, stream_settings("retention"))
    wait_until(lambda: stage.committed("retention") == {0: 0})
    running.finish()
    stage.produce("retention", [b"%d" % n for n in range(10)], partitions=1)
    admin = kafka.admin(stage.kafka, timeout_s=60)
    (deleted,) = admin.delete_records([TopicPartition("retention", 0, 6)]).values()
    deleted.result(60)
    running = execute(stage, stream_settings("retention", interval_s=0.5))
    wait_until(lambda: stage.committed("retention") == {0: 10})
    running.finish()
    (body,) = stored(stage, "retention").values()
    assert gzip.decompress(body).split() == [b"6", b"7", b"8", b"9"]
    assert "retention/0: offsets 0 to 5 were deleted by Kafka's retention" in caplog.text


def test_a_role_that_the_brokers_refuse_ends_the_stream_with_the_reason(stage: Stage) -> None:
    stranger = boto3.Session("AKIASTRANGER00000000", "secret", region_name="us-east-1")
    config = kafka.client_config(
        stage.kafka["bootstrap.servers"], "us-east-1", ca=stage.kafka["ssl.ca.location"], session=stranger
    )
    source = Source(stream_settings("plain"), config)
    try:
        with pytest.raises(StreamError, match="the brokers refuse arn:aws:iam::123456789012:role/firehose"):
            read_on(source)
    finally:
        source.close()


def read_on(source: Source) -> None:
    while True:
        source.read(0.1, paused=False)


def test_what_was_fetched_ahead_outlasts_a_short_wait(stage: Stage) -> None:
    stage.topic("ahead", messages("r1-00", 5000))
    source = Source(stream_settings("ahead"), stage.kafka)
    record = processes.find(stage.state_dir, broker.ROLE)
    assert record is not None
    try:
        read: list[Record] = []
        wait_until(lambda: bool(read.extend(source.read(1, paused=False)) or len(read) >= 2000))
        time.sleep(1)
        os.kill(record.pid, signal.SIGSTOP)
        try:
            before = len(read)
            for _ in range(10):
                assert source.read(0.02, paused=True) == []
            read += source.read(1, paused=False)
        finally:
            os.kill(record.pid, signal.SIGCONT)
        assert len(read) > before
        wait_until(lambda: bool(read.extend(source.read(1, paused=False)) or len(read) >= 5000))
    finally:
        source.close()
    assert len({(one.partition, one.offset) for one in read}) == len(read) == 5000


def test_a_process_that_is_killed_while_it_delivers_loses_nothing(stage: Stage) -> None:
    stage.bucket("killed")
    stage.topic("killed", messages("r1-00", 3000))

    def child(kill: str) -> int:
        argv = [sys.executable, "-m", "tests.envs.sandbox.delivery_child", str(stage.state_dir), "killed", kill]
        return subprocess.run(argv, cwd=ROOT, timeout=240, check=False).returncode

    counter = ArchiveCounter(stage.client("s3"), "killed", "telemetry/", run="r1")
    # Written, not committed: delivered again.
    assert child("after-call:2") == -signal.SIGKILL
    written = counter.update()
    assert written.records > sum(stage.committed("killed").values())
    # In the middle of a write: not delivered yet.
    assert child("before-send:3") == -signal.SIGKILL
    assert child("never") == 0
    count = counter.update()
    assert (count.unique, count.problems) == (3000, ())
    assert count.duplicates == count.records - 3000 > 0
    assert stage.committed("killed") == stage.ends("killed")
