"""Drives the Pulumi engine through its command line, and reads the events that it writes."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from envs import project
from envs.errors import FleetstreamError

_OPERATIONS: Final = {
    "create": "creating",
    "update": "updating",
    "delete": "deleting",
    "replace": "replacing",
    "create-replacement": "replacing",
    "delete-replaced": "deleting",
    "refresh": "reading",
    "read": "reading",
}


class EngineError(FleetstreamError):
    """The engine refused or failed; the message carries its own words."""


@dataclass
class Update:
    """What one run of the engine did: resources by operation, and what it complained about."""

    changes: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the program itself said in passing."""
    steps: list[dict[str, Any]] = field(default_factory=list)
    """Every step on a resource as the engine tells it (`StepEventMetadata`), with inputs before and after."""
    seconds: float = 0.0

    @property
    def changed(self) -> int:
        """How many resources differ or were touched."""
        return sum(count for operation, count in self.changes.items() if operation not in ("same", "read"))

    def summary(self) -> str:
        """The changes in words, such as ``12 created, 3 unchanged``."""
        words = {
            "create": "created",
            "update": "updated",
            "delete": "deleted",
            "replace": "replaced",
            "same": "unchanged",
        }
        return (
            ", ".join(f"{count} {words.get(name, name)}" for name, count in sorted(self.changes.items())) or "nothing"
        )


class Engine:
    """The Pulumi command line for one stack, with the variables it runs under."""

    def __init__(
        self, executable: Path, stack: str, variables: Mapping[str, str], config_file: Path | None = None
    ) -> None:
        self._executable = executable
        self._stack = stack
        self._variables = dict(variables)
        self._config = ("--config-file", str(config_file)) if config_file else ()

    def update(self, verb: str, *flags: str, on_progress: Callable[[str], None] | None = None) -> Update:
        """Runs ``preview``, ``up``, ``refresh`` or ``destroy`` to its end and returns what it did.

        A first Ctrl-C is passed on, so that the engine ends the operations under way and writes its state.
        Raises `EngineError` with every error that the engine reported.
        """
        result = Update()
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="fleetstream-events-") as folder:
            log = Path(folder) / "events.jsonl"
            argv = ["-s", self._stack, *self._config, *flags, "--event-log", str(log)]
            with self._start(verb, *argv) as process:
                reader = _Events(log)
                try:
                    while process.poll() is None:
                        reader.take(result, on_progress)
                        time.sleep(0.1)
                except KeyboardInterrupt:
                    _end(process)
                    raise
            reader.take(result, on_progress)
            output = (process.stdout_text or "").strip()
        result.seconds = time.monotonic() - started
        if process.returncode != 0:
            told = "\n".join(result.errors) or output or "no reason was given"
            raise EngineError(f"pulumi {verb} of stack {self._stack} failed:\n{told}")
        return result

    def outputs(self) -> dict[str, Any]:
        """The stack's exports. Raises `EngineError` when the stack was never brought up."""
        return json.loads(self.call("stack", "output", "--json", "--show-secrets", "-s", self._stack))

    def resources(self) -> list[dict[str, Any]]:
        """The resources in the stack's state, as the engine keeps them."""
        return self.state()["deployment"].get("resources") or []

    def state(self) -> dict[str, Any]:
        """The stack's whole state, with the operations that a run which was cut off left open in it."""
        return orjson.loads(self.call("stack", "export", "-s", self._stack))

    def put_state(self, state: dict[str, Any]) -> None:
        """Puts another state in its place. Raises `EngineError` when it is not whole in itself."""
        with tempfile.NamedTemporaryFile(prefix="fleetstream-state-", suffix=".json") as file:
            file.write(orjson.dumps(state))
            file.flush()
            self.call("stack", "import", "--file", file.name, "-s", self._stack)

    def call(self, *arguments: str, cwd: Path = project.ROOT) -> str:
        """Runs any other command of the engine and returns what it prints. Raises `EngineError`."""
        done = subprocess.run(
            [str(self._executable), *arguments, "--non-interactive"],
            env={**os.environ, **self._variables},
            cwd=cwd,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise EngineError(f"pulumi {' '.join(arguments)} failed:\n{done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    @contextlib.contextmanager
    def _start(self, verb: str, *arguments: str) -> Iterator["_Process"]:
        # The engine gets a process group of its own: a Ctrl-C on the terminal then reaches it once, from here.
        process = _Process(
            [str(self._executable), verb, *arguments, "--non-interactive", "--color", "never"],
            env={**os.environ, **self._variables, "PULUMI_DEBUG_COMMANDS": "true"},
            cwd=project.ROOT,
        )
        try:
            yield process
        finally:
            process.finish()


class _Process(subprocess.Popen[str]):
    """The engine under way, its output kept in a file so that no pipe can fill up."""

    def __init__(self, argv: list[str], env: Mapping[str, str], cwd: Path) -> None:
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in finish)
        self.stdout_text: str | None = None
        super().__init__(
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            process_group=0,
            text=True,
        )

    def finish(self) -> None:
        if self.poll() is None:
            _end(self)
        self._output.seek(0)
        self.stdout_text = self._output.read()
        self._output.close()


class _Events:
    """Reads the engine's event log while it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._done = 0

    def take(self, result: Update, on_progress: Callable[[str], None] | None) -> None:
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as log:
            log.seek(self._offset)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                self._event(orjson.loads(line), result, on_progress)

    def _event(self, event: dict[str, Any], result: Update, on_progress: Callable[[str], None] | None) -> None:
        if (diagnostic := event.get("diagnosticEvent")) and diagnostic.get("severity") == "error":
            urn = diagnostic.get("urn", "").rpartition("::")[2]
            message = diagnostic["message"].strip()
            result.errors.append(f"{urn}: {message}" if urn and not urn.startswith("fleetstream-") else message)
        if diagnostic and diagnostic.get("severity", "").startswith("info"):
            result.notes.append(diagnostic["message"].strip())
        if begun := event.get("resourcePreEvent"):
            result.steps.append(begun["metadata"])
        if summary := event.get("summaryEvent"):
            result.changes.update(summary.get("resourceChanges") or {})
        if "resOutputsEvent" in event:
            self._done += 1
        if on_progress and begun:
            metadata = begun["metadata"]
            if doing := _OPERATIONS.get(metadata["op"]):
                kind, name = metadata["type"].rpartition(":")[2], metadata["urn"].rpartition("::")[2]
                on_progress(f"{self._done} done, {doing} {kind} {name}")


def _end(process: subprocess.Popen[str]) -> None:
    """Asks the engine to end what is under way and write its state; insists after a while."""
    for sent, seconds in ((signal.SIGINT, 30), (signal.SIGINT, 5), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return
