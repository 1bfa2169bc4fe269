"""Requests and answers of Service Fabric's REST API, and tables of which is answered by what.

Paths, versions, pages and status codes after the Service Fabric REST API reference and Microsoft's client
`azure-servicefabric` 8.2.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.model import Cluster

_VERSION: Final = re.compile(r"(\d+)\.(\d+)(-preview)?")


@dataclass(frozen=True)
class Request:
    """One request: its path without the query, and what was sent with it."""

    cluster: Cluster
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    page_size: int = 1000

    def json(self) -> Mapping[str, Any]:
        """The body. Raises `FabricError` when it is not an object."""
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, Mapping):
            raise FabricError("E_INVALIDARG", f"{self.method} {self.path}: the body is not a JSON object")
        return found

    def required(self, name: str) -> str:
        """A parameter of the query. Raises `FabricError` when it is missing."""
        if not self.query.get(name):
            raise FabricError("E_INVALIDARG", f"{self.method} {self.path}: the parameter {name} is missing")
        return self.query[name]

    def page(self, items: Sequence[Any], key: Callable[[Any], str]) -> tuple[list[Any], str]:
        """A page of items that are ordered by their keys, and the token of the next one: empty after the last."""
        limit = self.page_size
        if wanted := self.query.get("MaxResults"):
            if not wanted.isdigit():
                raise FabricError("E_INVALIDARG", f"MaxResults is {wanted!r}, which is no number")
            limit = min(limit, int(wanted) or limit)
        token = self.query.get("ContinuationToken", "")
        rest = [item for item in items if not token or key(item) > token]
        return rest[:limit], key(rest[limit - 1]) if len(rest) > limit else ""


@dataclass(frozen=True)
class Answer:
    """A status, and a body unless it is None."""

    body: Any = None
    status: HTTPStatus = HTTPStatus.OK


Handler = Callable[..., Answer]


class Table:
    """Handlers by method and path; the parts of a path in braces are handed to them."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, re.Pattern[str], Handler]] = []

    def route(self, method: str, path: str) -> Callable[[Handler], Handler]:
        """Puts the decorated handler into the table; {*} stands for the rest of a path."""
        pattern = re.compile(re.sub(r"\{\w+\}", "([^/]+)", path.replace("$", r"\$")).replace("{*}", "(.+)"))

        def add(handler: Handler) -> Handler:
            self._entries.append((method, pattern, handler))
            return handler

        return add

    def answer(self, request: Request) -> Answer | None:
        """The answer to a request that is in this table. Raises `FabricError`."""
        for method, pattern, handler in self._entries:
            if method == request.method and (match := pattern.fullmatch(request.path)):
                if request.path != "/":
                    _require_version(request)
                return handler(request, *match.groups())
        return None


def _require_version(request: Request) -> None:
    asked = request.required("api-version")
    match = _VERSION.fullmatch(asked)
    newest = tuple(int(part) for part in request.cluster.code_version.split(".")[:2])
    if match is None or (int(match[1]), int(match[2])) > newest:
        raise FabricError(
            "E_INVALIDARG", f"the api-version {asked} is not supported by version {request.cluster.code_version}"
        )
