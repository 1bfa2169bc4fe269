"""One worker process of a function, seen from the pool: start it, call it within a deadline, read its log, end it."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from envs.sandbox import function_worker

_LOG_KEPT: Final = 256 * 1024
"""Bytes of one invocation's output that are kept; what was written before them is cut."""
_LOG_LIMIT: Final = 16 * 1024 * 1024


class WorkerTimeout(Exception):  # noqa: N818 - an outcome of an invocation, not a fault of the pool
    """The worker did not answer in time and was killed."""


class WorkerExit(Exception):  # noqa: N818
    """The worker ended before it answered; the text is AWS's wording of how."""


class InitError(Exception):
    """The handler could not be imported; `document` is the error as JSON."""

    def __init__(self, document: bytes) -> None:
        super().__init__(document.decode(errors="replace"))
        self.document = document


class Worker:
    """A process that runs `envs/sandbox/function_worker.py`. One thread at a time may use it; `end` any thread."""

    def __init__(
        self, command: Sequence[str], packages: str, environment: Mapping[str, str], root: Path, scratch: Path
    ) -> None:
        """Starts the process. `command` is the interpreter with its options, `root` the unzipped artifact."""
        self._channel, theirs = socket.socketpair()
        # Appended to by the process, cut to nothing by us: O_APPEND makes the two agree on where its end is.
        descriptor, path = tempfile.mkstemp(prefix="worker-", suffix=".log", dir=scratch)
        os.close(descriptor)
        self._log = Path(path).open("ab+", buffering=0)  # noqa: SIM115 - closed by end()
        Path(path).unlink()
        arguments = [*command, function_worker.__file__, str(theirs.fileno()), packages]
        with theirs:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=dict(environment),
                cwd=root,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._started = time.monotonic()
        self._initialized = False
        self._read_to = 0
        self.reusable = True
        """False once the process has ended or was killed."""
        self.max_rss_kb = 0
        """The largest resident memory so far, as of the last answer."""

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def fresh(self, life: float) -> bool:
        """Whether the process lives and is younger than `life` seconds."""
        return self.reusable and self._process.poll() is None and time.monotonic() - self._started < life

    def ready(self, seconds: float) -> None:
        """Waits until the handler is imported. Raises `InitError`, `WorkerExit` or `WorkerTimeout`."""
        if self._initialized:
            return
        error = self._receive(time.monotonic() + seconds)
        if error != b"{}":
            self.end()
            raise InitError(error)
        self._initialized = True

    def call(self, invocation: bytes, event: bytes, seconds: float) -> tuple[bool, bytes]:
        """One invocation: whether the handler failed, and its answer. Raises `WorkerExit` or `WorkerTimeout`."""
        deadline = time.monotonic() + seconds
        try:
            self._channel.settimeout(max(0.001, seconds))
            for frame in (invocation, event):
                self._channel.sendall(struct.pack(">I", len(frame)))
                self._channel.sendall(frame)
        except TimeoutError:
            self.end()
            raise WorkerTimeout from None
        except OSError:
            raise WorkerExit(self._fate()) from None
        (self.max_rss_kb,) = struct.unpack(">Q", self._receive(deadline))
        answer = self._receive(deadline)
        return answer[:1] == b"E", answer[1:]

    def output(self) -> bytes:
        """What the process wrote since the last call, at most 256 KB of it."""
        end = os.fstat(self._log.fileno()).st_size
        start = max(self._read_to, end - _LOG_KEPT)
        text = os.pread(self._log.fileno(), end - start, start)
        self._read_to = end
        if end > _LOG_LIMIT:
            os.ftruncate(self._log.fileno(), 0)
            self._read_to = 0
        return text

    def end(self) -> None:
        """Ends the process and everything it started, at once."""
        self.reusable = False
        # Its group, so that children of the handler end as well; the process is not reaped yet, so the id is its own.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends the process and lets go of its log. Nothing may be asked of it afterwards."""
        self.end()
        self._channel.close()
        self._log.close()

    def _receive(self, deadline: float) -> bytes:
        (length,) = struct.unpack(">I", self._exactly(4, deadline))
        return bytes(self._exactly(length, deadline))

    def _exactly(self, length: int, deadline: float) -> bytearray:
        buffer = bytearray(length)
        view = memoryview(buffer)
        while view:
            self._channel.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                received = self._channel.recv_into(view)
            except TimeoutError:
                self.end()
                raise WorkerTimeout from None
            except OSError:
                received = 0
            if not received:
                raise WorkerExit(self._fate())
            view = view[received:]
        return buffer

    def _fate(self) -> str:
        """How the process ended, as AWS words it; ends what it started."""
        # Looked at without reaping, so that its process group is still its own when `end` kills it.
        # Whoever killed it from another thread has reaped it.
        with contextlib.suppress(ChildProcessError):
            for _ in range(200):
                if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                    break
                time.sleep(0.005)
        self.end()
        code = self._process.returncode
        if code == 0:
            return "Runtime exited without providing a reason"
        if code < 0:
            return f"Runtime exited with error: signal: {(signal.strsignal(-code) or str(-code)).lower()}"
        return f"Runtime exited with error: exit status {code}"
