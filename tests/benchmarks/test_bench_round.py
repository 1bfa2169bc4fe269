"""Rounds of the benchmark on real brokers, small: what they say adds up, whatever the machine makes of the times."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import measure
from benchmarks.brokers import Cluster, cluster
from benchmarks.measure import Shape, Usage
from envs import toolchain

SMALL = Shape(rate=2_000, seconds=2, partitions=2, devices=50, warmup_seconds=0.2, real_time=False)


def told(_: str) -> None:
    """Nobody is told."""


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(toolchain.find(), tmp_path_factory.mktemp("kafka"), secure=True) as running:
        yield running


def test_a_paced_round_accounts_for_every_message(brokers: Cluster, tmp_path: Path) -> None:
    found = measure.paced(brokers, SMALL, tmp_path, told)
    figures = found.figures
    assert figures["messages"] == 4_000
    assert figures["lost"] == figures["not_acked"] == figures["duplicates"] == figures["reordered"] == 0
    assert 0 < figures["p50"] <= figures["p99"] <= figures["p99_9"] <= figures["max"]
    assert {"broker_cores", "producer_cores", "consumer_cores", "due_to_sent_p99"} <= figures.keys()
    assert found.seconds
    assert any("normal priority, as asked" in note for note in found.notes)


def test_a_peak_round_accounts_for_every_message(brokers: Cluster, tmp_path: Path) -> None:
    figures = measure.peak(brokers, SMALL, 20_000, tmp_path, told).figures
    assert figures["messages"] == 20_000
    assert figures["lost"] == figures["not_acked"] == 0
    assert figures["rate"] > 0


def test_a_round_for_memory_tells_it(brokers: Cluster, tmp_path: Path) -> None:
    figures = measure.memory(brokers, SMALL, tmp_path, told).figures
    assert figures["producer_mb"] > 10
    assert figures["consumer_mb"] > 10


def test_a_round_leaves_no_topic(brokers: Cluster) -> None:
    from services import kafka

    topics = kafka.admin(brokers.connection.settings()).list_topics(timeout=10).topics
    assert [name for name in topics if not name.startswith("__")] == []


def test_brokers_end_with_their_block(tmp_path: Path) -> None:
    with cluster(toolchain.find(), tmp_path, brokers=3) as three:
        assert three.count == 3
        three.create_topic("replicated", 1)
        pids = three.pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_memory_that_grows_is_seen() -> None:
    child = "import time\nkept = []\nwhile True:\n    kept.append(bytearray(3_000_000)); time.sleep(0.1)"
    with subprocess.Popen([sys.executable, "-c", child]) as process:
        usage = Usage({"producer": [process.pid]}, every_s=0.05)
        try:
            while usage.largest_mb("producer") < 60:
                pass
        finally:
            usage.end()
            process.kill()
    assert usage.grown_mb("producer") > 5
    assert usage.figures(1_000_000)["producer_cores"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"), [(["nonsense"], "there are headline"), (["--rounds", "0"], "--rounds")]
)
def test_bad_arguments_are_named(arguments: list[str], words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "benchmarks", *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert words in done.stderr
