"""The one Kafka client factory: configurations that sign in to MSK with IAM, on AWS and on an emulated account alike.

Settings are librdkafka's (its CONFIGURATION.md). The token is made by AWS's own signer. confluent-kafka asks for it
from a background thread when a client is made and again when four fifths of its time are over: nobody polls for it.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import boto3
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from botocore.credentials import CredentialProvider
from botocore.exceptions import BotoCoreError, ClientError
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from services.errors import ServiceError

CA_VARIABLE: Final = "FLEETSTREAM_KAFKA_CA"
"""Names the file with the certificates that brokers are checked against; unset, the system's own roots are used."""

_TIMEOUT_S: Final = 15.0
_LOOK_S: Final = 2.0
_REFUSALS: Final = (KafkaError._AUTHENTICATION, KafkaError._SSL)
_Result = TypeVar("_Result")
_Client = TypeVar("_Client", AdminClient, Consumer)

_BACK_SOON: Final[dict[str, Any]] = {
    # A broker that comes back is found within a second; by default a client looks every ten in the end.
    "reconnect.backoff.max.ms": 1000,
}

LOW_LATENCY_PRODUCER: Final[dict[str, Any]] = {
    **_BACK_SOON,
    # Nothing is lost or doubled when a request is sent again; measured to cost nothing against acks=1 on one broker.
    "acks": "all",
    "enable.idempotence": True,
    # The default of 5 ms is by itself more than the whole way to the consumer takes.
    "linger.ms": 0,
    # Small frames leave at once instead of waiting for the acknowledgement of the frame before them.
    "socket.nagle.disable": True,
    # With one request in flight the messages of a partition wait together and leave as one: fewer requests.
    "max.in.flight.requests.per.connection": 1,
    "batch.size": 1_000_000,
}
"""For a producer whose messages must arrive within milliseconds."""

LOW_LATENCY_CONSUMER: Final[dict[str, Any]] = {
    **_BACK_SOON,
    # The broker answers as soon as there is one byte, and holds an empty request only this long (ms).
    "fetch.min.bytes": 1,
    "fetch.wait.max.ms": 100,
    # A full local queue pauses fetching for `fetch.queue.backoff.ms` (default 1 s): a large queue, and no pause.
    "queued.min.messages": 1_000_000,
    "fetch.queue.backoff.ms": 0,
    "socket.nagle.disable": True,
}
"""For a consumer that has to see messages within milliseconds."""


class _SessionCredentials(CredentialProvider):
    """Lends the signer the credentials of a boto3 session, renewed when they run out (assumed roles)."""

    METHOD = CANONICAL_NAME = "boto3-session"

    def __init__(self, session: boto3.Session) -> None:
        super().__init__()
        self._session = session

    def load(self) -> Any:
        credentials = self._session.get_credentials()
        if credentials is None:
            raise ServiceError(
                "no AWS credentials to sign in to Kafka with: set AWS_PROFILE or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or run where a role is attached"
            )
        return credentials.get_frozen_credentials()


@dataclass(frozen=True)
class Signer:
    """Makes the token a broker asks for. Without a session the default credential chain is used, afresh each time."""

    region: str
    session: boto3.Session | None = None

    def __call__(self, _oauth_config: str = "") -> tuple[str, float]:
        """The token and its end in seconds since the Unix epoch, as librdkafka's ``oauth_cb`` wants them."""
        provider = _SessionCredentials(self.session or boto3.Session())
        token, expires_ms = MSKAuthTokenProvider.generate_auth_token_from_credentials_provider(self.region, provider)
        return token, expires_ms / 1000


def client_config(
    bootstrap: str, region: str, *, ca: str | None = None, session: boto3.Session | None = None
) -> dict[str, Any]:
    """What every producer, consumer and admin client is configured with; add to a copy of it.

    `ca` is a PEM file (default: what `CA_VARIABLE` names, else the system's roots). Without `session` the result can
    be handed to another process.
    """
    config: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        # An MSK cluster always answers over IPv4; `localhost` means ::1 first on many machines.
        "broker.address.family": "v4",
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "OAUTHBEARER",
        "oauth_cb": Signer(region, session),
        # Errors only: a client's ordinary start and end would write warnings to stderr.
        "log_level": 3,
    }
    if trusted := ca or os.environ.get(CA_VARIABLE):
        config["ssl.ca.location"] = trusted
    return config


