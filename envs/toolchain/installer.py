"""Installs items into the cache: one process at a time, with progress, and stoppable at any point."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from envs.toolchain import store
from envs.toolchain.bootstrap import cache_dir
from envs.toolchain.errors import ToolchainError, explained, storage_remedy
from envs.toolchain.progress import Report, Step, megabytes
from envs.toolchain.store import Item

_GRACE: Final = 5.0
"""Seconds that a child process has to end when it is asked to."""

_TAIL: Final = 12
"""Lines of a failed child's output that its error shows."""


class Installer:
    """What the parts of the toolchain install themselves with; threads may share one."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._stopping = threading.Event()
        self._children: set[subprocess.Popen[str]] = set()
        self._guard = threading.Lock()

    def install(self, item: Item, title: str, fill: Callable[[Path, Step], None]) -> Path:
        """Returns the item's directory; when it is not installed yet, `fill(scratch, step)` makes its content.

        Nothing counts as installed before all of it is there. Raises `ToolchainError`.
        """
        with explained(title, cache_dir()), self.locked(item):
            if (path := store.installed(item)) is not None:
                return path
            store.clear_leftovers(item)
            scratch = store.scratch_path(item)
            scratch.mkdir(parents=True)
            try:
                with self.report.step(title) as step:
                    fill(scratch, step)
                size = store.commit(item, scratch)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        self.report.line(f"{title}: installed, {megabytes(size)} in {item.path}")
        return item.path

    @contextlib.contextmanager
    def locked(self, item: Item) -> Iterator[None]:
        """Keeps other processes from installing this tool. The lock of a process that dies is free again."""
        item.lock_path.parent.mkdir(parents=True, exist_ok=True)
        lock, told = FileLock(item.lock_path), False
        while True:
            try:
                lock.acquire(timeout=0.3)
                break
            except Timeout:
                if not told:
                    self.report.line(f"{item.name}: another process is installing it, waiting for that one")
                    told = True
                self.check()
        try:
            yield
        finally:
            lock.release()

    def run(
        self,
        what: str,
        argv: Sequence[str | Path],
        *,
        remedy: str,
        on_line: Callable[[str], None] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> list[str]:
        """Runs a child process to its end and returns the lines it wrote; `env` is added to our variables.

        Raises `ToolchainError` with the child's last lines and `remedy` when it fails.
        """
        lines: list[str] = []
        tail: deque[str] = deque(maxlen=_TAIL)
        with self._child(argv, env, cwd) as child:
            assert child.stdout is not None  # noqa: S101 - a pipe was asked for
            for raw in child.stdout:
                line = raw.rstrip()
                lines.append(line)
                if line:
                    tail.append(line)
                if on_line is not None:
                    on_line(line)
            code = child.wait()
        self.check()
        if code != 0:
            shown = "\n".join(f"  {line}" for line in tail) or "  (it wrote nothing)"
            raise ToolchainError(f"{what} failed (exit code {code}):\n{shown}\n{storage_remedy(shown) or remedy}")
        return lines

    def stop(self) -> None:
        """Ends all children, and makes every thread that uses this installer give up soon."""
        with self._guard:
            self._stopping.set()
            children = list(self._children)
        for child in children:
            _signal(child, signal.SIGTERM)
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_GRACE)
            _signal(child, signal.SIGKILL)

    def check(self) -> None:
        """Raises `ToolchainError` once this installer was stopped."""
        if self._stopping.is_set():
            raise ToolchainError("interrupted: `make install` goes on from here")

    @contextlib.contextmanager
    def _child(
        self, argv: Sequence[str | Path], env: Mapping[str, str] | None, cwd: Path | None
    ) -> Iterator[subprocess.Popen[str]]:
        with self._guard:
            self.check()
            try:
                child = subprocess.Popen(
                    [str(part) for part in argv],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    env={**os.environ, **(env or {})},
                    cwd=cwd,
                    # A session of its own: a compiler's own children end with it, whoever is interrupted how.
                    start_new_session=True,
                )
            except OSError as error:
                raise ToolchainError(f"{argv[0]} cannot be started: {error.strerror or error}") from error
            self._children.add(child)
        try:
            yield child
        finally:
            if child.poll() is None:
                _signal(child, signal.SIGKILL)
                child.wait()
            if child.stdout is not None:
                child.stdout.close()
            with self._guard:
                self._children.discard(child)


def _signal(child: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
