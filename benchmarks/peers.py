"""The peers: Kafka's own performance tools from the same jars, and librdkafka's, on the same brokers."""

import re
import secrets
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks import native
from benchmarks.brokers import Cluster
from benchmarks.measure import MESSAGE_BYTES, Figures, Shape, Tell
from envs.errors import FleetstreamError
from envs.sandbox import broker_handler
from envs.toolchain import Toolchain, ToolchainError, jars
from envs.toolchain.installer import Installer
from envs.toolchain.progress import report_on
from services.kafka import end_offsets

_PATIENCE_S: Final = 300.0
_TOOLS: Final = "org.apache.kafka.tools"
_LATENCIES: Final = re.compile(
    r"(?P<p50>\d+) ms 50th, (?P<p95>\d+) ms 95th, (?P<p99>\d+) ms 99th, (?P<p99_9>\d+) ms 99\.9th"
)
_END_TO_END: Final = re.compile(r"Percentiles: 50th = (?P<p50>\d+), 99th = (?P<p99>\d+), 99\.9th = (?P<p99_9>\d+)")
_PAIR: Final = 2_000
"""Messages of EndToEndLatency: one is in flight at a time."""


class Peer:
    """A process of a peer, ended with its block; `words` is what it has said."""

    def __init__(self, argv: list[str], folder: Path) -> None:
        self._name = next((one for one in argv if _TOOLS in one), argv[0])
        self._log = (folder / f"peer-{secrets.token_hex(3)}.log").open("wb+")
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    @property
    def words(self) -> str:
        """What it has written up to now."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def wait(self) -> str:
        """Waits for its end and returns what it wrote. Raises `FleetstreamError` when it fails."""
        try:
            code = self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise FleetstreamError(
                f"{self._name} did not end within {_PATIENCE_S:g} s:\n{self.words[-800:]}"
            ) from error
        if code != 0:
            raise FleetstreamError(f"{self._name} failed with {code}:\n{self.words[-800:]}")
        return self.words

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits until `condition` holds. Raises `FleetstreamError` when the process ends before."""
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise FleetstreamError(f"{self._name} ended early or never came so far:\n{self.words[-800:]}")
            time.sleep(0.02)


def perf_tools(toolchain: Toolchain, cluster: Cluster, messages: int, folder: Path, tell: Tell) -> float:
    """Kafka's ProducerPerformance and ConsumerPerformance at once, acks=all and idempotent as ours: messages/s from
    the producer's first to the consumer's last. Raises `FleetstreamError`."""
    tell("Kafka's own performance tools")
    topic = f"tools-{secrets.token_hex(3)}"
    cluster.create_topic(topic, 2)
    java, bootstrap = _java(toolchain), cluster.connection.bootstrap
    consume = [*java, f"{_TOOLS}.ConsumerPerformance", "--bootstrap-server", bootstrap, "--topic", topic]
    consume += ["--messages", str(messages), "--timeout", "60000", "--hide-header"]
    produce = [*java, f"{_TOOLS}.ProducerPerformance", "--topic", topic, "--num-records", str(messages)]
    produce += ["--record-size", str(MESSAGE_BYTES), "--throughput", "-1", "--producer-props"]
    produce += [f"bootstrap.servers={bootstrap}", "acks=all", "enable.idempotence=true"]
    return _both(cluster, topic, consume, produce, messages, folder)


