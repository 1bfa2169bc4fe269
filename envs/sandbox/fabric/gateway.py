"""The HTTP gateway of a cluster: Service Fabric's REST API, with X.509 certificates or without.

A client that shows no certificate, or one the configuration does not name, is answered with 403; one of another
authority does not get through the handshake. What is not in the tables of requests is refused by name.
"""

import contextlib
import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography import x509

from envs.errors import FleetstreamError
from envs.sandbox.fabric import application_routes, cluster_routes
from envs.sandbox.fabric.access import Role, role
from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.faults import Faults
from envs.sandbox.fabric.model import Cluster
from envs.sandbox.fabric.rest import Answer, Request

log = logging.getLogger("envs.sandbox.fabric")

_HANDSHAKE_S: Final = 10.0
_IDLE_S: Final = 120.0
_POLL_S: Final = 0.05
"""How long stopping may take."""


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the gateway's certificate and key, and the authority of the clients' certificates."""

    certificate: Path
    key: Path
    authority: Path


class Gateway:
    """One listener; several may share a cluster and its faults."""

    def __init__(
        self,
        cluster: Cluster,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: TlsFiles | None = None,
        *,
        faults: Faults | None = None,
        page_size: int = 1000,
    ) -> None:
        self.cluster = cluster
        self.faults = faults or Faults()
        self.page_size = page_size
        self.tls = tls
        self.authorities = x509.load_pem_x509_certificates(tls.authority.read_bytes()) if tls is not None else []
        self._address = (host, port)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The gateway's address, once it was started."""
        if self._server is None:
            raise FleetstreamError("the gateway has no address before it was started")
        host, port = self._server.server_address[:2]
        return f"{'http' if self.tls is None else 'https'}://{host!s}:{port}"

    def start(self) -> None:
        """Listens and answers from now on. Raises `FleetstreamError` when the address is taken."""
        try:
            server = _Server(self._address, self)
        except OSError as error:
            host, port = self._address
            raise FleetstreamError(f"cannot listen on port {port} of {host}: {error.strerror}") from error
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, args=(_POLL_S,), name="fabric-gateway", daemon=True
        )
        self._thread.start()
        log.info("the Service Fabric gateway answers on %s", self.url)

    def stop(self) -> None:
        """Answers no more; connections are closed."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.close_connections()
            self._thread.join()
            self._server = self._thread = None

    def respond(self, request: Request, certificate: bytes | None) -> Answer:
        """What one request is answered. Raises `FabricError`."""
        with self.cluster.lock:
            self.cluster.require_quorum()
            if self.cluster.configuration.secured:
                self._judge(request, certificate)
            for table in (cluster_routes.TABLE, application_routes.TABLE):
                if (answer := table.answer(request)) is not None:
                    return answer
        raise FabricError(
            "E_NOTIMPL", f"the sandbox's Service Fabric gateway does not know {request.method} {request.path}"
        )

    def _judge(self, request: Request, certificate: bytes | None) -> None:
        found = role(certificate, self.authorities, self.cluster.configuration)
        if found is Role.NONE:
            shown = "a certificate that the configuration does not name" if certificate else "no certificate"
            raise FabricError("E_ACCESSDENIED", f"the client shows {shown}")
        if found is Role.READER and request.method != "GET":
            raise FabricError("E_ACCESSDENIED", f"the client may only read, and {request.method} changes something")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Threads are not waited for: a client that hangs must not keep the gateway from stopping.
    block_on_close = False

    def __init__(self, address: tuple[str, int], gateway: Gateway) -> None:
        self.gateway = gateway
        self._context = _context(gateway.tls) if gateway.tls is not None else None
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread: neither a slow handshake nor a health check may hold the others up."""
        request.settimeout(_HANDSHAKE_S)
        try:
            connection = self._context.wrap_socket(request, server_side=True) if self._context else request
        except (OSError, ssl.SSLError) as error:
            log.debug("no handshake with %s: %s", client_address, error)
            return
        connection.settimeout(_IDLE_S)
        self._connections.add(connection)
        try:
            super().finish_request(connection, client_address)
        finally:
            self._connections.discard(connection)
            connection.close()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (the library's signature)
        """A client that goes away in between is nothing to report."""
        log.debug("the connection of %s broke", client_address, exc_info=True)

    def close_connections(self) -> None:
        for connection in list(self._connections):
            # The thread that reads from it finds its end.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Microsoft-HTTPAPI/2.0"
    sys_version = ""
    disable_nagle_algorithm = True

    def handle_method(self) -> None:
        gateway = cast("_Server", self.server).gateway
        body = b"".join(self._body())
        gateway.faults.hang()
        if (fault := gateway.faults.current()) is not None:
            self._send_error("E_FAIL", "a fault on purpose", fault.status)
            return
        parts = urlsplit(self.path)
        request = Request(
            gateway.cluster,
            self.command,
            unquote(parts.path),
            dict(parse_qsl(parts.query)),
            body,
            gateway.page_size,
        )
        try:
            answer = gateway.respond(request, self._certificate())
        except FabricError as error:
            level = logging.ERROR if error.code == "E_NOTIMPL" else logging.INFO
            log.log(level, "%s %s: %s", self.command, self.path, error)
            self._send_error(error.code, error.message, error.status)
            return
        except Exception as error:
            log.exception("%s %s failed in the gateway", self.command, self.path)
            self._send_error("E_FAIL", f"the sandbox's gateway failed: {type(error).__name__}: {error}", 500)
            return
        gateway.faults.carried_out(request.method, request.path)
        self._send(answer.status, None if answer.body is None else json.dumps(answer.body).encode())

    do_GET = do_POST = do_PUT = do_DELETE = handle_method  # noqa: N815 (the library's names)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's name)
        log.debug(format, *args)

    def _certificate(self) -> bytes | None:
        return self.connection.getpeercert(binary_form=True) if isinstance(self.connection, ssl.SSLSocket) else None

    def _body(self) -> Iterator[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            yield self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _send_error(self, code: str, message: str, status: int) -> None:
        self._send(status, json.dumps({"Error": {"Code": code, "Message": message}}).encode())

    def _send(self, status: int, body: bytes | None) -> None:
        self.send_response(status)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body or b"")))
        if body is not None:
            self.send_header("Content-Type", "application/json; charset=utf-8")
        self.end_headers()
        if body is not None:
            self.wfile.write(body)


def _context(tls: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate, tls.key)
    context.load_verify_locations(tls.authority)
    # Not required by the handshake: who shows none is told so.
    context.verify_mode = ssl.CERT_OPTIONAL
    return context
