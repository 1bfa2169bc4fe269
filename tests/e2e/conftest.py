"""The command as a user starts it, and sandboxes that are gone when a test is over."""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = str(ROOT / ".venv" / "bin" / "fleetstream")
RECORDED = ROOT.parent / "shared" / "data" / "obd"
SANDBOXES = ROOT / "build" / "sandboxes"


def fleetstream(
    *arguments: str, timeout: float = 240, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end; what it prints is in the result."""
    return subprocess.run(
        [COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
    )


class Background:
    """The command under way, its output in a file that a test can watch."""

    def __init__(self, log: Path, arguments: Sequence[str], file_limit: int | None) -> None:
        self.log = log
        command = [COMMAND, *arguments]
        if file_limit is not None:
            command = ["bash", "-c", f'ulimit -f {file_limit // 1024} && exec "$@"', "bash", *command]
        with log.open("w") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT)

    def wait_for(self, text: str, seconds: float = 400) -> None:
        """Waits until the command has printed this; fails when it ends before."""
        self.wait_for_match(re.escape(text), seconds)

    def wait_for_match(self, pattern: str, seconds: float = 400) -> None:
        """The same for a regular expression."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.log.read_text()):
            assert self.process.poll() is None, f"ended before {pattern!r}:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"no {pattern!r} within {seconds} s:\n{self.log.read_text()}"
            time.sleep(0.05)

    def end(self, sent: signal.Signals = signal.SIGINT, seconds: float = 120) -> int:
        """Sends a signal and waits for the end; returns the exit code."""
        self.process.send_signal(sent)
        return self.process.wait(seconds)


@pytest.fixture
def background(tmp_path: Path) -> Iterator[Callable[..., Background]]:
    started: list[Background] = []

    def start(*arguments: str, file_limit: int | None = None) -> Background:
        """`file_limit`: how many bytes it, and what it starts, may write to one file."""
        started.append(Background(tmp_path / f"command-{len(started)}.log", arguments, file_limit))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a sandbox of this test's own."""
    chosen = f"t{secrets.token_hex(3)}"
    yield chosen
    if (SANDBOXES / chosen).exists():
        fleetstream("down", "--name", chosen)


def status(name: str, folder: Path) -> dict[str, Any]:
    """What ``status --json`` says."""
    path = folder / "status.json"
    fleetstream("status", "--name", name, "--json", str(path))
    return json.loads(path.read_text())


def marked(name: str) -> list[psutil.Process]:
    """Every live process that belongs to a sandbox."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get("FLEETSTREAM_SANDBOX") == str(SANDBOXES / name)
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def assert_nothing_left(name: str) -> None:
    """No process, no port of one and no file of a sandbox that was taken down."""
    assert [(process.pid, process.cmdline()) for process in marked(name)] == []
    assert not (SANDBOXES / name).exists()
