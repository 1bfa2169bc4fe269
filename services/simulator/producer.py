"""One producing process: sends each message when it is due, and knows in the end what became of every one.

``python -m services.simulator.producer`` with a `ProducerTask` on standard input; see `services.workers`.
"""

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from services import contract
from services.clock import Clock
from services.connection import ConnectionSpec
from services.errors import ServiceError
from services.kafka import LOW_LATENCY_PRODUCER
from services.partitions import partitions_of
from services.priority import AS_ASKED, run_on_time
from services.simulator import journal
from services.simulator.feed import Block, Feed, Group
from services.simulator.fleet import Fleet
from services.simulator.journal import States
from services.simulator.profile import Profile
from services.simulator.schedule import Schedule
from services.simulator.source import Source
from services.simulator.traffic import Traffic
from services.workers import Channel, stop_collecting_garbage

_STOP_FLUSH_SECONDS: Final = 5.0
_BURST: Final = 64
"""How many groups of messages a late producer sends before it serves delivery reports again."""
_LONGEST_SLEEP_US: Final = 50_000
_LOOK_AGAIN_US: Final = 100
_STEP_US: Final = 120
"""What is left to the next tick when no step of preparing messages is begun any more: about as long as one takes."""
_PATIENCE_US: Final = 5_000
"""How long what is due waits for what is in flight, so that it leaves in one request.

The Kafka client's thread does not sleep while messages wait behind a request: librdkafka (rdkafka_broker.c) wakes it
when their linger is over, which without one is at once. It would take the processor that the broker needs to answer.
What waits longer is many messages, and leaves anyway.
"""

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
    profile: Profile
    warmup_profile: Profile
    traffic: Traffic
    real_time: bool
    devices: int
    part: int
    parts: int
    tick_us: int
    readings: int
    connect_timeout_s: float
    delivery_timeout_s: float