def latency_tools(toolchain: Toolchain, cluster: Cluster, shape: Shape, folder: Path, tell: Tell) -> Figures:
    """Kafka's ProducerPerformance at the same rate (time to the acknowledgement) and EndToEndLatency (one message in
    flight): whole milliseconds, which is all they tell. Raises `FleetstreamError`."""
    tell("Kafka's own latency tools")
    topic = f"tools-{secrets.token_hex(3)}"
    cluster.create_topic(topic, shape.partitions)
    java, bootstrap = _java(toolchain), cluster.connection.bootstrap
    seconds = min(shape.seconds, 15)
    produce = [*java, f"{_TOOLS}.ProducerPerformance", "--topic", topic]
    produce += ["--num-records", str(round(shape.rate * seconds)), "--record-size", str(shape.size)]
    produce += ["--throughput", str(round(shape.rate)), "--producer-props", f"bootstrap.servers={bootstrap}"]
    produce += ["acks=all", "enable.idempotence=true", "linger.ms=0"]
    one_by_one = [*java, f"{_TOOLS}.EndToEndLatency", bootstrap, topic, str(_PAIR), "all", str(shape.size)]
    try:
        with Peer(produce, folder) as producer:
            told = producer.wait()
        with Peer(one_by_one, folder) as pair:
            paired = pair.wait()
    finally:
        cluster.delete_topics(topic)
    sent, both = list(_LATENCIES.finditer(told)), _END_TO_END.search(paired)
    if not sent or both is None:
        raise FleetstreamError(f"Kafka's tools said something else than before:\n{told[-400:]}\n{paired[-400:]}")
    figures = {f"kafka_ack_{name}": float(sent[-1][name]) for name in ("p50", "p99", "p99_9")}
    return figures | {f"kafka_one_{name}": float(both[name]) for name in ("p50", "p99", "p99_9")}


def rdkafka_performance(cluster: Cluster, messages: int, folder: Path, tell: Tell) -> tuple[float, str]:
    """librdkafka's own producer and consumer at once: messages/s, or 0 and the reason why there is none.

    Raises `FleetstreamError` when it fails.
    """
    try:
        with report_on(Console(stderr=True)) as report:
            program = str(native.ensure(Installer(report)))
    except ToolchainError as error:
        return 0.0, f"rdkafka_performance left out: {error}"
    tell("librdkafka's rdkafka_performance")
    topic = f"rdkafka-{secrets.token_hex(3)}"
    cluster.create_topic(topic, 2)
    bootstrap = cluster.connection.bootstrap
    common = ["-t", topic, "-b", bootstrap, "-q", "-X", "broker.address.family=v4"]
    group = [
        "-X",
        "fetch.queue.backoff.ms=0",
        "-X",
        "queued.min.messages=1000000",
        "-X",
        "auto.offset.reset=earliest",
    ]
    consume = [program, "-G", topic, "-c", str(messages), *common, *group]
    produce = [program, "-P", "-c", str(messages), "-s", str(MESSAGE_BYTES), "-a", "-1", *common]
    produce += ["-X", "enable.idempotence=true", "-X", "max.in.flight.requests.per.connection=1"]
    produce += ["-X", "batch.size=1000000", "-X", "queue.buffering.max.messages=500000"]
    return _both(cluster, topic, consume, produce, messages, folder), ""


def _both(cluster: Cluster, topic: str, consume: list[str], produce: list[str], messages: int, folder: Path) -> float:
    """A consumer and then a producer: messages/s from the first one in the topic to the last one read.

    Both need a moment to start, which is none of their rate: the consumer is there before the producer begins.
    """
    config = cluster.connection.settings()
    try:
        with Peer(consume, folder) as consumer:
            time.sleep(3)
            with Peer(produce, folder) as producer:
                producer.wait_until(lambda: sum(end_offsets(config, topic).values()) > 0)
                started = time.monotonic()
                producer.wait()
                consumer.wait()
                return messages / (time.monotonic() - started)
    finally:
        cluster.delete_topics(topic)


def _java(toolchain: Toolchain) -> list[str]:
    with report_on(Console(stderr=True)) as report:
        tools = jars.KAFKA_TOOLS.ensure(Installer(report), toolchain.java)
    own = ":".join(str(jar) for jar in sorted(tools.glob("*.jar")))
    settings = f"-Dlog4j2.configurationFile={broker_handler.SOURCES / 'log4j2.properties'}"
    return [str(toolchain.java), "-Xmx1g", "-cp", f"{broker_handler.jars_path(toolchain)}:{own}", settings]
