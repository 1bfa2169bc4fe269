"""Brokers are warm when their compilers rest, and are kept while rounds ask for the same kind."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import warm
from benchmarks.brokers import Cluster
from benchmarks.measure import Shape
from envs import toolchain
from services.connection import ConnectionSpec

JVM = ("-Xms512m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:-AlwaysPreTouch")
"""Of brokers that only have to be there."""

NAMED = """
import ctypes, sys, threading, time
def spin():
    ctypes.CDLL(None).prctl(15, b"C2 CompilerThread0", 0, 0, 0)
    end = time.thread_time() + 0.3
    while time.thread_time() < end:
        pass
    print("spun", flush=True)
    sys.stdin.read()
thread = threading.Thread(target=spin)
thread.start()
end = time.thread_time() + 0.3
while time.thread_time() < end:
    pass
thread.join()
"""


def told(_: str) -> None:
    """Nobody is told."""


def test_only_the_time_of_compilers_counts() -> None:
    with subprocess.Popen([sys.executable, "-c", NAMED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        spent = warm.compile_seconds([process.pid])
        process.kill()
    # The kernel counts in hundredths of a second.
    assert 0.2 < spent < 0.5
    assert warm.compile_seconds([process.pid]) == 0.0


def test_it_goes_on_until_the_compilers_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, spent, loads = [0.0], iter([0.0, 8.0, 8.0, 9.0, 9.0, 9.1]), []

    def load() -> None:
        loads.append(None)
        clock[0] += 10.0

    monkeypatch.setattr(warm, "compile_seconds", lambda pids: next(spent))
    monkeypatch.setattr(warm.time, "monotonic", lambda: clock[0])
    words = warm.warm_up(Cluster(ConnectionSpec(bootstrap=""), (), False), tmp_path, told, load)
    assert len(loads) == 3
    assert words == "brokers warmed up for 30 s, their compilers rest"


def test_it_gives_up_on_compilers_that_never_rest_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def load() -> None:
        clock[0] += 50.0

    monkeypatch.setattr(warm, "compile_seconds", lambda pids: clock[0] / 2)
    monkeypatch.setattr(warm.time, "monotonic", lambda: clock[0])
    words = warm.warm_up(Cluster(ConnectionSpec(bootstrap=""), (), False), tmp_path, told, load)
    assert words == "brokers warmed up for 150 s, their compilers still take 50% of a processor"


@pytest.fixture
def brokers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[warm.WarmBrokers]:
    monkeypatch.setattr(warm, "SHAPE", Shape(rate=500, seconds=1, partitions=2, devices=20, warmup_seconds=0))
    monkeypatch.setattr(warm, "_LONGEST_S", 0.0)
    with warm.warm_brokers(toolchain.find(), tmp_path) as kept:
        yield kept


def test_brokers_of_one_kind_are_kept_and_others_take_their_place(brokers: warm.WarmBrokers) -> None:
    first = brokers.get(1, False, JVM, True, told)
    assert "warmed up" in brokers.words
    assert brokers.get(1, False, JVM, True, told) is first
    cold = brokers.get(1, False, JVM, False, told)
    assert cold.pids != first.pids
    assert not Path(f"/proc/{first.pids[0]}").exists()
    assert brokers.words == "brokers new, not warmed up"
    assert brokers.get(1, False, JVM, False, told).pids != cold.pids
    brokers.end()
    assert not Path(f"/proc/{cold.pids[0]}").exists()
