"""The consumer as a service: reads the topic for good, and says every ten seconds how much came and how late.

``python -m services.consumer.service``; its settings are environment variables, see `Settings`. It has to run on
Windows as well, where Service Fabric starts it as a guest executable: there a process is told to end by Ctrl+C, and
`Fabric_Folder_App_Log` names the folder for what it logs ("Run a service as a guest executable").
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message

from services.clock import Clock
from services.connection import ConnectionSpec
from services.consumer.tally import Tally
from services.contract import CONSUMER_GROUP, TELEMETRY_TOPIC
from services.errors import ServiceError
from services.kafka import LOW_LATENCY_CONSUMER

log = logging.getLogger("services.consumer")

_LOG_FOLDER: Final = "Fabric_Folder_App_Log"
_LOG_BYTES: Final = 5_000_000
_LOG_FILES: Final = 10
_BATCH: Final = 2000
_POLL_S: Final = 0.2
_REPORT_S: Final = 10.0
_CONNECT_S: Final = 20.0


@dataclass(frozen=True)
class Settings:
    """What to read, and as which group. An empty region: the brokers ask nobody to sign in (tests, benchmarks)."""

    bootstrap: str
    region: str = ""
    topic: str = TELEMETRY_TOPIC
    group: str = CONSUMER_GROUP

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Settings":
        """From ``FLEETSTREAM_BOOTSTRAP`` and the like; empty counts as not set. Raises `ServiceError`."""
        given = {name: variables.get(f"FLEETSTREAM_{name.upper()}", "").strip() for name in cls.__dataclass_fields__}
        if not given["bootstrap"]:
            raise ServiceError("FLEETSTREAM_BOOTSTRAP is not set: give the brokers' addresses, host:port[,host:port]")
        return cls(**{name: value for name, value in given.items() if value})

    def connection(self) -> ConnectionSpec:
        """How the brokers are reached."""
        return ConnectionSpec(bootstrap=self.bootstrap, region=self.region or None)


class Service:
    """One member of the group, until it is told to stop."""

    def __init__(self, settings: Settings, *, report_s: float = _REPORT_S, connect_s: float = _CONNECT_S) -> None:
        self._settings = settings
        self._report_s = report_s
        self._connect_s = connect_s
        self._clock = Clock.anchored()
        self._stop = threading.Event()

    def stop(self, *_: object) -> None:
        """Ends `run` soon; also as a signal's handler."""
        self._stop.set()

    def run(self) -> None:
        """Reads until stopped; what was counted is committed. Raises `ServiceError` when it cannot begin."""
        consumer = Consumer(
            {
                "group.id": self._settings.group,
                "partition.assignment.strategy": "cooperative-sticky",
                "auto.offset.reset": "earliest",
                # An offset is stored when its message has been counted, never before.
                "enable.auto.offset.store": False,
                **LOW_LATENCY_CONSUMER,
                **self._settings.connection().settings(),
                "error_cb": lambda error: log.warning("%s: %s", error.name(), error.str()),
            }
        )
        try:
            self._require_topic(consumer)
            consumer.subscribe([self._settings.topic])
            log.info("reading %s in group %s", self._settings.topic, self._settings.group)
            self._read(consumer)
        finally:
            consumer.close()

    def _require_topic(self, consumer: Consumer) -> None:
        topic = self._settings.topic
        try:
            found = consumer.list_topics(topic, timeout=self._connect_s).topics[topic]
        except KafkaException as error:
            raise ServiceError(
                f"Kafka at {self._settings.bootstrap} cannot be reached: {error.args[0].str()}. Is it running, and "
                "may this machine's role sign in?"
            ) from error
        if found.error is not None:
            raise ServiceError(f"topic {topic}: {found.error.str()}")

    def _read(self, consumer: Consumer) -> None:
        tally, report_at = Tally(), time.monotonic() + self._report_s
        while not self._stop.is_set():
            first = consumer.poll(_POLL_S)
            if first is not None:
                self._count(consumer, tally, [first, *consumer.consume(_BATCH, 0)])
            if time.monotonic() >= report_at:
                log.info(json.dumps(tally.report()))
                tally, report_at = Tally(), time.monotonic() + self._report_s
        log.info(json.dumps(tally.report()))

    def _count(self, consumer: Consumer, tally: Tally, messages: list[Message]) -> None:
        now_us = self._clock.now_us()
        good: list[Message] = []
        for message in messages:
            if (error := message.error()) is None:
                good.append(message)
            else:
                log.warning("%s: %s", error.name(), error.str())
        tally.add([message.value() or b"" for message in good], now_us)
        for last in {(message.topic(), message.partition()): message for message in good}.values():
            try:
                consumer.store_offsets(message=last)
            except KafkaException as error:
                # Its partition was handed over in between: the next member reads it again.
                log.debug("offset not stored: %s", error.args[0].str())


def main() -> int:
    """Reads until told to end. 0: it was told to; 1: it could not begin, and Service Fabric tries again."""
    _log_to(os.environ.get(_LOG_FOLDER, ""))
    try:
        service = Service(Settings.read(os.environ))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, service.stop)
        service.run()
    except ServiceError as error:
        log.error("%s", error)
        return 1
    return 0


def _log_to(folder: str) -> None:
    """Into files that are replaced in turn, or on standard output where nobody names a folder."""
    handler = (
        RotatingFileHandler(Path(folder) / "consumer.log", maxBytes=_LOG_BYTES, backupCount=_LOG_FILES)
        if folder
        else logging.StreamHandler(sys.stdout)
    )
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, handlers=[handler])


if __name__ == "__main__":
    sys.exit(main())
