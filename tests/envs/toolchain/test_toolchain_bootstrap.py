"""`make install` from its first line: which Python and uv it takes, and how it survives being killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from fake_machine import PROJECT, Machine

from envs.toolchain import bootstrap

UV = """
case "$1" in
    --version) echo "uv {version}" ;;
    sync)
        echo "$@" >> "$EVENTS"
        if [ -n "$UV_WAITS" ]; then touch "$UV_WAITS"; sleep 60; fi
        exit ${{UV_FAILS:-0}} ;;
esac
"""
PINNED = ".".join(str(part) for part in bootstrap.pinned_uv())


@pytest.fixture
def clone(machine: Machine) -> Path:
    """A clone of the project, as far as its installation goes, on a machine with the pinned uv."""
    clone = machine.root / "clone"
    (clone / "envs" / "toolchain").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "envs/toolchain/bootstrap.py"):
        shutil.copyfile(PROJECT / name, clone / name)
    machine.script("uv", UV.format(version=PINNED))
    for tool in ("make", "awk", "test"):
        if (found := shutil.which(tool, path=os.defpath + ":/usr/bin:/bin")) is not None:
            machine.link(Path(found), tool)
    return clone


def start(machine: Machine, clone: Path, **variables: str) -> subprocess.Popen[str]:
    """The bootstrap as `make install` starts it."""
    return subprocess.Popen(
        [sys.executable, clone / "envs" / "toolchain" / "bootstrap.py"],
        env={**machine.environment(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """Waits for the end with this exit code, and returns what was printed."""
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    return output


def test_the_pinned_uv_is_the_locked_one() -> None:
    lock = tomllib.loads((PROJECT / "uv.lock").read_text())
    assert [entry["version"] for entry in lock["package"] if entry["name"] == "uv"] == [PINNED]


@pytest.mark.parametrize(
    ("version", "suits"),
    [
        ((0, 13, 9), True),
        ((0, 13, 12), True),
        ((0, 13, 8), False),
        ((0, 14, 0), False),
        ((0, 12, 99), False),
        ((), False),
    ],
)
def test_which_uv_suits(version: tuple[int, ...], suits: bool) -> None:
    assert bootstrap.suits(version, (0, 13, 9)) is suits


def test_a_uv_on_path_makes_the_environment_from_the_lock_file(machine: Machine, clone: Path) -> None:
    finish(start(machine, clone))
    finish(start(machine, clone))
    assert machine.happened() == [f"sync --locked --compile-bytecode --python {sys.executable}"] * 2
    assert not list(machine.cache.glob("uv-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_after_an_interrupted_sync_every_package_is_put_there_anew(
    machine: Machine, clone: Path, number: signal.Signals
) -> None:
    reached = machine.root / "reached"
    process = start(machine, clone, UV_WAITS=str(reached))
    while not reached.exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, number)
    process.communicate(timeout=60)

    finish(start(machine, clone))
    finish(start(machine, clone))

    assert [line.endswith(" --reinstall") for line in machine.happened()] == [False, True, False]


def test_a_failed_sync_says_what_to_do(machine: Machine, clone: Path) -> None:
    output = finish(start(machine, clone, UV_FAILS="2"), code=1)
    assert "uv could not make the virtual environment .venv" in output
    assert "`make install` again" in output
    assert "Traceback" not in output


def test_two_at_once_take_turns(machine: Machine, clone: Path) -> None:
    reached = machine.root / "reached"
    first = start(machine, clone, UV_WAITS=str(reached))
    while not reached.exists():
        assert first.poll() is None
        time.sleep(0.02)
    second = start(machine, clone)
    assert second.stdout is not None
    assert "another process is making it, waiting for that one" in second.stdout.readline()
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=60)
    finish(second)
    assert len(machine.happened()) == 2


def test_another_python_is_refused_by_name(machine: Machine, clone: Path) -> None:
    code = (
        "import runpy, sys; sys.version_info = (3, 14, 0, 'final', 0); "
        f"runpy.run_path({str(clone / 'envs/toolchain/bootstrap.py')!r}, run_name='__main__')"
    )
    process = machine.start("-c", code)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "fleetstream needs Python 3.11, 3.12 or 3.13" in output


def test_a_cache_that_cannot_be_written_is_explained(machine: Machine, clone: Path) -> None:
    machine.cache.parent.mkdir()
    machine.cache.write_text("a file")
    output = finish(start(machine, clone), code=1)
    assert f"The cache {machine.cache} must be a directory of yours" in output
    assert "Traceback" not in output


def test_make_names_the_python_that_is_missing(machine: Machine, clone: Path) -> None:
    machine.script("python3.11", "exit 127")
    machine.script("python3", "exit 1")
    made = subprocess.run(
        ["make", "install"], cwd=clone, env=machine.environment(), capture_output=True, text=True, check=False
    )
    assert made.returncode != 0
    assert "error: no Python 3.11, 3.12 or 3.13 on PATH" in made.stdout + made.stderr


def test_make_takes_the_first_python_that_runs(machine: Machine, clone: Path) -> None:
    machine.script("python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")
    machine.link(Path(sys.executable).resolve(), "python3.12")
    made = subprocess.run(
        ["make", "install"], cwd=clone, env=machine.environment(), capture_output=True, text=True, check=False
    )
    assert machine.happened()[0].startswith("sync --locked --compile-bytecode --python ")
    assert ".venv/bin/python" in made.stderr, "the second half was not started"


def test_make_alone_shows_what_can_be_made(machine: Machine, clone: Path) -> None:
    made = subprocess.run(["make"], cwd=clone, env=machine.environment(), capture_output=True, text=True, check=True)
    assert [line.split()[:2] for line in made.stdout.splitlines()] == [
        ["make", target] for target in ("help", "install", "run", "test", "bench", "bench-quick", "check", "tables")
    ]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to see what is left behind")
def test_the_gate_fails_when_a_process_is_left_behind(tmp_path: Path) -> None:
    gate = tmp_path / ".ci" / "run"
    gate.parent.mkdir()
    shutil.copy(PROJECT / ".ci" / "run", gate)
    tools = tmp_path / "bin"
    tools.mkdir()
    make = tools / "make"
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}

    make.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/made\n')
    make.chmod(0o755)
    assert subprocess.run([gate], env=environment, check=False).returncode == 0
    assert (tmp_path / "made").read_text().split() == ["check", "test"]

    make.write_text(f"#!/bin/sh\nsetsid sleep 300 >/dev/null 2>&1 &\necho $! > {tmp_path}/pid\n")
    left = subprocess.run([gate], env=environment, capture_output=True, text=True, check=False)
    assert left.returncode == 1
    assert "error: left behind: process" in left.stderr
    assert "sleep 300" in left.stderr

    make.write_text("#!/bin/sh\nexit 2\n")
    assert subprocess.run([gate], env=environment, check=False).returncode == 2
