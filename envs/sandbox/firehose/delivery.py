"""The delivery loop: read, transform, buffer, write, commit; each stage works while the next one is busy.

The order of the topic is kept from end to end: transformations run side by side but are taken over in the order in
which they began, and parcels are written one after the other. Memory is bounded: at most `_IN_FLIGHT` batches are
being transformed and `_PARCELS` parcels wait to be written; beyond that the topic is not read.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from confluent_kafka import KafkaException

from envs.sandbox.firehose.buffer import Batcher, Buffer, Outcome, Parcel, Record
from envs.sandbox.firehose.destination import Destination, freshness_s
from envs.sandbox.firehose.errors import StreamError
from envs.sandbox.firehose.reporting import Reporter
from envs.sandbox.firehose.settings import MB, Settings
from envs.sandbox.firehose.source import Source

log = logging.getLogger(__name__)

_IN_FLIGHT: Final = 4
_INVOCATIONS: Final = 2
_PARCELS: Final = 2
_READ_S: Final = 0.1
STOP_GRACE_S: Final = 8.0
"""How long a stream that is stopped tries to deliver what it has in hand."""


class Delivery:
    """Executes one version of a stream until `stop` is set or the settings have changed."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        transform: Callable[[list[Record]], list[Outcome]],
        destination: Destination,
        reporter: Reporter,
        stop: threading.Event,
        give_up: threading.Event,
        changed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._source = source
        self._transform = transform
        self._destination = destination
        self._reporter = reporter
        self._stop = stop
        self._give_up = give_up
        self._changed = changed
        # Without a function nothing is gained by waiting for a batch.
        function = settings.transformation
        self._batcher = Batcher(function.size_bytes if function else MB, function.interval_s if function else 0)
        self._buffer = Buffer(settings.size_bytes, settings.interval_s, settings.delimiter)
        self._transforming: deque[Future[list[Outcome]]] = deque()
        self._writing: deque[Future[Parcel]] = deque()
        self._filled: deque[Parcel] = deque()
        self._invokers = ThreadPoolExecutor(_INVOCATIONS, thread_name_prefix="transform")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._read_records = 0
        self._read_bytes = 0

    def run(self) -> None:
        """Delivers until told to stop, then delivers what is in hand. Raises what makes the stream fail.

        When it raises, nothing was committed that is not written: the next process reads it again.
        """
        try:
            while not self._stop.is_set() and not self._changed():
                busy = len(self._transforming) >= _IN_FLIGHT or len(self._writing) + len(self._filled) >= _PARCELS
                # While invocations are under way their results are looked for more often than records arrive.
                wait = 0.02 if self._transforming else _READ_S
                self._take_in(self._source.read(wait, busy))
                self._move_on()
            self._finish()
        except BaseException:
            self._give_up.set()
            raise
        finally:
            # An invocation may take five more minutes, and nobody takes its outcome any more.
            self._invokers.shutdown(wait=False, cancel_futures=True)
            self._writer.shutdown(wait=True, cancel_futures=True)

    def _take_in(self, records: list[Record]) -> None:
        now = time.monotonic()
        for record in records:
            self._read_records += 1
            self._read_bytes += len(record.value)
            if (batch := self._batcher.add(record, now)) is not None:
                self._transforming.append(self._invokers.submit(self._transform, batch))
        if self._batcher.due(now):
            self._transforming.append(self._invokers.submit(self._transform, self._batcher.take()))

    def _move_on(self) -> None:
        """Hands over what is done: transformed batches to the buffer, full parcels to the writer."""
        now = time.monotonic()
        while self._transforming and self._transforming[0].done():
            for outcome in self._transforming.popleft().result():
                if (parcel := self._buffer.add(outcome, now)) is not None:
                    self._filled.append(parcel)
        if self._buffer.due(now) and (parcel := self._buffer.take()) is not None:
            self._filled.append(parcel)
        while self._writing and self._writing[0].done():
            self._commit(self._writing.popleft().result().offsets)
        while self._filled and len(self._writing) < _PARCELS:
            self._writing.append(self._writer.submit(self._deliver, self._filled.popleft(), self._source_metrics()))

    def _source_metrics(self) -> dict[str, float]:
        """What was read since the last time, and what is left to read."""
        records, size = self._read_records, self._read_bytes
        self._read_records = self._read_bytes = 0
        return {
            "DataReadFromSource.Records": records,
            "DataReadFromSource.Bytes": size,
            "KafkaOffsetLag": self._source.lag(),
        }

    def _finish(self) -> None:
        """Delivers what is in hand. Raises `StreamError` when that takes longer than the grace."""
        timer = threading.Timer(STOP_GRACE_S, self._give_up.set)
        timer.start()
        try:
            if batch := self._batcher.take():
                self._transforming.append(self._invokers.submit(self._transform, batch))
            while True:
                self._move_on()
                if not self._transforming and (parcel := self._buffer.take()) is not None:
                    self._filled.append(parcel)
                elif not (self._transforming or self._writing or self._filled):
                    return
                if self._give_up.is_set():
                    raise StreamError(f"not delivered within {STOP_GRACE_S:g} s of the stop: the rest stays in Kafka")
                # Nothing new is taken in; the brokers see that this member lives.
                self._source.read(0.02, paused=True)
        finally:
            timer.cancel()

    def _deliver(self, parcel: Parcel, metrics: dict[str, float]) -> Parcel:
        keys = self._destination.write(parcel)
        log.info("delivered %d records, %d failed: %s", len(parcel.data), len(parcel.failures), ", ".join(keys))
        self._reporter.metrics(
            {
                **metrics,
                "DeliveryToS3.Records": len(parcel.data),
                "DeliveryToS3.Bytes": parcel.size,
                "DeliveryToS3.Success": 1,
                "DeliveryToS3.DataFreshness": freshness_s(parcel),
                "SucceedProcessing.Records": len(parcel.data) + parcel.dropped,
            }
        )
        return parcel

    def _commit(self, offsets: dict[int, int]) -> None:
        # In this thread, which reads: librdkafka lets a commit of another thread wait for as long as records arrive.
        try:
            self._source.commit(offsets)
        except KafkaException as error:
            # Costs duplicates when this process ends, never records, and the next commit makes up for it.
            log.warning("offsets %s not committed, their records may be delivered again: %s", offsets, error)