class Phase:
    """One paced run of messages into one topic: the warm-up, or the load itself. `states` has a byte a message.

    A message's success is not told one by one: it is decided once the Kafka client has nothing in hand any more, and
    acknowledged when no failure of it was told by then. What a killed process had sent after that stays unknown.
    """

    def __init__(
        self, task: ProducerTask, client: Producer, feed: Feed, topic: str, schedule: Schedule, states: States
    ) -> None:
        self._client = client
        self._topic = topic
        self._states = states
        self._clock = Clock(task.clock_offset_ns)
        self._feed = feed
        self._flush_seconds = task.delivery_timeout_s + 5
        self._sent_twice: set[int] = set()
        self._decided = 0
        """Of all messages before this one it is known what became of them."""
        self.schedule = schedule
        self.attempted = 0
        self.rejected = 0
        self.unknown = 0
        self.errors: Counter[str] = Counter()
        self.ticks = 0
        self.late_ticks = 0
        self.late_max_us = 0
        self.last_sent_us = 0
        self.behind_us = 0
        self._late_recent_us = 0

    @property
    def acked(self) -> int:
        """Messages that were handed over, are not in flight any more, and did not fail."""
        return max(0, self.attempted - self.rejected - self.unknown - len(self._client))

    def run(self, channel: Channel, start_us: int) -> None:
        """Sends every message at its time after `start_us`, then waits for what is in flight."""
        clock, client, ahead = self._clock, self._client, self._feed.ahead(start_us)
        block, at = ahead.take(), 0
        report_at = start_us + 1_000_000
        while block is not None and not channel.stopping:
            now = clock.now_us()
            due_us = start_us + block.groups[at].due_us
            late_us = now - due_us
            if late_us >= 0 and (late_us >= _PATIENCE_US or not len(client)):
                at = self._tick(channel, block, at, now - start_us, late_us)
            elif -_STEP_US < late_us < 0 or not ahead.work():
                clock.sleep_until(now + _LOOK_AGAIN_US if late_us >= 0 else min(due_us, now + _LONGEST_SLEEP_US))
            client.poll(0)
            self._decide()
            if at == len(block.groups):
                block, at = ahead.take(), 0
            if now >= report_at:
                report_at += 1_000_000
                self._report(channel, now - start_us)
        self._flush(channel)
        ended_us = clock.now_us()
        self.behind_us = max(0, ended_us - start_us - self.schedule.due_one_us(max(self.schedule.planned - 1, 0)))
        self._report(channel, ended_us - start_us)

    def _tick(self, channel: Channel, block: Block, at: int, after_us: int, late_us: int) -> int:
        """Sends what is due `after_us` after the start, from group `at` on, but no more than a burst of groups.

        Returns the group to go on with.
        """
        self.ticks += 1
        self.late_ticks += late_us >= self.schedule.tick_us
        self._late_recent_us = max(self._late_recent_us, late_us)
        for group in block.groups[at : at + _BURST]:
            if group.due_us > after_us or channel.stopping:
                break
            self._send(channel, block, group)
            at += 1
        return at

    def _send(self, channel: Channel, block: Block, group: Group) -> None:
        """Gives a group to the Kafka client in one call, so that it leaves together.

        While its queue is full (back-pressure) the messages wait; they leave late and keep their due time.
        """
        sent_us = self._clock.now_us()
        values = self._feed.send(block, group, sent_us)
        left: list[dict[str, Any]] = [
            {"value": value, "key": key}
            for value, key in zip(values, block.keys[group.start : group.end], strict=True)
        ]
        first, last = block.first + group.start, block.first + group.end
        for place in block.twice.intersection(range(group.start, group.end)) if block.twice else ():
            left.append(left[place - group.start].copy())
            self._sent_twice.add(block.first + place)
        # Noted before it is sent: what a killed process had in hand counts as unknown.
        self._states[first:last] = journal.ATTEMPTED
        self.attempted, self.last_sent_us = last, sent_us
        while self._client.produce_batch(self._topic, left, group.partition, on_delivery=self._failed) < len(left):
            left = self._not_taken(left)
            if channel.stopping:
                self._take_back(left, last)
                return
            self._client.poll(0.005)

    def _not_taken(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of these messages the ones that the client's queue had no room for; what it refused for good is noted."""
        waiting: list[dict[str, Any]] = []
        for message in messages:
            error: KafkaError | None = message.pop("_error", None)
            if error is None:
                continue
            if error.code() == KafkaError._QUEUE_FULL:
                waiting.append(message)
            else:
                # Not taken into the queue, so certainly not sent.
                self._note(self._feed.seq_of(message["value"]), journal.REJECTED, error)
        return waiting

    def _take_back(self, messages: list[dict[str, Any]], end: int) -> None:
        """Messages up to `end` that were never handed over: not attempted, if none after them was."""
        seqs = {self._feed.seq_of(message["value"]) for message in messages} - self._sent_twice
        while end - 1 in seqs:
            end -= 1
            self._states[end] = journal.NOT_SENT
        self.attempted = end

    def _failed(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            return
        seq = self._feed.seq_of(message.value() or b"")
        certain = error.code() in REJECTIONS and seq not in self._sent_twice
        self._note(seq, journal.REJECTED if certain else journal.UNKNOWN, error)

    def _note(self, seq: int, state: int, error: KafkaError) -> None:
        self.errors[error.name()] += 1
        if self._states[seq] != journal.ATTEMPTED:
            return
        self._states[seq] = state
        if state == journal.REJECTED:
            self.rejected += 1
        else:
            self.unknown += 1

    def _decide(self) -> None:
        """Notes what is acknowledged, when nothing is in flight."""
        if self._decided < self.attempted and not len(self._client):
            recent = self._states[self._decided : self.attempted]
            recent[recent == journal.ATTEMPTED] = journal.ACKED
            self._decided = self.attempted

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
        self._decide()

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


def connect(task: ProducerTask, channel: Channel) -> tuple[Producer, dict[str, int]]:
    """A producer that has seen both topics, and how many partitions each has.

    Raises `ServiceError` when the brokers or a topic cannot be reached.
    """
    client = Producer(
        {
            # The bound on a producer's memory while a broker is away: after that messages wait before the queue.
            "queue.buffering.max.messages": 250_000,
            "queue.buffering.max.kbytes": 128 * 1024,
            # A topic that was refused once is refused here until its metadata come anew: by default in five minutes.
            "topic.metadata.refresh.interval.ms": 10_000,
            "delivery.timeout.ms": round(task.delivery_timeout_s * 1000),
            "delivery.report.only.error": True,
            **LOW_LATENCY_PRODUCER,
            **task.connection.settings(),
            "error_cb": lambda error: channel.say("trouble", text=f"{error.name()}: {error.str()}"),
        }
    )
    partitions: dict[str, int] = {}
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
        partitions[topic] = len(found.partitions)
    return client, partitions


def main() -> int:
    """Connects, says so, warms up and sends the load when told, and reports."""
    channel = Channel()
    task = ProducerTask.model_validate(channel.task)
    try:
        fleet = task.source.fleet(task.part, task.parts, task.producer)
        client, partitions = connect(task, channel)
        places = partitions_of(fleet.keys, partitions[task.topic])
        # Devices of one partition take turns together, so that a tick's messages leave in few requests.
        fleet, places = fleet.sorted_by(places)
        load = phase(task, client, fleet, places, warm_up=False)
    except ServiceError as error:
        channel.say("error", message=str(error))
        return 1
    stop_collecting_garbage()
    channel.say("ready")
    priority = ""
    while (told := channel.wait_told("warm-up", "load")) is not None:
        if told["do"] == "load":
            # Not before: a warm-up at real-time priority would keep the broker from compiling what it warms up.
            priority = run_on_time() if task.real_time else AS_ASKED
            load.run(channel, told["start_us"])
            break
        warm_up = phase(task, client, fleet, partitions_of(fleet.keys, partitions[task.warmup_topic]), warm_up=True)
        warm_up.run(channel, told["start_us"])
        channel.say("warm", **warm_up.result())
    channel.say("result", priority=priority, **load.result())
    return 0


def phase(task: ProducerTask, client: Producer, fleet: Fleet, places: NDArray[np.int32], *, warm_up: bool) -> Phase:
    """The load, or its warm-up, which has no faults and leaves no trace but its count. Raises `ServiceError`."""
    profile = task.warmup_profile if warm_up else task.profile
    traffic = task.traffic.faultless() if warm_up else task.traffic
    schedule = Schedule(profile, task.devices, task.tick_us, task.part, task.parts, task.readings)
    states = np.zeros(schedule.planned, dtype=np.uint8) if warm_up else journal.opened(task.journal)
    feed = Feed(contract.warm_up_of(task.producer) if warm_up else task.producer, fleet, schedule, traffic, places)
    return Phase(task, client, feed, task.warmup_topic if warm_up else task.topic, schedule, states)


if __name__ == "__main__":
    sys.exit(main())
