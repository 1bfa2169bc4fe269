"""One consuming process: reads the topic as it fills, and counts and times every message of one run.

``python -m services.consumer`` with a `ConsumerTask` on standard input; see `services.workers`.
"""

import json
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaException, Message, TopicPartition
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from services.clock import Clock
from services.connection import ConnectionSpec
from services.consumer.heads import Heads, read_heads
from services.consumer.histogram import Recorder
from services.consumer.tracker import Tracker
from services.errors import ServiceError
from services.kafka import LOW_LATENCY_CONSUMER
from services.priority import AS_ASKED, run_on_time
from services.workers import Channel, stop_collecting_garbage

LEGS: Final = ("end_to_end", "due_to_sent", "sent_to_received", "sent_to_broker", "broker_to_received")
"""Legs of a message's way. ``end_to_end`` counts from when it was due. The two with the broker need a topic with
``message.timestamp.type=LogAppendTime`` and are as fine as its timestamps: whole milliseconds, cut off."""

_BATCH: Final = 2000
_POLL_SECONDS: Final = 0.2
_COUNT_AT_ONCE: Final = 256
"""Messages are received as they come and counted so many at a time: NumPy's calls cost the same for one message as
for hundreds. Nothing is received while they are counted, so that must not take long either."""
_HOLD_SECONDS: Final = 0.01
"""How long a few messages wait to be counted together."""
_BROKER_SECONDS: Final = 5.0
_STORE_EVERY_S: Final = 0.5
_PACK_AFTER_S: Final = 5


