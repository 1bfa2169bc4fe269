"""Runs Lambda functions as they were deployed: a worker process a function version, from its unzipped artifact.

Only the managed runtime ``python3.11`` on ``x86_64`` is executed. A worker sees its artifact, the standard library
and, after them, boto3 and what it needs, as AWS's runtime ships it (AWS Lambda Developer Guide, "Runtime included SDK
versions"; the versions are this project's). It does not see this repository. A worker handles one invocation at a
time; further ones get workers of their own up to a bound, and then wait.

What is not imitated: memory is reported, not limited, and the network is this machine's.
"""

import contextlib
import json
import os
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from envs.sandbox.function_artifact import RUNTIME, Artifacts, FunctionError, find_interpreter
from envs.sandbox.function_process import InitError, Worker, WorkerExit, WorkerTimeout

MAX_PAYLOAD: Final = 6 * 1024 * 1024 + 100
"""Bytes of a synchronous request or answer, as AWS's own message counts them (6291556)."""
INIT_SECONDS: Final = 10.0
"""How long a worker may take to import the handler before its time counts as the invocation's."""
LOG_TAIL: Final = 4096
"""Bytes of the log that an invocation answers with (Lambda API Reference, Invoke, LogResult)."""

_PASSED_ON: Final = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "FLEETSTREAM_SANDBOX",
    "FLEETSTREAM_KAFKA_CA",
)
# AWS recycles execution environments too; here it keeps a role's credentials (an hour) from running out.
_WORKER_LIFE: Final = 45 * 60.0


class RequestTooLargeError(FunctionError):
    """An event above the limit of a synchronous invocation: AWS's RequestTooLargeException."""


@dataclass(frozen=True, slots=True)
class InvokeResult:
    """What one invocation came to.

    ``function_error`` is ``"Unhandled"`` (the payload is the error's JSON document) or None. ``log_tail`` holds the
    last 4 KB of ``log``, which is everything the invocation wrote, between AWS's START, END and REPORT lines.
    """

    payload: bytes
    function_error: str | None
    log_tail: bytes
    log: bytes = b""


@dataclass
class _Group:
    """The workers of one function in one configuration."""

    key: tuple[object, ...]
    changed: threading.Condition
    idle: list[Worker] = field(default_factory=list)
    busy: set[Worker] = field(default_factory=set)
    running: int = 0


class FunctionPool:
    """All worker processes of one sandbox. Safe to use from several threads; `close` ends every worker.

    `state_dir` is the sandbox's directory; artifacts are unzipped below its ``functions``. `environment` replaces the
    AWS variables of this process that workers inherit otherwise.
    """

    def __init__(
        self, state_dir: Path, *, max_workers: int = 4, environment: Mapping[str, str] | None = None
    ) -> None:
        self._directory = state_dir / "functions"
        self._artifacts = Artifacts(self._directory)
        self._max_workers = max_workers
        source = os.environ if environment is None else environment
        self._environment = {name: source[name] for name in _PASSED_ON if name in source}
        self._lock = threading.Lock()
        self._groups: dict[str, _Group] = {}
        self._workers: set[Worker] = set()
        self._closed = False

    def invoke(
        self,
        function_name: str,
        code_zip: bytes,
        code_sha256: str,
        handler: str,
        runtime: str,
        architecture: str,
        env: Mapping[str, str],
        timeout_s: float,
        memory_mb: int,
        payload: bytes,
        *,
        version: str = "$LATEST",
        function_arn: str = "",
        credentials: Callable[[], Mapping[str, str]] | None = None,
        request_id: str | None = None,
    ) -> InvokeResult:
        """Runs one invocation to its end and answers what AWS's Invoke would.

        `code_sha256` is the artifact's digest in base64, as the API shows it. `credentials` gives the AWS_* variables
        of the function's role; it is called when a worker starts. A handler that fails, hangs, ends its process or
        answers too much is an `InvokeResult`; `FunctionError` is raised for what could not be run at all.
        """
        if runtime != RUNTIME or architecture != "x86_64":
            raise FunctionError(
                f"function {function_name}: {runtime} on {architecture} cannot run here, "
                f"this sandbox executes {RUNTIME} on x86_64: deploy it so, or invoke it on AWS"
            )
        if len(payload) > MAX_PAYLOAD:
            raise RequestTooLargeError(
                f"function {function_name}: the event has {len(payload)} bytes, an invocation takes 6 MB at most"
            )
        root = self._artifacts.unzipped(function_name, code_zip, code_sha256)
        key = (code_sha256, handler, timeout_s, memory_mb, tuple(sorted(env.items())))
        request = request_id or str(uuid.uuid4())

        def start() -> Worker:
            variables = {**self._environment, **(credentials() if credentials else {})}
            variables |= {**env, **_reserved(function_name, version, handler, memory_mb, root)}
            command = [find_interpreter(), "-I", "-S", "-X", f"pycache_prefix={self._directory / 'pycache'}"]
            return Worker(command, str(self._artifacts.runtime_packages()), variables, root, self._directory)

        with self._worker(f"{function_name}:{version}", key, start) as worker:
            return _invoke(worker, function_arn or function_name, version, request, timeout_s, memory_mb, payload)

    def kill(self, function_name: str) -> int:
        """Ends all workers of a function at once. Answers how many there were.

        Invocations under way answer that their runtime was killed.
        """
        with self._lock:
            groups = [group for name, group in self._groups.items() if name.rpartition(":")[0] == function_name]
        workers: list[Worker] = []
        for group in groups:
            with group.changed:
                workers += [*group.busy, *group.idle]
        for worker in workers:
            worker.end()
        return len(workers)

    def close(self) -> None:
        """Ends all workers. Invocations under way answer that their runtime exited."""
        with self._lock:
            self._closed = True
            workers = list(self._workers)
            groups = list(self._groups.values())
        for worker in workers:
            worker.end()
        for group in groups:
            with group.changed:
                group.changed.notify_all()

    @contextlib.contextmanager
    def _worker(self, name: str, key: tuple[object, ...], start: Callable[[], Worker]) -> Iterator[Worker]:
        """A worker for one invocation: an idle one, a new one, or the first that becomes idle."""
        group = self._group(name, key)
        with group.changed:
            while True:
                if self._closed:
                    raise FunctionError("the function runtime is shut down")
                worker = self._take_idle(group)
                if worker is not None or group.running < self._max_workers:
                    break
                group.changed.wait()
            group.running += 1
        try:
            if worker is None:
                worker = start()
                with self._lock:
                    self._workers.add(worker)
            with group.changed:
                group.busy.add(worker)
            yield worker
        finally:
            with group.changed:
                group.running -= 1
                group.busy.discard(worker)  # type: ignore[arg-type] (None when it did not start)
                current = self._groups.get(name) is group and not self._closed
                if worker is not None and worker.reusable and current:
                    group.idle.append(worker)
                elif worker is not None:
                    self._forget(worker)
                group.changed.notify()

    def _take_idle(self, group: _Group) -> Worker | None:
        while group.idle:
            worker = group.idle.pop()
            if worker.fresh(_WORKER_LIFE):
                return worker
            self._forget(worker)
        return None

    def _group(self, name: str, key: tuple[object, ...]) -> _Group:
        with self._lock:
            group = self._groups.get(name)
            if group is not None and group.key == key:
                return group
            self._groups[name] = _Group(key, threading.Condition())
            replaced, group = group, self._groups[name]
        if replaced is not None:
            with replaced.changed:
                while replaced.idle:
                    self._forget(replaced.idle.pop())
        return group

    def _forget(self, worker: Worker) -> None:
        worker.close()
        with self._lock:
            self._workers.discard(worker)


