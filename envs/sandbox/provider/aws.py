"""AWS as one configured provider instance sees it: clients, identity, default tags, and waiting."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from envs.sandbox.provider.errors import ProviderError, is_code

_POLL_S: Final = 0.2
_CONNECTIONS: Final = 64
"""As many as the server has threads: the engine works on many resources at once."""

Result = TypeVar("Result")


class Clients:
    """The clients of one region, made on first use and shared by all threads."""

    def __init__(self, region: str) -> None:
        self._session = boto3.Session(region_name=region)
        self._config = Config(max_pool_connections=_CONNECTIONS, retries={"mode": "standard", "max_attempts": 3})
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}

    def get(self, service: str) -> Any:
        """The client of a service, by boto3's name for it."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._session.client(service, config=self._config)
            return self._clients[service]


@dataclass(frozen=True)
class Aws:
    """One provider instance's account, region and default tags, and how long one operation may take."""

    account: str
    region: str
    default_tags: Mapping[str, str]
    clients: Clients
    cancelled: threading.Event = field(default_factory=threading.Event)
    timeout_s: float = 0
    """What the resource option ``customTimeouts`` says; 0 when it says nothing."""
    partition: str = "aws"

    def client(self, service: str) -> Any:
        """The boto3 client of a service."""
        return self.clients.get(service)

    def within(self, timeout_s: float) -> "Aws":
        """The same, for an operation with a time limit of its own."""
        return replace(self, timeout_s=timeout_s)

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a regional resource of this account."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def wait(self, what: str, probe: Callable[[], Result | None], minutes: float) -> Result:
        """Asks until `probe` answers with something, at most `minutes` or what ``customTimeouts`` says.

        Raises `ProviderError` when the time is over or the engine cancels.
        """
        limit = self.timeout_s or minutes * 60
        deadline = time.monotonic() + limit
        while not (found := probe()):
            if time.monotonic() > deadline:
                raise ProviderError(f"{what}: not within {limit:g} s")
            if self.cancelled.wait(_POLL_S):
                raise ProviderError(f"{what}: cancelled")
        return found


@contextlib.contextmanager
def ignoring(*codes: str) -> Iterator[None]:
    """Lets AWS's refusals with these codes pass: what should be gone is gone already."""
    try:
        yield
    except ClientError as error:
        if not is_code(error, *codes):
            raise


def find(call: Callable[[], Result], *missing: str) -> Result | None:
    """The answer of a call, or None when AWS refuses with one of the codes that mean there is no such thing."""
    try:
        return call()
    except ClientError as error:
        if is_code(error, *missing):
            return None
        raise
