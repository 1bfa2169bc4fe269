"""The program that runs inside a function's worker process: what AWS calls the runtime. Standard library only.

Started by `envs.sandbox.functions` as a script in an isolated interpreter, so it imports nothing of this repository.
It connects the handler with the pool over one socket, whose descriptor is its only argument beside the directory of
the runtime's own packages; standard output and error stay the handler's. Frames in both directions are an unsigned
32-bit length, then that many bytes:

* worker -> pool, once: ``{}`` when the handler is imported, else the error of its initialization (then it exits);
* pool -> worker: the invocation (JSON: request id, ARN, deadline in seconds since the epoch), then the event;
* worker -> pool: ``R`` and the answer, or ``E`` and the error.

Errors are worded as AWS's runtime interface client words them (aws/aws-lambda-python-runtime-interface-client,
awslambdaric/bootstrap.py).
"""

import contextlib
import decimal
import importlib
import json
import logging
import os
import resource
import select
import socket
import struct
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn


class RuntimeFault(Exception):  # noqa: N818 - AWS's own word for it
    """An error of the runtime rather than of the handler, with AWS's name for its kind."""

    def __init__(self, kind: str, message: str, trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.trace = trace or []


class LambdaContext:
    """What a handler gets as its second argument."""

    def __init__(self, request_id: str, function_arn: str, deadline: float) -> None:
        self.aws_request_id = request_id
        self.invoked_function_arn = function_arn
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = None
        self.tenant_id = None
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation is ended; 0 when that is over."""
        return max(0, int((self._deadline - time.time()) * 1000))

    def log(self, message: object) -> None:
        """Writes to the function's log."""
        sys.stdout.write(str(message))


class Encoder(json.JSONEncoder):
    """JSON as AWS's marshaller writes it: decimals are numbers."""

    def default(self, o: object) -> object:
        if isinstance(o, decimal.Decimal):
            return float(o)
        return super().default(o)


_encode = Encoder(ensure_ascii=False, separators=(", ", ": ")).encode


def load_handler(name: str) -> Any:
    """Imports the handler. Raises `RuntimeFault` for the errors that AWS has a name for."""
    module_name, dot, function_name = name.rpartition(".")
    if not dot:
        raise RuntimeFault("Runtime.MalformedHandlerName", f"Bad handler '{name}': not enough values to unpack")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise RuntimeFault(
            "Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}"
        ) from error
    except SyntaxError as error:
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise RuntimeFault(
            "Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}", trace
        ) from error
    try:
        return getattr(module, function_name)
    except AttributeError as error:
        raise RuntimeFault(
            "Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'"
        ) from error


def describe(error: BaseException, request_id: str = "") -> bytes:
    """The JSON document of an error; it goes to the log as well."""
    if isinstance(error, RuntimeFault):
        kind, trace = error.kind, error.trace
    else:
        kind = type(error).__name__
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        trace = traceback.format_list(frames)
    print(f"[ERROR] {kind}: {error}\nTraceback (most recent call last):\n{''.join(trace)}", flush=True)
    document = {"errorMessage": str(error), "errorType": kind, "requestId": request_id, "stackTrace": trace}
    return json.dumps(document).encode()


def call(handler: Any, event: bytes, context: LambdaContext) -> bytes:
    """One invocation: the JSON of the handler's answer. Raises what the handler raises, and `RuntimeFault`."""
    try:
        decoded = json.loads(event)
    except ValueError as error:
        raise RuntimeFault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from error
    answer = handler(decoded, context)
    try:
        return _encode(answer).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RuntimeFault("Runtime.MarshalError", f"Unable to marshal response: {error}") from error


def receive(channel: socket.socket) -> bytes:
    """One frame. Ends the process when the pool is gone."""
    (length,) = struct.unpack(">I", _exactly(channel, 4))
    return bytes(_exactly(channel, length))


def _exactly(channel: socket.socket, length: int) -> bytearray:
    buffer = bytearray(length)
    view = memoryview(buffer)
    while view:
        received = channel.recv_into(view)
        if not received:
            os._exit(0)
        view = view[received:]
    return buffer


def send(channel: socket.socket, frame: bytes) -> None:
    """Sends one frame."""
    channel.sendall(struct.pack(">I", len(frame)))
    channel.sendall(frame)


def leave_with(channel: socket.socket) -> None:
    """Ends this process as soon as the pool's end of the socket is closed, whatever the handler does meanwhile."""

    def watch() -> NoReturn:
        poll = select.poll()
        poll.register(channel, getattr(select, "POLLRDHUP", 0) | select.POLLHUP)
        while not poll.poll():
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="pool-watch").start()


def main() -> None:
    # On AWS functions run on other machines: here they step back behind whatever is being measured.
    os.nice(10)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text("10")
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    leave_with(channel)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    # The artifact comes first and the packages that the runtime ships last, as on AWS.
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    sys.path.append(sys.argv[2])
    logging.basicConfig(
        stream=sys.stdout,
        format="[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    try:
        handler = load_handler(os.environ["_HANDLER"])
    except Exception as error:
        send(channel, describe(error))
        sys.exit(1)
    send(channel, b"{}")
    while True:
        invocation = json.loads(receive(channel))
        event = receive(channel)
        context = LambdaContext(invocation["request_id"], invocation["function_arn"], invocation["deadline"])
        try:
            frame = b"R" + call(handler, event, context)
        except Exception as error:
            frame = b"E" + describe(error, invocation["request_id"])
        sys.stdout.flush()
        sys.stderr.flush()
        # Kilobytes on Linux; the report line of the log shows it.
        send(channel, struct.pack(">Q", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
        send(channel, frame)


if __name__ == "__main__":
    main()
