"""What scale-in works on, on AWS: settings from the environment, boto3's clients, the queue and the gateway."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import boto3

from services.fabric import authority
from services.fabric.account import AutoScaling, Ec2
from services.fabric.client import REMOVE_NODE, Gateway, Node, Patience, Upgrade
from services.fabric.credentials import Credentials, fetch
from services.fabric.errors import FabricServiceError, GatewayUnreachableError, GatewayUntrustedError
from services.fabric.lifecycle import Action
from services.fabric.scale_in.core import HOOK, Record, World
from services.fabric.scale_in.messages import continuation

PATIENCE: Final = Patience(read_s=12, attempts=1)
"""A delivery is short: what does not answer now is asked again by the next one."""
_DELAY_LIMIT: Final = 900
"""Seconds (SQS API Reference, SendMessage)."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Settings:
    """What the function is set to."""

    cluster: str
    gateway: str
    client_secret: str
    queue_url: str
    poll_seconds: int
    hook: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raises `FabricServiceError` that names every variable at fault."""
        names = {
            "cluster": "FLEETSTREAM_CLUSTER",
            "gateway": "FLEETSTREAM_GATEWAY",
            "client_secret": "FLEETSTREAM_CLIENT_SECRET",
            "queue_url": "FLEETSTREAM_QUEUE_URL",
        }
        poll = environment.get("FLEETSTREAM_POLL_SECONDS", "30")
        wrong = [f"{name} is not set" for name in names.values() if not environment.get(name)]
        if not poll.isdecimal() or not 1 <= int(poll) <= _DELAY_LIMIT:
            wrong.append(f"FLEETSTREAM_POLL_SECONDS is {poll!r}, not whole seconds from 1 to {_DELAY_LIMIT}")
        if wrong:
            raise FabricServiceError("the function's environment is wrong: " + "; ".join(wrong))
        return cls(
            **{field: environment[name] for field, name in names.items()},
            poll_seconds=int(poll),
            hook=environment.get("FLEETSTREAM_HOOK") or HOOK,
        )


class PatientGateway:
    """The gateway, connected when it is first needed.

    Once it did not answer, it is not asked again in the same invocation: ten messages of a batch would each wait for
    it. After a certificate was not accepted, the secret is read anew: it may have been rotated.
    """

    def __init__(self, connect: Callable[[], Gateway]) -> None:
        self._connect = connect
        self._gateway: Gateway | None = None
        self._silent: GatewayUnreachableError | None = None

    def invoked(self) -> None:
        """A new invocation: the gateway may answer by now."""
        self._silent = None

    def nodes(self) -> list[Node]:
        """Every node that the cluster knows."""
        return self._ask(lambda gateway: gateway.nodes())

    def deactivate(self, name: str, intent: str = REMOVE_NODE) -> None:
        """Begins to take a node out of use."""
        self._ask(lambda gateway: gateway.deactivate(name, intent))

    def activate(self, name: str) -> None:
        """Takes a deactivation back."""
        self._ask(lambda gateway: gateway.activate(name))

    def remove_state(self, name: str) -> None:
        """Makes the cluster forget a node that is down."""
        self._ask(lambda gateway: gateway.remove_state(name))

    def upgrade_status(self) -> Upgrade:
        """How far the last change of the configuration is."""
        return self._ask(lambda gateway: gateway.upgrade_status())

    def server_ends(self) -> float | None:
        """When the certificate of the node that answered last ends; None while none has."""
        return self._gateway.server_ends if self._gateway else None

    def _ask(self, question: Callable[[Gateway], _T]) -> _T:
        if self._silent:
            raise GatewayUnreachableError(f"not asked again in this invocation: {self._silent}")
        if self._gateway is None:
            self._gateway = self._connect()
        try:
            return question(self._gateway)
        except GatewayUnreachableError as error:
            self._silent = error
            raise
        except GatewayUntrustedError:
            self._gateway = None
            raise


class Continuations:
    """The function's own queue; `client` is boto3's of SQS."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, action: Action, seconds: int) -> None:
        """Leaves a message that comes after so many seconds."""
        self._client.send_message(QueueUrl=self._url, MessageBody=continuation(action), DelaySeconds=seconds)


def ends(credentials: Credentials, where: str) -> list[float]:
    """When the client's certificate and its authority's end, in seconds since 1970. Raises `FabricServiceError`."""
    certificates = (credentials.certificate, credentials.authority)
    return [authority.facts(authority.read_pem(each, where)).ends.timestamp() for each in certificates]


def world(
    settings: Settings, record: Callable[[Record], None], gauge: Callable[[str, int], None]
) -> tuple[World, PatientGateway]:
    """All that a delivery works on, and the gateway, to be told of each invocation."""
    secrets = boto3.client("secretsmanager")

    def certificates() -> list[float]:
        # The secret as it is now: the one that the gateway was asked with may have been renewed meanwhile.
        found = ends(fetch(secrets, settings.client_secret), settings.client_secret)
        nodes = gateway.server_ends()
        return found if nodes is None else [*found, nodes]

    gateway = PatientGateway(
        lambda: Gateway(settings.gateway, fetch(secrets, settings.client_secret), patience=PATIENCE)
    )
    return World(
        cluster_name=settings.cluster,
        groups=AutoScaling(boto3.client("autoscaling")),
        machines=Ec2(boto3.client("ec2")),
        cluster=gateway,
        send=Continuations(boto3.client("sqs"), settings.queue_url).send,
        record=record,
        gauge=gauge,
        certificates=certificates,
        poll_seconds=settings.poll_seconds,
        hook=settings.hook,
    ), gateway
