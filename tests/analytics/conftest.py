"""One small Spark session a worker; every test that uses it is in one group, so that there is one session in all."""

import os
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from analytics import session


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    # Two tiny partitions: the tests' frames have a few hundred rows.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    running = session.session("fleetstream tests", cores=2)
    running.conf.set("spark.sql.shuffle.partitions", "2")
    yield running
    running.stop()


@pytest.fixture
def shared_session(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> SparkSession:
    """The command as a function of this process: with the tests' session, which it must not stop."""
    monkeypatch.setattr(session, "session", lambda name, cores=None: spark)
    monkeypatch.setattr(SparkSession, "stop", lambda self: None)
    return spark
