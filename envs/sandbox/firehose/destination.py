"""Writes a parcel to S3: its records and its failed records, each as one object, tried again until it is done."""

import logging
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from envs.errors import FleetstreamError
from envs.sandbox.firehose.buffer import Parcel
from envs.sandbox.firehose.reporting import Reporter
from envs.sandbox.firehose.settings import Settings
from envs.sandbox.firehose.transform import PROCESSING_FAILED

log = logging.getLogger(__name__)

# zlib's fastest levels cost a third of the default's time and a sixth more bytes on telemetry.
_LEVEL = 3


class Destination:
    """The S3 destination of a stream. `give_up` makes it raise the last error instead of trying for ever."""

    def __init__(self, settings: Settings, s3: Any, reporter: Reporter, give_up: threading.Event) -> None:
        self._settings = settings
        self._s3 = s3
        self._reporter = reporter
        self._give_up = give_up

    def write(self, parcel: Parcel) -> list[str]:
        """Writes the parcel's objects and answers their keys. Once it returns, they are visible to every reader.

        S3 that fails is tried again with back-off for as long as it takes: with an MSK source the records stay in
        Kafka meanwhile (Firehose Developer Guide, "Handle data delivery failures"). A key is kept over the attempts,
        so that a write of unknown outcome leaves no second object.
        """
        keys = []
        if parcel.data:
            keys.append(self._settings.names.record_key(parcel.oldest_ms))
            self._put(keys[-1], parcel.data)
        if parcel.failures:
            keys.append(self._settings.names.error_key(parcel.oldest_failure_ms, PROCESSING_FAILED))
            self._put(keys[-1], parcel.failures)
        return keys

    def _put(self, key: str, parts: list[bytes]) -> None:
        body = compress(parts) if self._settings.gzip else b"".join(parts)
        options: dict[str, str] = {}
        if self._settings.kms_key_arn:
            options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self._settings.kms_key_arn}
        retrying = Retrying(
            retry=retry_if_exception_type((ClientError, BotoCoreError, FleetstreamError)),
            wait=wait_exponential_jitter(multiplier=0.2, max=5),
            stop=lambda _state: self._give_up.is_set(),
            sleep=self._pause,
            before_sleep=self._tell,
            reraise=True,
        )
        retrying(self._s3.put_object, Bucket=self._settings.bucket, Key=key, Body=body, **options)

    def _pause(self, seconds: float) -> None:
        self._give_up.wait(seconds)

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else "InternalError"
        self._reporter.error(f"S3.{code}", f"Delivery will be retried, attempt {state.attempt_number}: {error}")
        self._reporter.metrics({"DeliveryToS3.Success": 0})


def freshness_s(parcel: Parcel) -> float:
    """The age of the oldest record of a parcel that has just been delivered, in seconds."""
    oldest = [value for value in (parcel.oldest_ms, parcel.oldest_failure_ms) if value]
    return max(0.0, time.time() - min(oldest) / 1000) if oldest else 0.0


def compress(parts: Iterable[bytes]) -> bytes:
    """One gzip member of all parts, made piece by piece so that they are never joined in memory as a whole."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, wbits=31)
    pieces = [compressor.compress(piece) for piece in _joined(iter(parts), 1024)]
    return b"".join([*pieces, compressor.flush()])


def _joined(parts: Iterator[bytes], number: int) -> Iterator[bytes]:
    while piece := b"".join(islice(parts, number)):
        yield piece
