"""What the emulated AWS answers to a call that it does not know, or that fails in it: an error that names the call.

moto leaves such calls to Flask's pages: a 404 or a 500 in HTML, which clients show as the bare number.
"""

import html
import json
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from botocore.exceptions import UnknownServiceError
from moto.core.request import Request
from moto.core.routing import get_service_router
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

_SCOPE: Final = re.compile(r"Credential=[^/]+/\d+/[^/]+/(?P<service>[^/]+)/aws4_request")
_FLASK_NOT_FOUND: Final = b"The requested URL was not found on the server."
_NAME: Final = re.compile(r"The (?P<action>\w+) action has not been implemented")


def unrouted(environ: dict[str, Any], status: str, headers: Iterable[tuple[str, str]], body: bytes) -> bool:
    """Whether this answer is moto's or Flask's way of not knowing the call, and not a service's own "not found"."""
    if not status.startswith("404") or environ["REQUEST_METHOD"] == "HEAD" or signed_for(environ) is None:
        return False
    kind = next((value for name, value in headers if name.lower() == "content-type"), "")
    return kind.startswith("text/html") and (not body or _FLASK_NOT_FOUND in body)


def signed_for(environ: dict[str, Any]) -> str | None:
    """The service that a request was signed for, by its signing name; None for an unsigned one."""
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    return scope["service"] if scope else None


def message(environ: dict[str, Any], detail: str = "") -> str:
    """Which call of which service is not there."""
    service = signed_for(environ) or "an unknown service"
    named = _NAME.search(detail)
    action = "".join(map(str.capitalize, named["action"].split("_"))) if named else _operation(environ, service)
    return f"the emulated AWS does not implement {action} of {service}"


def answer(environ: dict[str, Any], status: HTTPStatus, code: str, text: str, service: str | None = None) -> Response:
    """An error in the form that the service's clients read: JSON, or one of three kinds of XML.

    `service` is the one that the request was signed for, when that is not in its header.
    """
    service = service or signed_for(environ) or ""
    if service == "s3":
        body = f"<Error><Code>{code}</Code><Message>{html.escape(text)}</Message></Error>"
    elif service == "ec2":
        body = (
            f"<Response><Errors><Error><Code>{code}</Code><Message>{html.escape(text)}</Message></Error></Errors>"
            "<RequestID>none</RequestID></Response>"
        )
    elif environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        body = (
            f"<ErrorResponse><Error><Type>Receiver</Type><Code>{code}</Code><Message>{html.escape(text)}</Message>"
            "</Error><RequestId>none</RequestId></ErrorResponse>"
        )
    else:
        return Response(
            json.dumps({"__type": code, "message": text}),
            status=status,
            content_type="application/json",
            headers={"x-amzn-ErrorType": code},
        )
    return Response(body, status=status, content_type="text/xml")


def _operation(environ: dict[str, Any], service: str) -> str:
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rsplit(".", 1)[-1]
    try:
        return str(get_service_router(service).match(Request(dict(environ)))[0].name)
    except (NotFound, UnknownServiceError):
        # A signing name is not always botocore's name of the service.
        return f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO')}"
