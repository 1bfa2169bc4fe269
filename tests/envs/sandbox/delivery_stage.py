"""What the delivery tests stand on: an emulated account, a real broker, and streams executed piece by piece."""

import base64
import hashlib
import importlib.util
import io
import sys
import threading
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from confluent_kafka import Producer
from confluent_kafka.cimpl import NewTopic

from envs import toolchain
from envs.sandbox import account, broker, processes
from envs.sandbox.aws.session import emulated_session
from envs.sandbox.firehose.buffer import Outcome, Record
from envs.sandbox.firehose.delivery import Delivery
from envs.sandbox.firehose.destination import Destination
from envs.sandbox.firehose.names import Names
from envs.sandbox.firehose.reporting import Reporter
from envs.sandbox.firehose.settings import Settings
from envs.sandbox.firehose.source import Source
from envs.sandbox.firehose.transform import pass_through
from envs.sandbox.functions import FunctionPool
from services import contract, kafka

ARN = "arn:aws:firehose:us-east-1:123456789012:deliverystream/"
FUNCTION_ARN = "arn:aws:lambda:us-east-1:123456789012:function:probe"
GATE_HANDLER = "services.ingestion.archive_gate.handler.handle"
ROOT = Path(__file__).parents[3]


@dataclass
class Stage:
    """An account and a broker that run; `close` ends them."""

    state_dir: Path
    session: boto3.Session = field(init=False)
    kafka: dict[str, Any] = field(init=False)

    def open(self) -> "Stage":
        settings = account.create(self.state_dir, "us-east-1")
        argv = [sys.executable, "-m", "envs.sandbox.aws", "--state-dir", str(self.state_dir)]
        environment = account.environment(self.state_dir)
        processes.spawn(self.state_dir, "aws", [*argv, "--port", str(settings.aws_port)], env=environment, cwd=ROOT)
        try:
            processes.wait_until(
                lambda: account.is_open(settings.aws_port), "the AWS process", 60, self.state_dir, "aws"
            )
            broker.start(self.state_dir, settings.kafka_port, {}, toolchain.find())
        except BaseException:
            self.close()
            raise
        return self.attach()

    def attach(self) -> "Stage":
        self.session = emulated_session(account.load(self.state_dir))
        self.kafka = broker.client_config(self.state_dir)
        return self

    def close(self) -> None:
        broker.kill(self.state_dir)
        processes.stop(self.state_dir, "aws")

    def client(self, service: str) -> Any:
        return self.session.client(service, config=Config(retries={"total_max_attempts": 1}))  # type: ignore[call-overload]

    def topic(self, name: str, values: Iterable[bytes] = (), partitions: int = 2) -> None:
        admin = kafka.admin(self.kafka, timeout_s=60)
        admin.create_topics([NewTopic(name, partitions, 1)])[name].result(60)
        self.produce(name, values, partitions)

    def produce(self, name: str, values: Iterable[bytes], partitions: int = 2) -> None:
        producer = Producer({**self.kafka, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000})
        for number, value in enumerate(values):
            producer.produce(name, value, partition=number % partitions)
            producer.poll(0)
        assert producer.flush(60) == 0

    def bucket(self, name: str) -> str:
        self.client("s3").create_bucket(Bucket=name)
        return name

    def committed(self, stream: str) -> dict[int, int]:
        return kafka.group_offsets(self.kafka, f"firehose-{stream}", stream)

    def ends(self, topic: str) -> dict[int, int]:
        return kafka.end_offsets(self.kafka, topic)


def stream_settings(name: str, **more: Any) -> Settings:
    """Settings of a stream that reads the topic of its name into the bucket of its name."""
    compressed = more.get("gzip", True)
    defaults: dict[str, Any] = {
        "name": name,
        "arn": ARN + name,
        "version": "1",
        "region": "us-east-1",
        "cluster_arn": "arn:aws:kafka:us-east-1:123456789012:cluster/probe/1-1",
        "topic": name,
        "source_role_arn": "arn:aws:iam::123456789012:role/firehose",
        "start_ms": 0,
        "bucket": name,
        "role_arn": "arn:aws:iam::123456789012:role/firehose",
        "size_bytes": 1 << 20,
        "interval_s": 900.0,
        "names": Names(
            stream=name,
            version="1",
            prefix="telemetry/year=!{timestamp:yyyy}/",
            error_prefix="dead-letter/!{firehose:error-output-type}/",
            extension=".gz" if compressed else "",
        ),
        "gzip": compressed,
        "delimiter": b"\n",
        "kms_key_arn": None,
        "transformation": None,
        "log_group": None,
        "log_stream": None,
    }
    return Settings(**{**defaults, **more})


