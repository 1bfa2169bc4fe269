"""Faults on purpose, for drills: the gateway answers with an error, or not at all, or tells somebody before it does.

The last is for a client that must be safe to run again: it is killed when the cluster has done what was asked, and
never learns of it.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import urllib3

PATH: Final = "/fleetstream/faults"
FILE: Final = "fabric-faults.url"
"""Where in the sandbox's folder it says at which address faults are asked for."""
_POLL_S: Final = 0.05
"""How long stopping may take."""
_CALL_S: Final = 10.0
"""How long who is called may take."""

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


@dataclass(frozen=True)
class Call:
    """Once, when such a request was carried out and before it is answered: GET `url`, which is on this machine."""

    method: str
    path: str
    """The end of the request's path, such as ``/$/Deactivate``."""
    url: str

    def __post_init__(self) -> None:
        """Raises `ValueError` for what is no such call."""
        if not self.method or not self.path or urlsplit(self.url).hostname != "127.0.0.1":
            raise ValueError(f"{self} is no call: it needs method, path, and a url on 127.0.0.1")


class Faults:
    """The fault that is in force, if one is, and the calls that are to come. Threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._fault: Fault | None = None
        self._until = 0.0
        self._calls: list[Call] = []

    def begin(self, fault: Fault) -> None:
        """Puts a fault in force, in place of another."""
        with self._changed:
            self._fault, self._until = fault, self._clock() + fault.seconds
            self._changed.notify_all()

    def end(self) -> None:
        """Ends the fault, if there is one, and forgets the calls; who hangs goes on."""
        with self._changed:
            self._fault = None
            self._calls.clear()
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

    def prepare(self, call: Call) -> None:
        """Makes a call once, after the next request of its kind."""
        with self._changed:
            self._calls.append(call)

    def calls(self) -> list[Call]:
        """The calls that are to come."""
        with self._changed:
            return list(self._calls)

    def carried_out(self, method: str, path: str) -> None:
        """Makes the call that was prepared for this request, and waits for its answer."""
        with self._changed:
            fits = (call for call in self._calls if call.method == method and path.endswith(call.path))
            if (found := next(fits, None)) is None:
                return
            self._calls.remove(found)
        log.info("a fault: %s %s was carried out, %s is called", method, path, found.url)
        try:
            answer = urllib3.request("GET", found.url, timeout=_CALL_S, retries=False)
        except urllib3.exceptions.HTTPError as error:
            log.warning("%s does not answer: %s", found.url, error)
            return
        if answer.status != HTTPStatus.OK:
            log.warning("%s answers %d: %r", found.url, answer.status, answer.data[:200])


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
        """Where to post a fault: {"kind": "error" or "hang", "seconds": 60, "status": 503}; or a call: {"kind":
        "call", "method": "POST", "path": "/$/Deactivate", "url": "http://127.0.0.1:..."}. GET tells what there is:
        the fault's keys, and `calls` while there are some; DELETE ends all."""
        return f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def start(self) -> None:
        """Answers from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answers no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _read(body: Any) -> Fault | Call:
    if isinstance(body, dict) and body.get("kind") == "call":
        return Call(**{name: value for name, value in body.items() if name != "kind"})
    return Fault(**body)


def _handler(faults: Faults) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fault, calls = faults.current(), faults.calls()
            told = asdict(fault) if fault is not None else {}
            self._answer(HTTPStatus.OK, told | ({"calls": [asdict(call) for call in calls]} if calls else {}))

        def do_DELETE(self) -> None:
            faults.end()
            self._answer(HTTPStatus.OK, {})

        def do_POST(self) -> None:
            try:
                asked = _read(json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0")))))
            except (ValueError, TypeError) as error:
                self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
                return
            log.info("a fault begins: %s", asked)
            if isinstance(asked, Call):
                faults.prepare(asked)
            else:
                faults.begin(asked)
            self._answer(HTTPStatus.OK, asdict(asked))

        def _answer(self, status: HTTPStatus, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status if self.path == PATH else HTTPStatus.NOT_FOUND)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's name)
            log.debug(format, *args)

    return Handler
