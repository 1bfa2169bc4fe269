"""Runs functions as they are deployed: as their role, as many at once as they have reserved, with their log."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from moto.awslambda.models import LambdaFunction
from moto.core.utils import unix_time_millis

from envs.sandbox.aws import permissions, sts
from envs.sandbox.aws.host import Host
from envs.sandbox.aws.lambda_function import SERVICE, Function, function_role
from envs.sandbox.aws.permission_needs import Asked, needs

if TYPE_CHECKING:
    from envs.sandbox.functions import FunctionPool, InvokeResult

_AT_ONCE: Final = 4
"""Workers of one function; more invocations at once wait for one of them. On AWS an account has a thousand."""


class ThrottledError(Exception):
    """All of the function's reserved concurrency is in use (AWS: TooManyRequestsException)."""


class NotRunnableError(Exception):
    """A function that cannot be run here at all; the text says why."""


class Runner:
    """The worker processes of all functions of this AWS process; `close` ends them."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._pool: FunctionPool | None = None
        self._running: Counter[str] = Counter()

    def run(self, found: LambdaFunction, payload: bytes, request_id: str | None = None) -> "InvokeResult":
        """One invocation, to its end. Raises `ThrottledError` and `NotRunnableError`."""
        # Imported late: a sandbox that deploys no function needs no runtime for them.
        from envs.sandbox.functions import FunctionError

        with self._slot(found):
            try:
                result = self._started().invoke(
                    found.function_name,
                    found.code_bytes,
                    found.code_sha_256,
                    found.handler or "",
                    found.run_time or "",
                    found.architectures[0],
                    found.environment_vars,
                    float(found.timeout),
                    int(found.memory_size),
                    payload or b"{}",
                    version=str(found.version),
                    function_arn=found.function_arn,
                    credentials=lambda: self._credentials(found),
                    request_id=request_id,
                )
            except (FunctionError, sts.TrustError) as error:
                raise NotRunnableError(str(error)) from error
        self._write_log(found, result.log)
        return result

    def kill(self, function_name: str) -> int:
        """Ends the workers of a function at once, whatever they do. Answers how many there were."""
        return self._pool.kill(function_name) if self._pool is not None else 0

    def close(self) -> None:
        """Ends the workers."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    @contextlib.contextmanager
    def _slot(self, found: LambdaFunction) -> Iterator[None]:
        reserved = found.reserved_concurrency
        name = found.function_name
        with self._lock:
            if reserved is not None and self._running[name] >= int(reserved):
                raise ThrottledError(f"function {name} runs {reserved} times at once already")
            self._running[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[name] -= 1

    def _started(self) -> "FunctionPool":
        from envs.sandbox.account import environment
        from envs.sandbox.functions import FunctionPool

        with self._lock:
            if self._pool is None:
                state_dir = self._host.state_dir
                self._pool = FunctionPool(state_dir, max_workers=_AT_ONCE, environment=environment(state_dir))
            return self._pool

    def _credentials(self, found: LambdaFunction) -> dict[str, str]:
        assumed = sts.assume_for_service(self._host.account, found.region, found.role, SERVICE)
        return {
            "AWS_ACCESS_KEY_ID": assumed.access_key_id,
            "AWS_SECRET_ACCESS_KEY": assumed.secret_access_key,
            "AWS_SESSION_TOKEN": assumed.session_token,
        }

    def _write_log(self, found: LambdaFunction, written: bytes) -> None:
        if not isinstance(found, Function):
            return
        account, group, stream = self._host.account, found.logging["LogGroup"], found.log_stream
        who = permissions.role_caller(account, function_role(account, found.role), SERVICE)
        logs = found.logs_backend

        def may(operation: str, stream: str) -> bool:
            names = {"logGroupName": group, "logStreamName": stream}
            wanted = needs(Asked("logs", operation, found.account_id, found.region, names))
            return permissions.may(account, who, wanted)

        if group not in logs.groups:
            if not may("CreateLogGroup", ""):
                return
            logs.create_log_group(group, {})
        if stream not in logs.groups[group].streams:
            if not may("CreateLogStream", stream):
                return
            logs.create_log_stream(group, stream)
        if may("PutLogEvents", stream):
            now = int(unix_time_millis())
            lines = written.decode(errors="replace").splitlines()
            logs.put_log_events(group, stream, [{"timestamp": now, "message": line} for line in lines])