@dataclass
class Running:
    """A stream that is executed in a thread of the test."""

    delivery: Delivery
    source: Source
    stop: threading.Event
    thread: threading.Thread
    failures: list[BaseException]

    def finish(self) -> None:
        """Stops it as SIGTERM does, and raises what made it fail."""
        self.stop.set()
        self.join()

    def join(self) -> None:
        self.thread.join(120)
        assert not self.thread.is_alive()
        if self.failures:
            raise self.failures[0]


def execute(
    stage: Stage,
    settings: Settings,
    transform: Callable[[list[Record]], list[Outcome]] = pass_through,
    s3: Any = None,
    wrap: Callable[[Source], Any] = lambda source: source,
) -> Running:
    """Starts to execute a stream."""
    stop, give_up = threading.Event(), threading.Event()
    reporter = Reporter(settings, stage.client("cloudwatch"), stage.client("logs"))
    destination = Destination(settings, s3 or stage.client("s3"), reporter, give_up)
    source = Source(settings, stage.kafka)
    delivery = Delivery(settings, wrap(source), transform, destination, reporter, stop, give_up)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            delivery.run()
        except BaseException as error:
            failures.append(error)
        finally:
            source.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return Running(delivery, source, stop, thread, failures)


class PoolClient:
    """The Lambda client of a stream, without AWS in between."""

    def __init__(self, pool: FunctionPool, code: bytes, handler: str, timeout_s: float = 60) -> None:
        self._pool = pool
        self._code = code
        self._handler = handler
        self._timeout = timeout_s

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - AWS's names
        digest = base64.b64encode(hashlib.sha256(self._code).digest()).decode()
        name = FunctionName.rpartition(":")[2]
        result = self._pool.invoke(
            name, self._code, digest, self._handler, "python3.11", "x86_64", {}, self._timeout, 128, Payload
        )
        answer: dict[str, Any] = {"StatusCode": 200, "Payload": io.BytesIO(result.payload)}
        return answer if result.function_error is None else {**answer, "FunctionError": result.function_error}


def messages(producer: str, number: int, signals: int = 1) -> list[bytes]:
    """Messages of one producer, in order."""
    head = contract.head(producer)
    tail = contract.tail("drive10", {f"signal_{n}": n * 1.25 for n in range(signals)})
    return [contract.stamp(head, tail, seq, seq, 1, 2, 3) for seq in range(number)]


def gate_artifact() -> bytes:
    """The archive gate with what it needs, as the program packages it."""
    gate = ROOT / "services" / "ingestion" / "archive_gate"
    sources = [gate / "handler.py", gate / "gate.py", ROOT / "services" / "contract.py"]
    sources += [package / "__init__.py" for package in (gate, gate.parent, gate.parent.parent)]
    files = {str(path.relative_to(ROOT)): path.read_text() for path in sources}
    for name in ("aws_lambda_powertools", "jmespath", "typing_extensions"):
        spec = importlib.util.find_spec(name)
        assert spec is not None, f"{name}: install the group function-archive-gate"
        assert spec.origin is not None
        origin = Path(spec.origin)
        package = origin.name == "__init__.py"
        base = origin.parents[1] if package else origin.parent
        found = origin.parent.rglob("*.py") if package else [origin]
        files |= {str(path.relative_to(base)): path.read_text() for path in found}
    return artifact(files)


def artifact(files: dict[str, str]) -> bytes:
    """A function's artifact."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in files.items():
            # Without a date of its own, so that the same files are the same artifact a moment later.
            archive.writestr(zipfile.ZipInfo(name), text)
    return stream.getvalue()
