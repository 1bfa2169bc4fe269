"""Reads a stream's topic: one consumer group a stream, offsets committed by hand, started where the stream says.

The group's only member is static, so that a process that replaces a killed one continues at once. Where no offset was
ever committed, reading begins at ReadFromTimestamp, by default the moment at which the stream was created (Firehose
Developer Guide, "Configure source settings for Amazon MSK").
"""

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from envs.sandbox.firehose.buffer import Record
from envs.sandbox.firehose.errors import StreamError
from envs.sandbox.firehose.settings import Settings

log = logging.getLogger(__name__)

_TIMEOUT: Final = 15.0
_REFUSALS_BEFORE_FAILURE: Final = 5
_SHORT_S: Final = 5.0
"""A pause of the reader that is shorter is not told to librdkafka: it would throw away what it has fetched ahead, and
the broker would send all that once more after each of many pauses a second."""
# Few large fetches: the stream is in no hurry, and the broker serves others who are.
_FETCHING: Final = {
    "fetch.min.bytes": 64 * 1024,
    "fetch.wait.max.ms": 500,
    # A part at a time: while the broker encrypts an answer, whoever shares its network thread waits.
    "max.partition.fetch.bytes": 128 * 1024,
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 16 * 1024,
}


class Source:
    """The consumer of one stream. `config` is how to reach the brokers (`services.kafka.client_config`)."""

    def __init__(self, settings: Settings, config: Mapping[str, Any]) -> None:
        self._settings = settings
        self._refusals = 0
        self._paused = False
        self._waits_since: float | None = None
        self._positions: dict[int, int] = {}
        self._behind: set[int] = set()
        group = settings.group
        self._consumer = Consumer(
            {
                **config,
                **_FETCHING,
                "client.id": group,
                "group.id": group,
                "group.instance.id": group,
                "session.timeout.ms": 15_000,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                # An offset that Kafka no longer has is records lost to retention: that must be seen, see `_catch_up`.
                "auto.offset.reset": "error",
                "partition.assignment.strategy": "range",
                "error_cb": self._note,
            }
        )
        self._consumer.subscribe([settings.topic], on_assign=self._assign)

    def read(self, seconds: float, paused: bool) -> list[Record]:
        """Records that arrived, at most 2,000; none while `paused`, which keeps the membership alive all the same.

        Raises `KafkaException` for errors that do not pass, `StreamError` when the brokers refuse the stream's role.
        """
        waits = self._waits(paused)
        if paused and waits < _SHORT_S:
            time.sleep(seconds)
            return []
        self._pause(paused)
        if paused:
            message = self._consumer.poll(seconds)
            messages = [] if message is None else [message]
        else:
            messages = self._consumer.consume(2000, seconds)
        arrival_ms = time.time_ns() // 1_000_000
        records = [record for message in messages if (record := self._record(message, arrival_ms)) is not None]
        if self._behind:
            self._catch_up()
        return records

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Commits the next offsets to read, by partition. Raises `KafkaException` when that did not work."""
        wanted = [TopicPartition(self._settings.topic, partition, offset) for partition, offset in offsets.items()]
        for done in self._consumer.commit(offsets=wanted, asynchronous=False) or []:
            if done.error is not None:
                raise KafkaException(done.error)

    def lag(self) -> int:
        """Records of the assigned partitions that have not been read yet, as far as the last fetches showed."""
        behind = 0
        for partition, position in self._positions.items():
            _, end = self._consumer.get_watermark_offsets(
                TopicPartition(self._settings.topic, partition), cached=True
            )
            behind += max(0, end - position)
        return behind

    def close(self) -> None:
        """Leaves the brokers."""
        self._consumer.close()

    def _record(self, message: Message, arrival_ms: int) -> Record | None:
        error = message.error()
        if error is not None:
            if error.fatal() or error.code() in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID):
                raise KafkaException(error)
            if error.code() == KafkaError._AUTO_OFFSET_RESET:
                self._behind.add(message.partition() or 0)
            else:
                log.warning("reading %s: %s", self._settings.topic, error.str())
            return None
        partition, offset = message.partition(), message.offset()
        if partition is None or offset is None:
            raise StreamError(f"a message of {self._settings.topic} has no partition or offset")
        self._refusals = 0
        self._positions[partition] = offset + 1
        _, broker_ms = message.timestamp()
        # A tombstone has no value: it is delivered as an empty record, so that every offset is accounted for.
        return Record(message.value() or b"", partition, offset, broker_ms, arrival_ms)

    def _catch_up(self) -> None:
        """Goes on at the oldest record that is left, and says how many were deleted before they were delivered."""
        for partition in sorted(self._behind):
            oldest, _ = self._consumer.get_watermark_offsets(
                TopicPartition(self._settings.topic, partition), timeout=_TIMEOUT
            )
            log.error(
                "%s/%d: offsets %d to %d were deleted by Kafka's retention before they were delivered",
                *(self._settings.topic, partition, self._positions.get(partition, 0), oldest - 1),
            )
            self._positions[partition] = oldest
        self._behind.clear()
        # Not seek: librdkafka has given the partition up until it is assigned again.
        self._start_at(self._positions)

    def _start_at(self, positions: Mapping[int, int]) -> None:
        self._consumer.assign([TopicPartition(self._settings.topic, number, at) for number, at in positions.items()])
        self._paused = False

    def _waits(self, paused: bool) -> float:
        """For how long the reader has not wanted anything, in seconds."""
        now = time.monotonic()
        self._waits_since = (self._waits_since or now) if paused else None
        return now - (self._waits_since or now)

    def _pause(self, paused: bool) -> None:
        if paused != self._paused:
            (self._consumer.pause if paused else self._consumer.resume)(self._consumer.assignment())
            self._paused = paused

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        committed = consumer.committed(partitions, timeout=_TIMEOUT)
        new = [TopicPartition(p.topic, p.partition, self._settings.start_ms) for p in committed if p.offset < 0]
        # What this process has read beyond the commit is in its hands and will be delivered: it is not read again.
        starts = {p.partition: max(p.offset, self._positions.get(p.partition, 0)) for p in committed if p.offset >= 0}
        for found in consumer.offsets_for_times(new, timeout=_TIMEOUT) if new else []:
            if found.error is not None:
                raise KafkaException(found.error)
            offset = found.offset
            if offset < 0:
                # Nothing that recent yet. The end is taken as a number, so that what comes from now on is not missed.
                _, offset = consumer.get_watermark_offsets(found, timeout=_TIMEOUT)
            starts[found.partition] = offset
        self._positions = dict(starts)
        self._start_at(starts)
        if new:
            # From here on the start no longer depends on when a stream of this name was created.
            self.commit({p.partition: starts[p.partition] for p in new})
        log.info("reading %s from %s", self._settings.topic, starts)

    def _note(self, error: KafkaError) -> None:
        log.warning("kafka: %s", error.str())
        if error.code() == KafkaError._AUTHENTICATION:
            self._refusals += 1
            if self._refusals >= _REFUSALS_BEFORE_FAILURE:
                raise StreamError(
                    f"the brokers refuse {self._settings.source_role_arn}: {error.str()}. The role must exist in "
                    "this account and be allowed kafka-cluster:Connect"
                )
