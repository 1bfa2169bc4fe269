"""Worker processes: a parent starts one with its task on standard input and talks to it in lines of JSON.

The parent's side is `Worker`, the child's is `Channel`. A child ends when told, on SIGTERM, and when its parent is
gone (its standard input closes), so that nothing is left behind a killed command.
"""

import contextlib
import gc
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from services.errors import ServiceError


class WorkerError(ServiceError):
    """A worker process ended or fell silent before it had done what was asked. `what` says so in one line."""

    def __init__(self, what: str, log: str = "") -> None:
        super().__init__(what + log)
        self.what = what


class Worker:
    """One child process, as its parent sees it."""

    def __init__(self, name: str, module: str, task: Mapping[str, Any], log: Path) -> None:
        """Starts ``python -m module`` with `task` as the first line of its input; what it logs goes to `log`."""
        self.name = name
        self.log = log
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stderr:
            # In a session of its own: Ctrl-C in a terminal reaches the parent alone, which then stops its workers.
            self.process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, name=f"{name}-reader", daemon=True)
        self._reader.start()
        self.send(task)

    def _read(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 - opened as a pipe above
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "noise", "text": line.rstrip()}
            self._events.put(event)
        self._events.put(None)

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends one line; a worker that has ended does not get it, which `next_event` then tells."""
        assert self.process.stdin is not None  # noqa: S101 - opened as a pipe above
        with contextlib.suppress(BrokenPipeError, ValueError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def next_event(self, seconds: float) -> dict[str, Any] | None:
        """The worker's next line, or None when none came within `seconds`.

        Raises `WorkerError` when the worker has ended, or says itself what went wrong.
        """
        try:
            event = self._events.get(timeout=seconds) if seconds > 0 else self._events.get_nowait()
        except queue.Empty:
            return None
        if event is None:
            self._events.put(None)
            tail = f". Its last lines ({self.log}):\n{self.log_tail()}"
            raise WorkerError(f"{self.name} {self._ending()}", tail)
        if event.get("event") == "error":
            raise WorkerError(f"{self.name}: {event['message']}")
        return event

    def wait_for(self, kind: str, seconds: float) -> dict[str, Any]:
        """Reads on until an event of this kind; raises `WorkerError` when there is none within `seconds`."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            event = self.next_event(left)
            if event is not None and event.get("event") == kind:
                return event
        raise WorkerError(f"{self.name} did not say {kind!r} within {seconds:g} s. Its log: {self.log}")

    def _ending(self) -> str:
        try:
            code = self.process.wait(5)
        except subprocess.TimeoutExpired:
            return "closed its output"
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def log_tail(self, lines: int = 10) -> str:
        """The last lines that it logged."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) or "(nothing)"
        except OSError as error:
            return f"(no log: {error})"

    def close(self, grace: float = 5.0) -> None:
        """Ends the process for certain: its input closes, then SIGTERM, then SIGKILL after `grace` seconds each."""
        assert self.process.stdin is not None  # noqa: S101 - opened as a pipe above
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        for end in (lambda: None, self.process.terminate, self.process.kill):
            end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace)
                break
        self._reader.join(grace)
        assert self.process.stdout is not None  # noqa: S101 - opened as a pipe above
        self.process.stdout.close()


class Channel:
    """The child's side: its task, what it is told later, and what it answers."""

    def __init__(self) -> None:
        """Reads the task; from then on SIGTERM, "stop" and a parent that has gone all set `stopping`."""
        self._stopped = threading.Event()
        self._orphaned = threading.Event()
        self._told: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._stopped.set())
        lines = _input_lines()
        self.task: dict[str, Any] = next(lines, {})
        threading.Thread(target=self._listen, args=(lines,), name="parent", daemon=True).start()

    def _listen(self, lines: Iterator[dict[str, Any]]) -> None:
        for message in lines:
            if message.get("do") == "stop":
                self._stopped.set()
            self._told.put(message)
        self._orphaned.set()
        self._stopped.set()

    @property
    def stopping(self) -> bool:
        """Whether the work is to end now, with a report of what was done."""
        return self._stopped.is_set()

    @property
    def orphaned(self) -> bool:
        """Whether the parent has gone: nobody reads a report any more."""
        return self._orphaned.is_set()

    def told(self, kind: str) -> dict[str, Any] | None:
        """The parent's message of this kind, if it has come; those of other kinds before it are passed over."""
        with contextlib.suppress(queue.Empty):
            while (message := self._told.get_nowait()).get("do") != kind:
                pass
            return message
        return None

    def wait_told(self, *kinds: str) -> dict[str, Any] | None:
        """Waits for the parent's message of one of these kinds; None when it is time to stop instead."""
        while not self.stopping:
            with contextlib.suppress(queue.Empty):
                message = self._told.get(timeout=0.1)
                if message.get("do") in kinds:
                    return message
        return None

    def say(self, event: str, **fields: Any) -> None:
        """Sends one line to the parent; without effect when it has gone."""
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
            sys.stdout.flush()


def _input_lines() -> Iterator[dict[str, Any]]:
    """Standard input line by line, unbuffered: a thread waiting in `sys.stdin` would block the interpreter's end."""
    buffered = b""
    while chunk := os.read(0, 65536):
        *lines, buffered = (buffered + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)


def stop_collecting_garbage() -> None:
    """No more pauses of the cycle collector: for the paced part of a process that makes no cycles and ends soon."""
    gc.collect()
    gc.freeze()
    gc.disable()
