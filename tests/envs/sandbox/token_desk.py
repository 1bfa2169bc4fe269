"""The emulated AWS's routes for the broker alone, for a sandbox whose other AWS services are not needed."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from envs.sandbox.account import Account
from envs.sandbox.aws import iam_token

OWNER_ARN = "arn:aws:iam::123456789012:root"


class Desk:
    """Who asked, and how long what is answered holds (seconds; None: as long as the token)."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.principals: list[str] = []
        self.holds_s: float | None = None

    def answer(self, token: str) -> tuple[int, dict[str, object]]:
        """What the route of `envs.sandbox.aws.routes` answers."""
        try:
            found = iam_token.verify(token, self._secret_of, datetime.now(UTC), self.account.region)
        except iam_token.TokenError as error:
            return 403, {"error": str(error)}
        self.principals.append(found.arn)
        expires_ms = found.expires_ms if self.holds_s is None else int((time.time() + self.holds_s) * 1000)
        return 200, {"principal": found.arn, "expires_ms": expires_ms}

    def allow(self, principal: str) -> tuple[int, dict[str, object]]:
        """The owner may do everything, and nobody else gets in."""
        return (200, {}) if principal == OWNER_ARN else (403, {"error": f"{principal} is not the owner"})

    def _secret_of(self, access_key: str, _session_token: str | None) -> tuple[str, str] | None:
        return (self.account.secret_key, OWNER_ARN) if access_key == self.account.access_key else None


@contextlib.contextmanager
def serving(account: Account) -> Iterator[Desk]:
    """Answers on the account's AWS port."""
    desk = Desk(account)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            asked = parse_qs(url.query)
            match url.path.removeprefix("/fleetstream/kafka/"):
                case "principal":
                    status, answer = desk.answer(asked["token"][0])
                case "allowed":
                    status, answer = desk.allow(asked["principal"][0])
                case other:
                    raise AssertionError(other)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            pass

    with ThreadingHTTPServer(("127.0.0.1", account.aws_port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield desk
        finally:
            server.shutdown()
            thread.join()