def bootstrap_servers(cluster_arn: str, session: boto3.Session | None = None) -> str:
    """The brokers' addresses for IAM clients. Raises `ServiceError` when the cluster offers none."""
    region = cluster_arn.split(":")[3] if cluster_arn.count(":") >= 5 else None
    try:
        answer = (
            (session or boto3.Session())
            .client("kafka", region_name=region)
            .get_bootstrap_brokers(ClusterArn=cluster_arn)
        )
    except (ClientError, BotoCoreError) as error:
        raise ServiceError(f"no brokers' addresses of {cluster_arn}: {error}") from error
    if servers := answer.get("BootstrapBrokerStringSaslIam"):
        return str(servers)
    offered = sorted(name for name, value in answer.items() if name.startswith("BootstrapBrokerString") and value)
    raise ServiceError(
        f"{cluster_arn} offers no SASL/IAM, only {', '.join(offered) or 'nothing yet'}: wait until it is ACTIVE, "
        "and switch on clientAuthentication.sasl.iam in its settings"
    )


def admin(config: dict[str, Any], timeout_s: float = _TIMEOUT_S) -> AdminClient:
    """An admin client that has reached the cluster. Raises `ServiceError` with the reason when it cannot.

    Keep it until the futures that it gave are done: without their client they never are.
    """
    return _reached(AdminClient, config, timeout_s)


def end_offsets(config: dict[str, Any], topic: str) -> dict[int, int]:
    """The offset that the next message of each partition will get. Raises `ServiceError`."""
    with _asking(config, "fleetstream-offsets") as consumer:
        places = _places(consumer, topic)
        what = f"end offsets of {topic}"
        ends = [
            _call(lambda p=place: consumer.get_watermark_offsets(p, timeout=_TIMEOUT_S), what) for place in places
        ]
    if None in ends:
        raise ServiceError(f"{what}: the broker did not answer within {_TIMEOUT_S:g} s")
    return {place.partition: end[1] for place, end in zip(places, ends, strict=True)}


def group_offsets(config: dict[str, Any], group: str, topic: str) -> dict[int, int]:
    """What a group has committed: the next offset it would read, of each partition that has a commit.

    Raises `ServiceError`.
    """
    with _asking(config, group) as consumer:
        places = _places(consumer, topic)
        what = f"offsets of group {group} on {topic}"
        committed = _call(lambda: consumer.committed(places, timeout=_TIMEOUT_S), what)
    return {place.partition: place.offset for place in committed if place.offset >= 0}


@contextlib.contextmanager
def _asking(config: dict[str, Any], group: str) -> Iterator[Consumer]:
    """A consumer that only asks: it never subscribes, so it never joins its group.

    Not an admin client, because `list_consumer_group_offsets` crashes the process while the group's coordinator is
    still loading (librdkafka 2.16: rd_kafka_handle_OffsetFetch reaches for a group that an admin client has not).
    """
    consumer = _reached(Consumer, {**config, "group.id": group, "enable.auto.commit": False}, _TIMEOUT_S)
    try:
        yield consumer
    finally:
        consumer.close()


def _reached(kind: type[_Client], config: dict[str, Any], timeout_s: float) -> _Client:
    noted: list[KafkaError] = []
    # What goes wrong is raised from here; librdkafka would print it as well.
    settings: dict[str, Any] = {**config, "error_cb": noted.append, "log_level": 0}
    deadline = time.monotonic() + timeout_s
    try:
        client = kind(settings)
        while True:
            try:
                client.list_topics(timeout=max(0.1, min(_LOOK_S, deadline - time.monotonic())))
                return client
            except KafkaException:
                client.poll(0)
                # librdkafka tries again for ever; a refusal will not become anything else by that.
                if time.monotonic() > deadline or any(error.code() in _REFUSALS for error in noted):
                    raise
    except KafkaException as error:
        reason = next((each for each in noted if each.code() in _REFUSALS), noted[-1] if noted else error.args[0])
        raise ServiceError(
            f"Kafka at {config['bootstrap.servers']} cannot be used: {reason.str()}. Check that it runs, that the "
            f"AWS keys are its account's, and that {config.get('ssl.ca.location', 'the system')} holds its authority"
        ) from error


def _places(consumer: Consumer, topic: str) -> list[TopicPartition]:
    found = _call(lambda: consumer.list_topics(topic, timeout=_TIMEOUT_S), f"topic {topic}").topics[topic]
    if found.error is not None:
        raise ServiceError(
            f"topic {topic}: {found.error.str()}. `fleetstream up` creates the topics of an environment"
        )
    return [TopicPartition(topic, number) for number in sorted(found.partitions)]


def _call(action: Callable[[], _Result], what: str) -> _Result:
    try:
        return action()
    except KafkaException as error:
        raise ServiceError(f"{what}: {error.args[0].str()}") from error
