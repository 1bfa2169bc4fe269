"""Processes of a sandbox: recorded, found again, ended with their children, never mistaken for somebody else's."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from envs.errors import FleetstreamError
from envs.sandbox import processes

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
# A process that starts another one in a session of its own and does not wait for it: a stray when its parent is gone.
PARENT = [
    sys.executable,
    "-c",
    (
        "import subprocess, sys, time; "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True); "
        "print('started', flush=True); time.sleep(60)"
    ),
]


def test_a_spawned_process_is_found_and_stopped(tmp_path: Path) -> None:
    record = processes.spawn(tmp_path, "sleeper", SLEEPER)
    assert processes.find(tmp_path, "sleeper") == record
    assert processes.alive(tmp_path, "sleeper")
    processes.stop(tmp_path, "sleeper")
    assert not psutil.pid_exists(record.pid) or psutil.Process(record.pid).status() == psutil.STATUS_ZOMBIE
    assert processes.records(tmp_path) == []


def test_a_role_runs_once(tmp_path: Path) -> None:
    processes.spawn(tmp_path, "sleeper", SLEEPER)
    try:
        with pytest.raises(FleetstreamError, match="sleeper already runs"):
            processes.spawn(tmp_path, "sleeper", SLEEPER)
    finally:
        processes.stop(tmp_path, "sleeper")


def test_a_stranger_with_the_same_pid_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(SLEEPER)
    try:
        record = processes.Record(role="old", pid=stranger.pid, started=time.time() - 3600, argv=SLEEPER)
        folder = tmp_path / "processes"
        folder.mkdir()
        (folder / "old.json").write_text(record.model_dump_json())
        assert not processes.alive(tmp_path, "old")
        processes.stop(tmp_path, "old")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_strays_of_a_killed_process_carry_the_mark(tmp_path: Path) -> None:
    record = processes.spawn(tmp_path, "parent", PARENT)
    processes.wait_until(
        lambda: "started" in processes.log_tail(tmp_path, "parent"), "parent", 20, tmp_path, "parent"
    )
    os.kill(record.pid, 9)
    found = [process for process in processes.strays(tmp_path) if process.pid != record.pid]
    assert len(found) == 1
    processes.end(processes.strays(tmp_path))
    processes.stop(tmp_path, "parent")
    assert [process for process in processes.strays(tmp_path) if process.status() != psutil.STATUS_ZOMBIE] == []


def test_what_waits_for_its_parent_alone_has_ended(tmp_path: Path) -> None:
    record = processes.spawn(tmp_path, "parent", PARENT)
    try:
        processes.wait_until(
            lambda: "started" in processes.log_tail(tmp_path, "parent"), "parent", 20, tmp_path, "parent"
        )
        [child] = psutil.Process(record.pid).children()
        begun = time.monotonic()
        processes.end([child], grace=60)
        assert child.status() == psutil.STATUS_ZOMBIE
        assert time.monotonic() - begun < 60
    finally:
        processes.stop(tmp_path, "parent")


def test_a_process_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    processes.spawn(tmp_path, "short", [sys.executable, "-c", "print('cannot bind'); raise SystemExit(3)"])
    with pytest.raises(FleetstreamError, match="cannot bind"):
        processes.wait_until(lambda: False, "short", 20, tmp_path, "short")
