"""What goes wrong on the way: each ends with a clear word, a correct count, a telling exit code and nothing left."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import (
    ROOT,
    SANDBOXES,
    Background,
    assert_nothing_left,
    fleetstream,
    latest_summary,
    marked,
    status,
)

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-faults"), pytest.mark.timeout(600)]

Start = Callable[..., Background]
SHORT = ("--rate", "500", "--seconds", "4", "--warm-up", "1")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_a_broker_that_dies_during_the_load_is_told_and_counted(background: Start, name: str, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    running = background(
        "run", "--name", name, "--rate", "500", "--seconds", "60", "--warm-up", "1", "--json", str(result)
    )
    running.wait_for("load, 500 messages/s")
    running.wait_for(": load ")
    kill(status(name, tmp_path)["processes"]["broker"]["pid"])
    assert running.process.wait(240) == 1
    summary = json.loads(result.read_text())
    messages = summary["messages"]
    assert messages["unknown"] > 0
    assert messages["attempted"] == messages["acked"] + messages["rejected"] + messages["unknown"]
    assert summary["problems"]
    assert not summary["passed"]
    assert_nothing_left(name)


@pytest.mark.parametrize(
    "stage",
    ["pulumi up", "load, 500 messages/s", "archive", "analysis (Spark)"],
    ids=["up", "load", "archive", "spark"],
)
def test_ctrl_c_at_any_stage_cleans_up(background: Start, name: str, stage: str) -> None:
    running = background("run", "--name", name, *SHORT)
    running.wait_for(stage)
    time.sleep(1.0)
    assert running.end(signal.SIGINT) == 130
    printed = running.log.read_text()
    assert "interrupted during" in printed
    assert "Traceback" not in printed
    summary = latest_summary(printed)
    messages = summary["messages"]
    assert messages["attempted"] == messages["acked"] + messages["rejected"] + messages["unknown"]
    assert_nothing_left(name)


def test_after_kill_9_of_the_command_recover_and_down_work(background: Start, name: str) -> None:
    running = background("run", "--name", name, *SHORT)
    running.wait_for("load, 500 messages/s")
    kill(running.process.pid)
    running.process.wait()
    recovered = fleetstream("recover", "--name", name)
    assert recovered.returncode == 0, recovered.stderr
    assert fleetstream("preview", "--name", name, "--expect-no-changes").returncode == 0
    done = fleetstream("down", "--name", name)
    assert done.returncode == 0, done.stderr
    assert_nothing_left(name)


def test_after_kill_9_of_up_recover_makes_it_whole(background: Start, name: str) -> None:
    running = background("up", "--name", name)
    running.wait_for("pulumi up")
    time.sleep(6)
    kill(running.process.pid)
    running.process.wait()
    recovered = fleetstream("recover", "--name", name)
    assert recovered.returncode == 0, recovered.stderr
    for verb in ("preview", "refresh"):
        assert fleetstream(verb, "--name", name, "--expect-no-changes").returncode == 0, verb
    done = fleetstream("down", "--name", name)
    assert done.returncode == 0, done.stderr
    assert "empty" in done.stderr
    assert_nothing_left(name)


@pytest.mark.parametrize("role", ["agent", "provider", "delivery", "broker"])
def test_down_works_after_any_part_was_killed(name: str, tmp_path: Path, role: str) -> None:
    assert fleetstream("up", "--name", name).returncode == 0
    found = status(name, tmp_path)["processes"]
    kill(next(process["pid"] for known, process in found.items() if known.startswith(role)))
    fleetstream("down", "--name", name)
    assert_nothing_left(name)


def test_two_sandboxes_run_at_once(name: str, tmp_path: Path) -> None:
    other = name + "b"
    try:
        for one in (name, other):
            up = fleetstream("up", "--name", one)
            assert up.returncode == 0, up.stderr
        ours, theirs = (status(one, tmp_path)["endpoints"] for one in (name, other))
        assert all(ours[part] != theirs[part] for part in ("aws", "kafka", "provider"))
        assert fleetstream("down", "--name", name).returncode == 0
        assert fleetstream("preview", "--name", other, "--expect-no-changes").returncode == 0
    finally:
        fleetstream("down", "--name", other)
    assert marked(other) == []
    assert not (SANDBOXES / other).exists()


def test_a_taken_port_is_refused_by_its_number(name: str) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = fleetstream("up", "--name", name, "--aws-port", str(port))
    assert done.returncode == 1
    assert f"aws port {port} is taken" in done.stderr
    assert_nothing_left(name)


def test_settings_with_five_mistakes_are_told_at_once(name: str) -> None:
    environment = f"broken-{name}"
    tracked = (ROOT / "envs" / "Pulumi.sandbox.yaml").read_text()
    broken = (
        tracked.replace("cidr: 10.10.0.0/16", "cidr: 10.10.0.0/99")
        .replace("retention_hours: 24", "retention_hours: -1")
        .replace("buffer_mb: 5", "bufer_mb: 5")
        .replace("log_retention_days: 1", "log_retention_days: 2")
        .replace('account: "123456789012"', 'account: "12"')
    )
    path = ROOT / "envs" / f"Pulumi.{environment}.yaml"
    path.write_text(broken.replace('account: "12"', "owner_name: x"))
    try:
        done = fleetstream("preview", "--env", environment, "--emulated", "--name", name)
        assert done.returncode == 1
        for setting in ("cidr", "retention_hours", "bufer_mb", "log_retention_days", "owner_name"):
            assert setting in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    finally:
        fleetstream("down", "--env", environment, "--emulated", "--name", name)
        path.unlink()
