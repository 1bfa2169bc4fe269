"""A server that answers as a test wrote it down, over HTTPS with client certificates: what no real cluster can be
told to do, such as breaking off in the middle."""

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from services.fabric.authority import Issued


@dataclass
class Answer:
    """What is sent: a status and a body, or nothing at all."""

    status: int = 200
    body: Any = None
    hang_up: bool = False


def refusal(code: str, status: int = 500, message: str = "it says why") -> Answer:
    """A refusal in Service Fabric's shape."""
    return Answer(status, {"Error": {"Code": code, "Message": message}})


@dataclass
class Request:
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    client: str


@dataclass
class Script:
    """The answers to come, the last one for ever, and what was asked so far."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def will(self, *answers: Answer) -> None:
        """Sets the answers, and forgets what was asked."""
        self.answers, self.requests = list(answers), []

    @property
    def paths(self) -> list[str]:
        """What was asked, in short."""
        return [f"{one.method} {one.path}" for one in self.requests]


@contextlib.contextmanager
def running(folder: Path, issued: Issued | None) -> Iterator[Script]:
    """A server with the nodes' certificate; without one it speaks plain HTTP."""
    script = Script("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

        def answer(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            shown = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
            subject: Any = (shown or {}).get("subject", ())
            client = dict(part[0] for part in subject).get("commonName", "")
            query = dict(parse_qsl(parts.query))
            script.requests.append(Request(self.command, parts.path, query, body, str(client)))
            found = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
            if found.hang_up:
                self.close_connection = True
                return
            content = (
                b"" if found.body is None else found.body if isinstance(found.body, bytes) else _json(found.body)
            )
            self.send_response(found.status)
            if found.status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's signature
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if issued is not None:
            server.socket = _context(folder, issued).wrap_socket(server.socket, server_side=True)
        script.url = f"{'https' if issued else 'http'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


def _context(folder: Path, issued: Issued) -> ssl.SSLContext:
    key, certificate, _ = pkcs12.load_key_and_certificates(issued.nodes, None)
    assert key is not None
    assert certificate is not None
    path = folder / "nodes.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=issued.client.authority)
    return context
