"""The consumer as a service: what it counts, where it goes on, and how it ends."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from services import contract
from services.consumer.service import Service, Settings
from services.errors import ServiceError
from services.kafka import group_offsets
from tests.services.conftest import MockKafka


def message(seq: int, due_us: int) -> bytes:
    tail = contract.tail("truck-1", {"speed": 1.0})
    return contract.stamp(contract.head("p0"), tail, seq, seq, due_us, due_us, due_us)


def send(kafka: MockKafka, *values: bytes) -> None:
    producer = Producer(kafka.connection().settings())
    for number, value in enumerate(values):
        producer.produce("telemetry", value, partition=number % 3)
    assert producer.flush(30) == 0


def settings(kafka: MockKafka) -> Settings:
    return Settings.read({"FLEETSTREAM_BOOTSTRAP": kafka.bootstrap, "FLEETSTREAM_GROUP": "readers"})


def read_until(kafka: MockKafka, caplog: pytest.LogCaptureFixture, count: int) -> list[dict]:
    """The reports of a service that runs until it has seen so many messages."""
    caplog.clear()
    service = Service(settings(kafka), report_s=0.2)
    thread = threading.Thread(target=service.run)
    thread.start()
    deadline = time.monotonic() + 60
    while (
        sum(each["messages"] + each["unreadable"] for each in reports(caplog)) < count and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    service.stop()
    thread.join(60)
    assert not thread.is_alive()
    return reports(caplog)


def reports(caplog: pytest.LogCaptureFixture) -> list[dict]:
    return [json.loads(record.message) for record in caplog.records if record.message.startswith("{")]


def test_it_counts_what_comes_and_commits_what_it_counted(kafka: MockKafka, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "services.consumer")
    late = time.time_ns() // 1000 - 2_000_000
    send(kafka, *(message(seq, late) for seq in range(5)), b"no message")
    found = read_until(kafka, caplog, 6)
    assert (sum(each["messages"] for each in found), sum(each["unreadable"] for each in found)) == (5, 1)
    assert max(each["latency_ms"]["max"] for each in found) >= 2000
    assert group_offsets(kafka.connection().settings(), "readers", "telemetry") == {0: 2, 1: 2, 2: 2}


def test_brokers_that_cannot_be_reached(kafka: MockKafka) -> None:
    kafka.go_down()
    with pytest.raises(ServiceError, match="cannot be reached"):
        Service(settings(kafka), connect_s=1).run()


def test_settings_come_from_the_environment() -> None:
    found = Settings.read({"FLEETSTREAM_BOOTSTRAP": " b-1:9098 ", "FLEETSTREAM_REGION": "eu-central-1"})
    assert found == Settings("b-1:9098", "eu-central-1", "telemetry", "fleetstream-consumer")
    # Service Fabric sets a variable whose parameter was not given to nothing.
    assert Settings.read({"FLEETSTREAM_BOOTSTRAP": "b", "FLEETSTREAM_TOPIC": ""}).topic == "telemetry"
    with pytest.raises(ServiceError, match="FLEETSTREAM_BOOTSTRAP is not set"):
        Settings.read({})


def run(folder: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-B", "-m", "services.consumer.service"],
        env={**os.environ, "Fabric_Folder_App_Log": str(folder), **variables},
        text=True,
    )


def test_the_process_logs_into_its_folder_and_ends_when_told(kafka: MockKafka, tmp_path: Path) -> None:
    with run(tmp_path, FLEETSTREAM_BOOTSTRAP=kafka.bootstrap) as process:
        log = tmp_path / "consumer.log"
        deadline = time.monotonic() + 60
        while not (log.exists() and "reading telemetry" in log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert '"messages": 0' in log.read_text()
    with run(tmp_path, FLEETSTREAM_BOOTSTRAP="") as process:
        assert process.wait(60) == 1
    assert "FLEETSTREAM_BOOTSTRAP is not set" in log.read_text()
