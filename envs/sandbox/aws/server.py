"""moto's server with this project's extensions, on the loopback interface only."""

import errno
import logging
import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from envs.errors import FleetstreamError
from envs.sandbox.account import Account
from envs.sandbox.aws import dlm, extensions, permissions, routes, unknown
from envs.sandbox.aws.kills import Kills

log = logging.getLogger("envs.sandbox.aws")

_HOST: Final = "127.0.0.1"


_OWN: Final[dict[str, Callable[[Request], Response]]] = {"dlm": dlm.answer}
"""Services that moto lacks altogether, by the name that their requests are signed for."""


class RequestHandler(MotoRequestHandler):
    """One connection of one client. Requests are logged at debug level, because a deployment makes thousands."""

    def setup(self) -> None:
        super().setup()
        # Headers and body are separate writes: with Nagle's algorithm each kept-alive answer would wait for an
        # acknowledgement that the client delays by 40 ms.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 (werkzeug's name)
        log.log(logging.ERROR if type == "error" else logging.DEBUG, message, *args)


class _Dispatcher(DomainDispatcherApplication):
    """moto's, but a service that moto does not have is told by name instead of by an AttributeError."""

    def get_backend_for_host(self, host: str | None) -> Any:
        backend = super().get_backend_for_host(host)
        if backend is None and host is not None:
            raise NotImplementedError(f"no service at {host}")
        return backend


class Application:
    """The WSGI application: our own routes first, then moto; what moto does not know is answered by name.

    What a caller may not do never gets as far as moto.
    """

    def __init__(self, settings: Account) -> None:
        self._moto = _Dispatcher(create_backend_app)
        self._settings = settings
        self._kills = Kills(settings)
        self._routes = routes.table(settings, self._kills)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # A signed request is a client of AWS, whatever its path: an S3 object may carry any name.
        if "HTTP_AUTHORIZATION" not in environ and (route := self._routes.get(environ.get("PATH_INFO", ""))):
            return route(Request(environ))(environ, start_response)
        begun: list[Any] = []

        def begin(*arguments: Any) -> None:
            begun[:] = arguments

        try:
            if (refusal := permissions.refuse(self._settings, environ)) is not None:
                # Read all the same: on a kept-alive connection it would be taken for the next request.
                Request(environ).get_data(cache=False)
                return refusal(environ, start_response)
            if own := _OWN.get(unknown.signed_for(environ) or ""):
                return own(Request(environ))(environ, start_response)
            kill = self._kills.expected(environ)
            body = self._moto(environ, begin)
        except NotImplementedError as error:
            return self._refuse(environ, start_response, str(error))
        except Exception as error:
            log.exception("%s %s failed in the emulated AWS", environ["REQUEST_METHOD"], environ.get("PATH_INFO"))
            text = f"the emulated AWS failed: {type(error).__name__}: {error}"
            return unknown.answer(environ, HTTPStatus.INTERNAL_SERVER_ERROR, "InternalFailure", text)(
                environ, start_response
            )
        if begun[0].startswith("404"):
            body = [b"".join(body)]
            if unknown.unrouted(environ, begun[0], begun[1], body[0]):
                return self._refuse(environ, start_response)
        if kill is not None and begun[0].startswith("2"):
            self._kills.carry_out(kill)
        start_response(*begun)
        return body

    @staticmethod
    def _refuse(environ: dict[str, Any], start_response: Callable[..., Any], detail: str = "") -> Iterable[bytes]:
        text = unknown.message(environ, detail)
        log.error("%s (%s %s)", text, environ["REQUEST_METHOD"], environ.get("PATH_INFO"))
        return unknown.answer(environ, HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", text)(environ, start_response)


def serve(state_dir: Path, settings: Account, port: int) -> None:
    """Answers requests until the calling thread is interrupted.

    Raises `FleetstreamError` when the port is taken.
    """
    listener = _listen(port)
    with extensions.installed(state_dir, settings), listener:
        server = make_server(
            _HOST, port, Application(settings), threaded=True, request_handler=RequestHandler, fd=listener.fileno()
        )
        log.info("the emulated AWS answers on http://%s:%d", _HOST, port)
        try:
            server.serve_forever()
        finally:
            server.server_close()


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise FleetstreamError(
                f"port {port} of {_HOST} is taken by another process: choose another one or end that process"
            ) from None
        raise FleetstreamError(f"cannot listen on port {port} of {_HOST}: {error.strerror}") from error
    return listener
