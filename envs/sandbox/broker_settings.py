"""The broker's ``server.properties``: what is deployed, over what suits one machine, under what is fixed."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from envs.errors import FleetstreamError
from envs.sandbox import broker_tls

log = logging.getLogger(__name__)

BASE: Final[dict[str, str]] = {
    # As MSK sets it ("The default Amazon MSK configuration"): topics are resources, none appears by a typing mistake.
    "auto.create.topics.enable": "false",
    "num.partitions": "1",
    # Few threads: each one more that wakes up competes with the clients for the same cores.
    "num.network.threads": "2",
    "num.io.threads": "2",
    "num.replica.fetchers": "1",
    "background.threads": "2",
    # One broker, few groups: 50 partitions each would only make the first commit slow and the folder large.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    # Nobody waits three seconds for a second member.
    "group.initial.rebalance.delay.ms": "0",
}
"""What a deployment may override. Names and defaults: Apache Kafka documentation, "Broker Configs"."""

_REPLICAS: Final = (
    "default.replication.factor",
    "min.insync.replicas",
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "transaction.state.log.min.isr",
    "share.coordinator.state.topic.replication.factor",
    "share.coordinator.state.topic.min.isr",
)
"""Numbers of brokers: this machine has one."""

_MANAGED: Final = re.compile(
    r"(process\.roles|node\.id|broker\.id|broker\.rack|controller\..*|(advertised\.)?listeners|listener\..*"
    r"|inter\.broker\.listener\.name|security\..*|ssl\..*|sasl\..*|log\.dirs?|metadata\.log\.dir|principal\..*"
    r"|authorizer\..*|super\.users|early\.start\.listeners|config\.providers.*|metric\.reporters|plugin\..*)"
)


class SettingsError(FleetstreamError):
    """A server property that a deployment must not set."""


def parse(text: str) -> dict[str, str]:
    """Reads the server properties of an MSK configuration: ``name = value`` or ``name: value``, ``#`` comments.

    Raises `SettingsError` for a line that is neither.
    """
    properties: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not (line := line.strip()) or line.startswith(("#", "!")):
            continue
        found = re.fullmatch(r"([^=:\s]+)\s*[=:]\s*(.*)", line)
        if found is None:
            raise SettingsError(f"server properties, line {number}: `name = value` is expected, found {line!r}")
        properties[found[1]] = found[2]
    return properties


def server_properties(
    folder: Path, deployed: Mapping[str, str], client_port: int, internal_port: int, controller_port: int
) -> str:
    """The whole file for a broker that keeps its data in `folder`.

    Clients sign in with their IAM token over TLS and may do what their policies say; the broker's own listeners take
    its own certificate only, which may do everything. Raises `SettingsError` for a property that MSK does not let its
    users set ("Custom Amazon MSK configurations").
    """
    for name in sorted(deployed):
        if _MANAGED.fullmatch(name):
            raise SettingsError(f"server property {name} is managed by MSK: take it out of the configuration")
    properties = {**BASE, **dict.fromkeys(_REPLICAS, "1"), **deployed}
    for name in _REPLICAS:
        if properties[name] != "1":
            log.warning("%s = %s is deployed; the sandbox has one broker and uses 1", name, properties[name])
            properties[name] = "1"
    handler = "listener.name.client.oauthbearer.sasl"
    tls = folder / "tls"
    properties |= {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@localhost:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "INTERNAL",
        "listeners": f"CLIENT://127.0.0.1:{client_port},INTERNAL://127.0.0.1:{internal_port}"
        f",CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"CLIENT://localhost:{client_port},INTERNAL://localhost:{internal_port}",
        "listener.security.protocol.map": "CLIENT:SASL_SSL,INTERNAL:SSL,CONTROLLER:SSL",
        "listener.name.internal.ssl.client.auth": "required",
        "listener.name.controller.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(broker_tls.key_store(tls)),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(broker_tls.authority(tls)),
        "sasl.enabled.mechanisms": "OAUTHBEARER",
        f"{handler}.jaas.config": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
        f"{handler}.server.callback.handler.class": "fleetstream.IamTokenHandler",
        "authorizer.class.name": "fleetstream.IamAuthorizer",
        "super.users": f"User:CN={broker_tls.BROKER}",
        "log.dirs": str(folder / "data"),
    }
    return "".join(f"{name}={_escaped(value)}\n" for name, value in properties.items())


def _escaped(value: str) -> str:
    """A value as `java.util.Properties` reads it back: paths may hold backslashes and any letter."""
    text = value.replace("\\", "\\\\")
    return "".join(c if " " <= c <= "~" else f"\\u{ord(c):04x}" for c in text)
