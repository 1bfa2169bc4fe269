"""Faults on purpose, for drills: for a while the gateway answers with an error, or not at all."""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal

PATH: Final = "/fleetstream/faults"
_POLL_S: Final = 0.05
"""How long stopping may take."""

log = logging.getLogger("envs.sandbox.fabric")


@dataclass(frozen=True)
class Fault:
    """`error` answers with `status`, `hang` leaves the client waiting; both until `seconds` have passed."""

    kind: Literal["error", "hang"]
    seconds: float
    status: int = int(HTTPStatus.SERVICE_UNAVAILABLE)

    def __post_init__(self) -> None:
        """Raises `ValueError` for what is no fault."""
        if self.kind not in ("error", "hang") or self.seconds <= 0 or not 500 <= self.status <= 599:
            raise ValueError(f"{self} is no fault: kind is error or hang, seconds over 0, status from 500 to 599")


class Faults:
    """The fault that is in force, if one is. Threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._fault: Fault | None = None
        self._until = 0.0

    def begin(self, fault: Fault) -> None:
        """Puts a fault in force, in place of another."""
        with self._changed:
            self._fault, self._until = fault, self._clock() + fault.seconds
            self._changed.notify_all()

    def end(self) -> None:
        """Ends the fault, if there is one; who hangs goes on."""
        with self._changed:
            self._fault = None
            self._changed.notify_all()

    def current(self) -> Fault | None:
        """The fault in force."""
        with self._changed:
            if self._fault is not None and self._clock() >= self._until:
                self._fault = None
            return self._fault

    def hang(self) -> None:
        """Waits while a fault of that kind is in force."""
        with self._changed:
            while (fault := self.current()) is not None and fault.kind == "hang":
                self._changed.wait(max(self._until - self._clock(), 0.01))


class Control:
    """Lets another process of this machine begin and end faults: POST, DELETE and GET of `PATH`, on the loopback."""

    def __init__(self, faults: Faults, port: int = 0) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(faults))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="fabric-faults", daemon=True
        )

    @property
    def url(self) -> str:
        """Where to post a fault: {"kind": "error" or "hang", "seconds": 60, "status": 503}."""
        return f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def start(self) -> None:
        """Answers from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answers no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(faults: Faults) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fault = faults.current()
            self._answer(HTTPStatus.OK, asdict(fault) if fault is not None else {})

        def do_DELETE(self) -> None:
            faults.end()
            self._answer(HTTPStatus.OK, {})

        def do_POST(self) -> None:
            try:
                fault = Fault(**json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0")))))
            except (ValueError, TypeError) as error:
                self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
                return
            log.info("a fault begins: %s", fault)
            faults.begin(fault)
            self._answer(HTTPStatus.OK, asdict(fault))

        def _answer(self, status: HTTPStatus, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status if self.path == PATH else HTTPStatus.NOT_FOUND)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's name)
            log.debug(format, *args)

    return Handler