def _reserved(name: str, version: str, handler: str, memory_mb: int, root: Path) -> dict[str, str]:
    """The variables that Lambda sets itself (Lambda Developer Guide, "Defined runtime environment variables")."""
    return {
        "_HANDLER": handler,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{RUNTIME}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": time.strftime(f"%Y/%m/%d/[{version}]{secrets.token_hex(16)}", time.gmtime()),
        "LAMBDA_TASK_ROOT": str(root),
        "LAMBDARUNTIME_DIR": str(Path(__file__).parent),
        "LANG": "en_US.UTF-8",
        "PATH": os.defpath,
        "TZ": ":UTC",
    }


def _invoke(
    worker: Worker, arn: str, version: str, request: str, timeout_s: float, memory_mb: int, payload: bytes
) -> InvokeResult:
    started = time.monotonic()
    error: str | None = "Unhandled"
    try:
        worker.ready(INIT_SECONDS + timeout_s)
        started = time.monotonic()
        invocation = {"request_id": request, "function_arn": arn, "deadline": time.time() + timeout_s}
        failed, answer = worker.call(json.dumps(invocation).encode(), payload, timeout_s)
        error = "Unhandled" if failed else None
    except InitError as broken:
        answer = broken.document
    except WorkerTimeout:
        answer = _document(
            "Sandbox.Timedout", f"RequestId: {request} Error: Task timed out after {timeout_s:.2f} seconds"
        )
    except WorkerExit as ended:
        answer = _document("Runtime.ExitError", f"RequestId: {request} Error: {ended}")
    if error is None and len(answer) > MAX_PAYLOAD:
        error = "Unhandled"
        answer = _document(
            "Function.ResponseSizeTooLarge",
            f"Response payload size exceeded maximum allowed payload size ({MAX_PAYLOAD} bytes).",
        )
    duration = (time.monotonic() - started) * 1000
    output = worker.output()
    if not worker.reusable and error is not None:
        output += json.loads(answer).get("errorMessage", "").encode() + b"\n"
    log = b"START RequestId: %b Version: %b\n%bEND RequestId: %b\n" % (
        request.encode(),
        version.encode(),
        output if not output or output.endswith(b"\n") else output + b"\n",
        request.encode(),
    )
    log += (
        f"REPORT RequestId: {request}\tDuration: {duration:.2f} ms\tBilled Duration: {int(duration) + 1} ms\t"
        f"Memory Size: {memory_mb} MB\tMax Memory Used: {worker.max_rss_kb // 1024} MB\t\n"
    ).encode()
    return InvokeResult(answer, error, log[-LOG_TAIL:], log)


def _document(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()
