"""One producing process: sends each message when it is due, and knows in the end what became of every one.

``python -m services.simulator.producer`` with a `ProducerTask` on standard input; see `services.workers`.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from pydantic import BaseModel, ConfigDict

from services import contract
from services.clock import Clock
from services.connection import ConnectionSpec
from services.errors import ServiceError
from services.kafka import LOW_LATENCY_PRODUCER
from services.partitions import partition_of
from services.priority import run_on_time
from services.simulator import journal
from services.simulator.journal import Journal
from services.simulator.schedule import Schedule
from services.simulator.source import Source
from services.workers import Channel, stop_collecting_garbage

_STOP_FLUSH_SECONDS: Final = 5.0
_BURST: Final = 256
"""How many messages a late producer sends before it serves delivery reports again."""
_LONGEST_SLEEP_US: Final = 50_000

REJECTIONS: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
"""Errors after which a message is certainly not in the log. All others (time-outs, purges, a connection that broke,
an append whose replication failed) leave that open: librdkafka's INTRODUCTION.md, "Message persistence status"."""


class ProducerTask(BaseModel):
    """What one producing process is to do. Times of the phases follow when everybody is ready."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    producer: str
    connection: ConnectionSpec
    topic: str
    warmup_topic: str
    source: Source
    journal: Path
    clock_offset_ns: int
    rate: float
    total: int
    warmup_rate: float
    warmup_total: int
    devices: int
    part: int
    parts: int
    tick_us: int
    readings: int
    connect_timeout_s: float
    delivery_timeout_s: float


class Phase:
    """One paced run of messages into one topic: the warm-up, or the load itself.

    `devices` are the keys and prepared message tails of this producer's devices, `states` has a byte a message.
    """

    def __init__(
        self,
        task: ProducerTask,
        client: Producer,
        devices: list[tuple[bytes, list[bytes]]],
        topic: str,
        rate: float,
        total: int,
        states: bytearray | memoryview,
    ) -> None:
        self._client = client
        self._topic = topic
        self._states = states
        self._clock = Clock(task.clock_offset_ns)
        self._head = contract.head(task.producer)
        self._devices = devices
        self._flush_seconds = task.delivery_timeout_s + 5
        self.schedule = Schedule(rate, total, task.devices, task.tick_us, task.part, task.parts, task.readings)
        self.attempted = 0
        self.acked = 0
        self.rejected = 0
        self.unknown = 0
        self.errors: Counter[str] = Counter()
        self.ticks = 0
        self.late_ticks = 0
        self.late_max_us = 0
        self.last_sent_us = 0
        self.behind_us = 0
        self._late_recent_us = 0

    def run(self, channel: Channel, start_us: int) -> None:
        """Sends every message at its time after `start_us`, then waits for what is in flight."""
        clock, schedule, tick_us = self._clock, self.schedule, self.schedule.tick_us
        report_at = start_us + 1_000_000
        while self.attempted < schedule.planned and not channel.stopping:
            due_us = start_us + schedule.due_us(self.attempted)
            now = clock.now_us()
            if now < due_us:
                clock.sleep_until(min(due_us, now + _LONGEST_SLEEP_US))
            else:
                late = now - due_us
                self.ticks += 1
                self.late_ticks += late >= tick_us
                self._late_recent_us = max(self._late_recent_us, late)
                self._send_due(channel, start_us, now)
            self._client.poll(0)
            if now >= report_at:
                report_at += 1_000_000
                self._report(channel, now - start_us)
        self._flush(channel)
        ended_us = clock.now_us()
        self.behind_us = max(0, ended_us - start_us - schedule.due_us(max(schedule.planned - 1, 0)))
        self._report(channel, ended_us - start_us)

    def _send_due(self, channel: Channel, start_us: int, now: int) -> None:
        """Sends what is due at `now`, a burst at most."""
        end = self.attempted
        last = min(end + _BURST, self.schedule.planned)
        while end < last and start_us + self.schedule.due_us(end) <= now:
            end += 1
        left: Sequence[int] = range(self.attempted, end)
        while left := self._hand_over(left, start_us):
            # The queue is full (back-pressure): the messages leave late and keep their due time.
            self.attempted = left[0]
            if channel.stopping:
                return
            self._client.poll(0.005)
        self.attempted = end

    def _hand_over(self, numbers: Sequence[int], start_us: int) -> list[int]:
        """Gives messages to the Kafka client in one call, so that they leave together; returns those it cannot take
        now."""
        due_us, reading, states = self.schedule.due_us, self.schedule.reading, self._states
        batch: list[dict[str, Any]] = []
        for seq in numbers:
            device, device_seq = reading(seq)
            key, tails = self._devices[device]
            due = start_us + due_us(seq)
            tail = tails[device_seq % len(tails)]
            self.last_sent_us = self._clock.now_us()
            value = contract.stamp(self._head, tail, seq, device_seq, due, due, self.last_sent_us)
            batch.append({"value": value, "key": key, "callback": partial(self._delivered, seq)})
            # Noted before it is sent: what a killed process had in hand counts as unknown.
            states[seq] = journal.ATTEMPTED
        self._client.produce_batch(self._topic, batch)
        full: list[int] = []
        for seq, message in zip(numbers, batch, strict=True):
            error: KafkaError | None = message.get("_error")
            if error is None:
                continue
            if error.code() == KafkaError._QUEUE_FULL:
                states[seq] = journal.NOT_SENT
                full.append(seq)
            else:
                # Not taken into the queue, so certainly not sent.
                self._reject(seq, error)
        return full

    def _delivered(self, seq: int, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self._states[seq] = journal.ACKED
            self.acked += 1
        elif error.code() in REJECTIONS:
            self._reject(seq, error)
        else:
            self._states[seq] = journal.UNKNOWN
            self.unknown += 1
            self.errors[error.name()] += 1

    def _reject(self, seq: int, error: KafkaError) -> None:
        self._states[seq] = journal.REJECTED
        self.rejected += 1
        self.errors[error.name()] += 1

    def _flush(self, channel: Channel) -> None:
        """Waits until every message is decided, as long as the delivery time-out lets it take, or a moment when told
        to stop; what is in flight after that is given up and stays unknown."""
        deadline = time.monotonic() + self._flush_seconds
        hurried = False
        while self._client.flush(0.1) and time.monotonic() < deadline and not channel.orphaned:
            if channel.stopping and not hurried:
                hurried = True
                deadline = min(deadline, time.monotonic() + _STOP_FLUSH_SECONDS)
        if len(self._client):
            self._client.purge()
            self._client.flush(1)

    def _report(self, channel: Channel, after_us: int) -> None:
        self.late_max_us = max(self.late_max_us, self._late_recent_us)
        channel.say(
            "progress",
            after_us=after_us,
            attempted=self.attempted,
            acked=self.acked,
            rejected=self.rejected,
            unknown=self.unknown,
            late_us=self._late_recent_us,
        )
        self._late_recent_us = 0

    def result(self) -> dict[str, object]:
        """What the parent cannot read from the journal."""
        return {
            "planned": self.schedule.planned,
            "attempted": self.attempted,
            "acked": self.acked,
            "rejected": self.rejected,
            "unknown": self.attempted - self.acked - self.rejected,
            "errors": dict(self.errors),
            "ticks": self.ticks,
            "late_ticks": self.late_ticks,
            "late_max_us": self.late_max_us,
            "last_sent_us": self.last_sent_us,
            # How long after the last message was due all were decided.
            "behind_us": self.behind_us,
        }


def connect(task: ProducerTask, channel: Channel) -> tuple[Producer, int]:
    """A producer that has seen both topics, and how many partitions the load's topic has.

    Raises `ServiceError` when the brokers or a topic cannot be reached.
    """
    client = Producer(
        {
            # Java's default for keyed messages: any other client finds a device in the same partition.
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 1_000_000,
            "delivery.timeout.ms": round(task.delivery_timeout_s * 1000),
            **LOW_LATENCY_PRODUCER,
            **task.connection.settings(),
            "error_cb": lambda error: channel.say("trouble", text=f"{error.name()}: {error.str()}"),
        }
    )
    partitions = 1
    for topic in (task.warmup_topic, task.topic):
        try:
            found = client.list_topics(topic, timeout=task.connect_timeout_s).topics[topic]
        except KafkaException as error:
            raise ServiceError(
                f"Kafka at {task.connection.bootstrap} cannot be reached: {error.args[0].str()}. Is it running, and "
                "do the credentials belong to it?"
            ) from error
        if found.error is not None:
            raise ServiceError(f"topic {topic}: {found.error.str()}")
        partitions = len(found.partitions)
    return client, partitions


def main() -> int:
    """Connects, says so, warms up and sends the load when told, and reports."""
    channel = Channel()
    task = ProducerTask.model_validate(channel.task)
    try:
        devices = [(drive.device.encode(), drive.tails()) for drive in task.source.drives(task.part, task.parts)]
        client, partitions = connect(task, channel)
        # Devices of one partition follow each other, so that a tick's messages leave in few requests.
        devices.sort(key=lambda device: partition_of(device[0], partitions))
    except ServiceError as error:
        channel.say("error", message=str(error))
        return 1
    with Journal(task.journal) as record:
        load = Phase(task, client, devices, task.topic, task.rate, task.total, record.states)
        stop_collecting_garbage()
        channel.say("ready")
        priority = ""
        while (told := channel.wait_told("warm-up", "load")) is not None:
            if told["do"] == "load":
                # Not before: a warm-up at real-time priority would keep the broker from compiling what it warms up.
                priority = run_on_time()
                load.run(channel, told["start_us"])
                break
            total, states = task.warmup_total, bytearray(task.warmup_total)
            warm_up = Phase(task, client, devices, task.warmup_topic, task.warmup_rate, total, states)
            warm_up.run(channel, told["start_us"])
            channel.say("warm", **warm_up.result())
        channel.say("result", priority=priority, **load.result())
    return 0


if __name__ == "__main__":
    sys.exit(main())
