"""What the services' tests share: a Kafka that refuses, stalls and dies on request."""

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from hypothesis import settings

from services.connection import ConnectionSpec

# Timing never decides a test: a busy machine makes an example slow, not wrong.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


class MockKafka:
    """librdkafka's mock cluster (rdkafka_mock.h): a broker in this process that real clients connect to over TCP.

    The Python package carries the library but no binding for the mock's controls, so they are called through ctypes.
    """

    def __init__(self) -> None:
        folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
        self._lib = ctypes.CDLL(str(next(folder.glob("librdkafka-*"))))
        self._lib.rd_kafka_conf_new.restype = ctypes.c_void_p
        self._lib.rd_kafka_new.restype = ctypes.c_void_p
        self._lib.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
        self._lib.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        reason = ctypes.create_string_buffer(512)
        self._client = ctypes.c_void_p(
            self._lib.rd_kafka_new(0, ctypes.c_void_p(self._lib.rd_kafka_conf_new()), reason, 512)
        )
        assert self._client, reason.value
        self._cluster = ctypes.c_void_p(self._lib.rd_kafka_mock_cluster_new(self._client, 1))
        self.bootstrap = self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        self._lib.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)

    def connection(self, **extra: Any) -> ConnectionSpec:
        """How to reach it."""
        return ConnectionSpec(bootstrap=self.bootstrap, extra={"broker.address.family": "v4", **extra})

    def create_topic(self, name: str, partitions: int) -> None:
        """Adds a topic."""
        assert self._lib.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1) == 0

    def refuse(self, request: int, error: int, times: int) -> None:
        """Answers the next `times` requests of this kind with this error."""
        errors = (ctypes.c_int * times)(*[error] * times)
        self._lib.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(times), errors
        )

    def refuse_topic(self, name: str, error: int) -> None:
        """Answers every produce request to this topic with this error."""
        self._lib.rd_kafka_mock_topic_set_error(self._cluster, name.encode(), error)

    def go_down(self) -> None:
        """Closes all connections and takes no new ones."""
        assert self._lib.rd_kafka_mock_broker_set_down(self._cluster, 1) == 0

    def come_up(self) -> None:
        """Takes connections again; what was stored is still there."""
        assert self._lib.rd_kafka_mock_broker_set_up(self._cluster, 1) == 0

    def close(self) -> None:
        """Ends it."""
        self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
        self._lib.rd_kafka_destroy(self._client)


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    """A fresh mock cluster with the topics that a load uses."""
    cluster = MockKafka()
    cluster.create_topic("telemetry", 3)
    cluster.create_topic("canary", 1)
    yield cluster
    cluster.close()
