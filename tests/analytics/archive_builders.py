"""Archives for the tests: lines by the contract's own functions, objects named as a delivery stream names them."""

import base64
import gzip
import json
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from services import contract

START = datetime(2026, 5, 1, 12, 59, 50, tzinfo=UTC)
"""Ten seconds before an hour ends, so that a short run spans two minutes and two hour folders."""


def microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def message(
    producer: str = "run-00",
    seq: int = 0,
    device: str = "car1",
    device_seq: int | None = None,
    due: datetime = START,
    sent_us: int = 100,
    signals: dict[str, float] | None = None,
) -> bytes:
    """One message; ``sent_us`` after ``due``."""
    due_us = microseconds(due)
    return contract.stamp(
        contract.head(producer),
        contract.tail(device, {"engine_rpm": 800.0 + seq, "vehicle_speed": 10.0} if signals is None else signals),
        seq,
        seq if device_seq is None else device_seq,
        due_us,
        due_us,
        due_us + sent_us,
    )


def line(partition: int = 0, offset: int = 0, arrival_ms: int = 20, gate_ms: int = 50, **fields: Any) -> bytes:
    """One archived line; it reached the broker 1 ms, the stream ``arrival_ms``, the gate ``gate_ms`` after due."""
    due_ms = microseconds(fields.get("due", START)) // 1000
    return contract.archived(
        message(**fields), partition, offset, due_ms + 1, due_ms + arrival_ms, (due_ms + gate_ms) * 1000
    )


def run_lines(count: int, devices: int = 3, producers: int = 2, partitions: int = 2) -> Iterator[bytes]:
    """A faultless run of ``count`` messages, 100 a second from `START`."""
    seqs = [0] * producers
    device_seqs = [0] * devices
    for number in range(count):
        device = number % devices
        producer = device % producers
        yield line(
            producer=f"run-{producer:02d}",
            seq=seqs[producer],
            device=f"car{device}",
            device_seq=device_seqs[device],
            due=START + timedelta(milliseconds=10 * number),
            partition=number % partitions,
            offset=number // partitions,
        )
        seqs[producer] += 1
        device_seqs[device] += 1


def object_path(root: Path, arrival: datetime, suffix: str = ".gz") -> Path:
    """Where a delivery stream puts an object whose oldest record arrived then."""
    folder = root / arrival.strftime("year=%Y/month=%m/day=%d/hour=%H")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"telemetry-1-{arrival:%Y-%m-%d-%H-%M-%S}-{uuid.uuid4()}{suffix}"


def write_object(root: Path, lines: Iterable[bytes], arrival: datetime = START) -> Path:
    """One GZIP object of newline-delimited lines."""
    path = object_path(root, arrival)
    path.write_bytes(gzip.compress(b"".join(item + b"\n" for item in lines)))
    return path


def write_dead_letters(root: Path, values: Iterable[bytes], arrival: datetime = START) -> Path:
    """One object of the error prefix, as a delivery stream writes it when its function refuses records."""
    path = object_path(root / "processing-failed", arrival, suffix="")
    stamp = int(arrival.timestamp() * 1000)
    path.write_text(
        "".join(
            json.dumps(
                {
                    "attemptsMade": 1,
                    "arrivalTimestamp": stamp,
                    "errorCode": "Lambda.FunctionError",
                    "errorMessage": "The record breaks the contract.",
                    "attemptEndingTimestamp": stamp + 5,
                    "rawData": base64.b64encode(value).decode(),
                    "lambdaArn": "arn:aws:lambda:eu-central-1:123456789012:function:archive-gate:$LATEST",
                }
            )
            + "\n"
            for value in values
        )
    )
    return path
