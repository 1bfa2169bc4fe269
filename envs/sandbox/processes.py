"""The processes of one sandbox: each is recorded before it does anything, so that `down` finds it after any crash."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from envs.errors import FleetstreamError

MARK: Final = "FLEETSTREAM_SANDBOX"
"""The variable that every process of a sandbox inherits; its value is the sandbox's state directory."""


class Record(BaseModel):
    """One process that was started. A pid alone could be somebody else's by now: the start time tells."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    pid: int
    started: float
    argv: list[str]

    def process(self) -> psutil.Process | None:
        """The live process, or None when it has ended (a zombie that waits for its parent counts as ended)."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def spawn(
    state_dir: Path,
    role: str,
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Record:
    """Starts a process in a session of its own, logging to ``logs/<role>.log``, and records it.

    `env` is added to this process's variables. Raises `FleetstreamError` when the role already runs.
    """
    if (running := find(state_dir, role)) is not None and running.process() is not None:
        raise FleetstreamError(f"{role} already runs as process {running.pid} in {state_dir}")
    log_path = state_dir / "logs" / f"{role}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {}), MARK: str(state_dir)},
            cwd=cwd,
            start_new_session=True,
        )
    record = Record(role=role, pid=child.pid, started=psutil.Process(child.pid).create_time(), argv=list(argv))
    path = _record_path(state_dir, role)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_text(record.model_dump_json(indent=1))
    scratch.replace(path)
    return record


def find(state_dir: Path, role: str) -> Record | None:
    """The record of a role, whether its process lives or not."""
    try:
        return Record.model_validate_json(_record_path(state_dir, role).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def records(state_dir: Path) -> list[Record]:
    """All records of a sandbox, ordered by start time."""
    found = (find(state_dir, path.stem) for path in (state_dir / "processes").glob("*.json"))
    return sorted((record for record in found if record is not None), key=lambda record: record.started)


def alive(state_dir: Path, role: str) -> bool:
    """Whether the role's process runs now."""
    record = find(state_dir, role)
    return record is not None and record.process() is not None


def stop(state_dir: Path, role: str, grace: float = 10.0) -> None:
    """Ends a role's process and its children: asks first, and insists after `grace` seconds. Forgets the record."""
    record = find(state_dir, role)
    if record is not None and (process := record.process()) is not None:
        end([process, *_children(process)], grace)
    _record_path(state_dir, role).unlink(missing_ok=True)


def strays(state_dir: Path) -> list[psutil.Process]:
    """Every live process that carries this sandbox's mark, recorded or not, except the caller and its ancestors."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in psutil.process_iter() if process.pid not in own and _marked(process, state_dir)]


def end(processes: Sequence[psutil.Process], grace: float = 10.0) -> None:
    """Ends these processes: SIGTERM, then SIGKILL for those that still live after `grace` seconds."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    living = _living(processes, grace)
    for process in living:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _living(living, grace)


def log_tail(state_dir: Path, role: str, lines: int = 15) -> str:
    """The last lines that a role wrote: what an error message shows."""
    try:
        text = (state_dir / "logs" / f"{role}.log").read_text(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:])


def wait_until(condition: Callable[[], bool], what: str, seconds: float, state_dir: Path, role: str) -> None:
    """Waits until `condition()` holds.

    Raises `FleetstreamError` with the role's last lines when the process ends first or the time is over.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if not alive(state_dir, role):
            raise FleetstreamError(f"{what}: the process ended. Its last lines:\n{log_tail(state_dir, role)}")
        if time.monotonic() > deadline:
            raise FleetstreamError(f"{what}: not within {seconds:g} s. Its last lines:\n{log_tail(state_dir, role)}")
        time.sleep(0.05)


def _record_path(state_dir: Path, role: str) -> Path:
    return state_dir / "processes" / f"{role}.json"


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def _living(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that still run after so long. A zombie has ended: only its parent has not looked yet."""
    deadline = time.monotonic() + seconds
    living = list(processes)
    while living and time.monotonic() < deadline:
        _, left = psutil.wait_procs(living, timeout=0.05)
        living = [process for process in left if not _is_zombie(process)]
    return living


def _is_zombie(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def _marked(process: psutil.Process, state_dir: Path) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return process.environ().get(MARK) == str(state_dir)
    return False
