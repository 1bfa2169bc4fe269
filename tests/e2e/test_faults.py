"""What goes wrong on the way: each ends with a clear word, a correct count, a telling exit code and nothing left."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envs.sandbox import processes
from envs.sandbox.provider import journal
from tests.e2e.conftest import (
    ROOT,
    SANDBOXES,
    Background,
    assert_nothing_left,
    fleetstream,
    marked,
    status,
)

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-faults"), pytest.mark.timeout(1200)]

Start = Callable[..., Background]
SHORT = ("--rate", "500", "--seconds", "4", "--warm-up", "1")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def kill_part(name: str, role: str) -> None:
    """Kills a sandbox's process; a delivery stream is named by the beginning of its role."""
    kill(next(record.pid for record in processes.records(SANDBOXES / name) if record.role.startswith(role)))


def assert_unchanged(name: str) -> None:
    for verb in ("preview", "refresh"):
        done = fleetstream(verb, "--name", name, "--expect-no-changes")
        assert done.returncode == 0, done.stderr


def assert_identity(messages: dict[str, Any]) -> None:
    assert messages["attempted"] == messages["acked"] + messages["rejected"] + messages["unknown"]


def test_a_broker_that_dies_during_the_load_is_told_and_counted(background: Start, name: str, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    running = background(
        "run", "--name", name, "--rate", "500", "--seconds", "15", "--warm-up", "1", "--json", str(result)
    )
    running.wait_for(": load ")
    time.sleep(1)
    kill_part(name, "broker")
    assert running.process.wait(400) == 1
    summary = json.loads(result.read_text())
    messages = summary["messages"]
    assert messages["unknown"] > 0
    assert_identity(messages)
    assert summary["problems"]
    assert not summary["passed"]
    assert "Traceback" not in running.log.read_text()
    assert_nothing_left(name)


def test_ctrl_c_while_it_comes_up_leaves_nothing(background: Start, name: str) -> None:
    running = background("run", "--name", name, *SHORT)
    running.wait_for("creating")
    assert running.end(signal.SIGINT) == 130
    printed = running.log.read_text()
    assert "interrupted during bringing the environment up" in printed
    assert "Traceback" not in printed
    assert_nothing_left(name)


def test_an_up_killed_with_its_provider_recovers_and_every_later_stage_can_be_interrupted(
    background: Start, name: str, tmp_path: Path
) -> None:
    running = background("up", "--name", name)
    running.wait_for("creating")
    time.sleep(4)
    kill(running.process.pid)
    running.process.wait()
    kill_part(name, "provider")
    with (SANDBOXES / name / journal.FILE).open("a") as noted:
        # As a provider leaves it that is killed between asking AWS for something and the answer.
        noted.write('{"call":"last","urn":"urn:pulumi:sandbox::fleetstream::aws:sqs/queue:Queue::asked-for"}\n')
    recovered = fleetstream("recover", "--name", name)
    assert recovered.returncode == 0, recovered.stderr
    assert "asked-for had been made cannot be told" in " ".join(recovered.stderr.split())
    assert_unchanged(name)

    for stage, words in (
        ("load, 500 messages/s", "interrupted during the load"),
        ("\narchive", "interrupted during waiting for the archive"),
        ("analysis (Spark)", "interrupted during the analysis"),
    ):
        result = tmp_path / "result.json"
        running = background("run", "--name", name, *SHORT, "--json", str(result))
        running.wait_for(stage)
        time.sleep(0.5)
        assert running.end(signal.SIGINT) == 130, running.log.read_text()
        printed = running.log.read_text()
        assert words in printed
        assert "Traceback" not in printed
        assert_identity(json.loads(result.read_text())["messages"])
        assert not [process for process in marked(name) if "services." in " ".join(process.cmdline())]

    running = background("run", "--name", name, *SHORT)
    running.wait_for("load, 500 messages/s")
    time.sleep(2)
    kill(running.process.pid)
    running.process.wait()
    kill_part(name, "delivery")
    kill_part(name, "agent")
    recovered = fleetstream("recover", "--name", name)
    assert recovered.returncode == 0, recovered.stderr
    assert "Nothing in the account was lost" in recovered.stderr
    assert_unchanged(name)
    done = fleetstream("down", "--name", name)
    assert done.returncode == 0, done.stderr
    assert "inventory of the emulated account: empty" in done.stderr
    assert_nothing_left(name)


def test_two_sandboxes_run_at_once_and_each_goes_down_without_one_of_its_parts(name: str, tmp_path: Path) -> None:
    other = name + "b"
    try:
        for one in (name, other):
            up = fleetstream("up", "--name", one)
            assert up.returncode == 0, up.stderr
        ours, theirs = (status(one, tmp_path)["endpoints"] for one in (name, other))
        assert all(ours[part] != theirs[part] for part in ("aws", "kafka", "provider"))
        kill_part(name, "broker")
        assert fleetstream("down", "--name", name).returncode == 0
        assert_nothing_left(name)
        assert_unchanged(other)
        kill_part(other, "provider")
        damaged = fleetstream("up", "--name", other)
        assert damaged.returncode == 1
        assert f"fleetstream recover --name {other}" in damaged.stderr
    finally:
        done = fleetstream("down", "--name", other)
    assert done.returncode == 0, done.stderr
    assert_nothing_left(other)


def test_a_taken_port_is_refused_by_its_number(name: str) -> None:
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
    broken = (ROOT / "envs" / "Pulumi.sandbox.yaml").read_text()
    for right, wrong in (
        ("cidr: 10.10.0.0/16", "cidr: 10.10.0.0/99"),
        ("retention_hours: 24", "retention_hours: -1"),
        ("buffer_mb: 5", "bufer_mb: 5"),
        ("log_retention_days: 1", "log_retention_days: 2"),
        ('account: "123456789012"', "owner_name: x"),
    ):
        assert right in broken
        broken = broken.replace(right, wrong)
    path = ROOT / "envs" / f"Pulumi.{environment}.yaml"
    path.write_text(broken)
    try:
        done = fleetstream("preview", "--env", environment, "--emulated", "--name", name)
        assert done.returncode == 1
        for setting in ("cidr", "retention_hours", "bufer_mb", "log_retention_days", "owner_name"):
            assert setting in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    finally:
        fleetstream("down", "--env", environment, "--emulated", "--name", name)
        path.unlink()


def test_an_unknown_environment_is_told_with_those_that_exist() -> None:
    done = fleetstream("preview", "--env", "stagign")
    assert done.returncode == 2
    assert "stagign" in done.stderr
    assert "staging" in done.stderr


def test_a_build_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    build = tmp_path / "build"
    build.write_text("a file")
    done = fleetstream("up", env={"FLEETSTREAM_BUILD_DIR": str(build)})
    assert done.returncode == 1
    assert str(build) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sandbox_that_outgrows_a_size_limit_is_told_and_gone(background: Start, name: str) -> None:
    # What a full disk or a quota does: every process of the sandbox may write 3 MB to a file and no more.
    running = background("run", "--name", name, *SHORT, file_limit=3 << 20)
    assert running.process.wait(300) == 1
    printed = running.log.read_text()
    assert "problem:" in printed
    assert "File too large" in printed
    assert "Traceback" not in printed
    assert_nothing_left(name)