class ConsumerTask(BaseModel):
    """What one consuming process is to do. `warmup_topic` is read as well; the run's warm-up is counted
    apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    connection: ConnectionSpec
    topic: str
    warmup_topic: str | None
    group: str
    run_id: str
    clock_offset_ns: int
    result: Path
    idle_seconds: float
    connect_timeout_s: float
    real_time: bool


class Reader:
    """A group member and what it has seen."""

    def __init__(self, task: ConsumerTask, channel: Channel) -> None:
        self._task = task
        self._channel = channel
        self._clock = Clock(task.clock_offset_ns)
        self._topic = task.topic
        self._tracker = Tracker(task.run_id)
        self._legs = {leg: Recorder() for leg in LEGS}
        self._next: dict[tuple[str, int], int] = {}
        """The next offset to read of every partition that is assigned."""
        self._ends: dict[tuple[str, int], int] = {}
        self._uncommitted: set[tuple[str, int]] = set()
        self._held: list[Message] = []
        """Messages that were received and are not counted yet, and when they came: how many at which time (us)."""
        self._came: list[tuple[int, int]] = []
        self._expelled = False
        """Whether the group has dropped this member, which has not got its partitions back yet."""
        self._failure: ServiceError | None = None
        self.consumed = 0
        self._unreadable = 0
        self._unreadable_first: str | None = None
        self._first_us = 0
        self._last_us = 0
        self._consumer = Consumer(
            {
                "partition.assignment.strategy": "cooperative-sticky",
                # An offset is stored when its message has been counted, never before.
                "enable.auto.offset.store": False,
                "auto.commit.interval.ms": 1000,
                "auto.offset.reset": "earliest",
                "group.id": task.group,
                **LOW_LATENCY_CONSUMER,
                **task.connection.settings(),
                "error_cb": lambda error: self._note(f"{error.name()}: {error.str()}"),
            }
        )

    def start(self) -> None:
        """Joins the group. Raises `ServiceError` when the brokers or a topic cannot be reached."""
        topics = [topic for topic in (self._topic, self._task.warmup_topic) if topic]
        for topic in topics:
            try:
                found = self._consumer.list_topics(topic, timeout=self._task.connect_timeout_s).topics[topic]
            except KafkaException as error:
                raise ServiceError(
                    f"Kafka at {self._task.connection.bootstrap} cannot be reached: {error.args[0].str()}. Is it "
                    "running, and do the credentials belong to it?"
                ) from error
            if found.error is not None:
                raise ServiceError(f"topic {topic}: {found.error.str()}")
            if topic == self._topic:
                self._channel.say("topic", partitions=sorted(found.partitions))
        self._consumer.subscribe(topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._dropped)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Continues where the group has committed, else at the end as it is now, which is committed as the start.

        The start is an offset and never "latest": a message sent right after is behind it, whenever reading begins.
        """
        self._expelled = False
        try:
            for where in consumer.committed(partitions, timeout=_BROKER_SECONDS):
                place = (where.topic, where.partition)
                if where.offset < 0:
                    _, where.offset = consumer.get_watermark_offsets(TopicPartition(*place), timeout=_BROKER_SECONDS)
                    self._uncommitted.add(place)
                self._next[place] = where.offset
            consumer.incremental_assign([self._position((w.topic, w.partition)) for w in partitions])
        except KafkaException as error:
            # Raised in `run`: what a callback raises loses its type on the way through the client.
            self._failure = ServiceError(f"no offsets to start from: {error.args[0].str()}")
        else:
            self._commit_starts()

    def _commit_starts(self) -> None:
        """Makes the starts of new partitions last, and says then that they are held.

        Until that has succeeded another member could start later; while members still join, the broker refuses it.
        """
        try:
            if self._uncommitted:
                self._consumer.commit(offsets=list(map(self._position, self._uncommitted)), asynchronous=False)
                self._uncommitted.clear()
        except KafkaException as error:
            self._note(f"starting offsets not committed yet: {error.args[0].str()}")
        held = self._next.keys() - self._uncommitted
        self._channel.say("assigned", partitions=sorted(number for topic, number in held if topic == self._topic))

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Hands partitions over: the next member starts behind the last message counted here."""
        self._count()
        places = [place for w in partitions if (place := (w.topic, w.partition)) in self._next]
        try:
            # Stored as well: an automatic commit that comes after this one would set an older offset.
            self._store()
            if places:
                consumer.commit(offsets=list(map(self._position, places)), asynchronous=False)
        except KafkaException as error:
            # The next member reads some messages again: they count as duplicates there.
            self._note(f"offsets not committed: {error.args[0].str()}")
        self._forget(partitions)

    def _dropped(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """The group took this member for dead; what comes after the last commit will be read again."""
        self._count()
        self._expelled = True
        self._forget(partitions)

    def _forget(self, partitions: list[TopicPartition]) -> None:
        for where in partitions:
            place = (where.topic, where.partition)
            self._next.pop(place, None)
            self._ends.pop(place, None)
            self._uncommitted.discard(place)
        self._commit_starts()

    def _position(self, place: tuple[str, int]) -> TopicPartition:
        return TopicPartition(*place, self._next[place])

    def _note(self, text: str) -> None:
        self._channel.say("trouble", text=text)

    def run(self) -> str:
        """Reads until told to finish and all is read, or told to stop. Returns how it ended.

        "drained": up to the end of every partition as it was when finishing began. "idle": some messages before the
        end did not come. "stopped": at once, wherever it was.
        """
        consumer, channel = self._consumer, self._channel
        finishing = False
        now = time.monotonic()
        store_at, report_at, heard_at = now + _STORE_EVERY_S, now + 1, now
        while not channel.stopping:
            first = consumer.poll(_HOLD_SECONDS if self._held else _POLL_SECONDS)
            if self._failure is not None:
                raise self._failure
            now = time.monotonic()
            if first is not None:
                heard_at = now
                self._hold([first, *consumer.consume(_BATCH, 0)])
            if first is None or len(self._held) >= _COUNT_AT_ONCE or now >= min(store_at, report_at):
                self._count()
            if now >= store_at:
                store_at = now + _STORE_EVERY_S
                self._store()
                if self._uncommitted:
                    self._commit_starts()
            if now >= report_at:
                report_at = now + 1
                self._report()
            if not finishing and channel.told("finish") is not None:
                finishing, heard_at = True, now
            if finishing and not self._held and self._drained():
                return "drained"
            if finishing and now - heard_at > self._task.idle_seconds:
                return "idle"
        self._count()
        return "stopped"

    def _drained(self) -> bool:
        if self._expelled:
            return False
        try:
            for topic, number in self._next.keys() - self._ends.keys():
                _, self._ends[topic, number] = self._consumer.get_watermark_offsets(
                    TopicPartition(topic, number), timeout=_BROKER_SECONDS
                )
        except KafkaException as error:
            self._note(f"no end offsets: {error.args[0].str()}")
            return False
        return all(self._next[where] >= end for where, end in self._ends.items())

    def _hold(self, messages: list[Message]) -> None:
        """The hot path: these were received now."""
        received_us = self._clock.now_us()
        if errors := [error for message in messages if (error := message.error()) is not None]:
            for error in errors:
                self._note(f"{error.name()}: {error.str()}")
            messages = [message for message in messages if message.error() is None]
        if messages:
            self._held += messages
            self._came.append((len(messages), received_us))

    def _count(self) -> None:
        """Counts what was received."""
        messages, came = self._held, self._came
        if not messages:
            return
        self._held, self._came = [], []
        counts, times = zip(*came, strict=True)
        received_us = np.repeat(np.asarray(times, dtype=np.int64), counts)
        values: list[bytes] = [message.value() or b"" for message in messages]
        found, unreadable = read_heads(values)
        for heads in found:
            new = self._tracker.see(heads)
            if new is not None:
                self._time(heads, new, messages, received_us)
        for broken in unreadable:
            self._unreadable += 1
            if self._unreadable_first is None:
                where = messages[broken.place]
                self._unreadable_first = (
                    f"{where.topic()}/{where.partition()} offset {where.offset()}: {broken.reason}"
                )
        for message in messages:
            at: Any = (message.topic(), message.partition())
            if at in self._next:
                # Not so for what was fetched before its partition was handed over, which the next member reads again.
                self._next[at] = (message.offset() or 0) + 1

    def _time(
        self, heads: Heads, new: NDArray[np.bool_], messages: list[Message], received: NDArray[np.int64]
    ) -> None:
        """Records how long each leg of the new ones took."""
        count = int(np.count_nonzero(new))
        if not count:
            return
        self.consumed += count
        every = count == len(new)
        places = heads.places if every else heads.places[new]
        received_us = received[places]
        self._first_us = self._first_us or int(received_us[0])
        self._last_us = max(self._last_us, int(received_us[-1]))
        due_us, sent_us = (heads.due_us, heads.sent_us) if every else (heads.due_us[new], heads.sent_us[new])
        seconds, legs = due_us // 1_000_000, self._legs
        legs["end_to_end"].record(seconds, received_us - due_us)
        legs["due_to_sent"].record(seconds, sent_us - due_us)
        kind, _ = messages[int(places[0])].timestamp()
        if kind == TIMESTAMP_LOG_APPEND_TIME:
            stamps = [messages[place].timestamp()[1] for place in places.tolist()]
            broker_us = np.asarray(stamps, dtype=np.int64) * 1000
            legs["sent_to_broker"].record(seconds, broker_us - sent_us)
            legs["broker_to_received"].record(seconds, received_us - broker_us)
        else:
            legs["sent_to_received"].record(seconds, received_us - sent_us)

    def _store(self) -> None:
        """Notes what was counted for the next automatic commit."""
        if self._next:
            self._consumer.store_offsets(offsets=list(map(self._position, self._next)))

    def _report(self) -> None:
        second = self._clock.now_us() // 1_000_000
        for recorder in self._legs.values():
            recorder.pack_before(second - _PACK_AFTER_S)
        self._channel.say(
            "progress",
            consumed=self.consumed,
            duplicates=self._tracker.duplicates,
            foreign=self._tracker.foreign,
            warmup=self._tracker.warmup,
            latency_ms=self._legs["end_to_end"].glance(second - 1),
        )

    def result(self, ended: str) -> dict[str, Any]:
        """Everything for the parent, as JSON."""
        return {
            "ended": ended,
            "consumed": self.consumed,
            "duplicates": self._tracker.duplicates,
            "reordered": self._tracker.reordered,
            "foreign": self._tracker.foreign,
            "unreadable": self._unreadable,
            "unreadable_first": self._unreadable_first,
            "warmup": self._tracker.warmup,
            "first_us": self._first_us,
            "last_us": self._last_us,
            "clock_drift_us": self._clock.drift_us(),
            "received": {name: seen.ranges() for name, seen in self._tracker.received.items()},
            "negative": {leg: recorder.negative for leg, recorder in self._legs.items() if recorder.negative},
            "legs": {
                leg: {second: made.encode() for second, made in recorder.distributions()}
                for leg, recorder in self._legs.items()
            },
        }

    def close(self) -> None:
        """Commits what was counted and leaves the group."""
        self._store()
        self._consumer.close()


def main() -> int:
    """Joins the group, says so, reads until told, and leaves the result in a file."""
    channel = Channel()
    task = ConsumerTask.model_validate(channel.task)
    # First of all: threads that the Kafka client starts inherit what this one has.
    priority = run_on_time() if task.real_time else AS_ASKED
    try:
        reader = Reader(task, channel)
        reader.start()
        channel.say("started", priority=priority)
        stop_collecting_garbage()
        ended = reader.run()
    except (ServiceError, KafkaException) as error:
        channel.say("error", message=str(error))
        return 1
    scratch = task.result.with_suffix(".part")
    scratch.write_text(json.dumps(reader.result(ended)))
    scratch.replace(task.result)
    channel.say("result", ended=ended)
    reader.close()
    return 0
