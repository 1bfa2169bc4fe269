"""MSK's topic operations, realised on the sandbox's real broker.

What exists, with how many partitions and with which settings, the broker knows. The backend remembers what one
broker cannot have: the replication factor that was asked for and ``min.insync.replicas`` above 1. Both are described
as asked for and realised as 1. (Amazon MSK Developer Guide, "Topic Operations"; ``configs`` is base64 of a JSON
object, as internal/service/kafka/topic.go of hashicorp/terraform-provider-aws writes and reads it.)
"""

import base64
import binascii
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,  # pyright: ignore[reportPrivateImportUsage]
    ConfigEntry,  # pyright: ignore[reportPrivateImportUsage]
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
    ConfigSource,  # pyright: ignore[reportPrivateImportUsage]
    NewPartitions,  # pyright: ignore[reportPrivateImportUsage]
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from envs.sandbox.account import is_open
from envs.sandbox.aws.host import Host
from envs.sandbox.aws.kafka_models import Cluster
from envs.sandbox.aws.kafka_rules import MskError, refuse, version_tuple
from envs.sandbox.aws.session import emulated_session
from services import kafka
from services.errors import ServiceError

log = logging.getLogger("envs.sandbox.aws")

_FIRST_VERSION: Final = (3, 6)
_ISR: Final = "min.insync.replicas"
_SECONDS: Final = 15.0
_EXCEPTIONS: Final = {
    KafkaError.TOPIC_ALREADY_EXISTS: "TopicExistsException",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "UnknownTopicOrPartitionException",
    KafkaError.REASSIGNMENT_IN_PROGRESS: "ReassignmentInProgressException",
    KafkaError.NOT_CONTROLLER: "NotControllerException",
    KafkaError.REQUEST_TIMED_OUT: "KafkaTimeoutException",
    KafkaError._TIMED_OUT: "KafkaTimeoutException",
}


class Topics:
    """The part of the backend that speaks to the broker."""

    host: ClassVar[Host]
    _connected: ClassVar[AdminClient | None] = None
    _connecting: ClassVar[threading.Lock] = threading.Lock()

    def cluster(self, arn: str) -> Cluster:
        """A cluster in its state now. Raises NotFoundException."""
        raise NotImplementedError

    def active_cluster(self, arn: str) -> Cluster:
        """A cluster that takes operations. Raises BadRequestException."""
        raise NotImplementedError

    def create_topic(self, arn: str, name: str, partitions: int, replication: int, configs: str | None) -> str:
        """Creates the topic on the broker, or adopts one that outlived its account, and returns the topic's ARN."""
        found = self._ready(arn)
        wanted = _decode(configs)
        brokers = found.info["NumberOfBrokerNodes"]
        if partitions < 1:
            raise refuse("A topic has at least one partition.", "partitionCount")
        if not 1 <= replication <= brokers:
            raise refuse(
                f"Replication factor: {replication} larger than available brokers: {brokers}.", "replicationFactor"
            )
        if int(wanted.get(_ISR, 1)) > replication:
            raise refuse(f"{_ISR} {wanted[_ISR]} is more than the replication factor {replication}.", "configs")
        with self._admin() as admin:
            existing = _partitions(admin).get(name)
            if existing is None:
                topic = NewTopic(name, partitions, 1, config=_realised(wanted))
                _wait(admin.create_topics([topic], operation_timeout=_SECONDS)[name])
            else:
                self._adopt(admin, name, existing, partitions, wanted)
        found.topics[name] = {"ReplicationFactor": replication, "Configs": wanted}
        return self._topic_arn(found, name)

    def describe_topic(self, arn: str, name: str) -> dict[str, Any]:
        """A topic as DescribeTopic shows it. Raises NotFoundException."""
        found = self._ready(arn)
        with self._admin() as admin:
            partitions = _partitions(admin).get(name)
            settings = _settings(admin, name) if partitions is not None else None
            if settings is None:
                raise MskError("NotFoundException", f"The following resource was not found: {name}.", "topicName")
        remembered = found.topics.get(name, {})
        values = {entry.name: entry.value for entry in settings}
        if _ISR in remembered.get("Configs", {}):
            values[_ISR] = remembered["Configs"][_ISR]
        return {
            "TopicArn": self._topic_arn(found, name),
            "TopicName": name,
            "PartitionCount": partitions,
            "ReplicationFactor": remembered.get("ReplicationFactor", 1),
            "Configs": base64.b64encode(json.dumps(values, sort_keys=True).encode()).decode(),
            "Status": "ACTIVE",
        }

    def list_topics(self, arn: str, prefix: str) -> list[dict[str, Any]]:
        """All topics but Kafka's own whose name starts with `prefix`, in the order of their names."""
        found = self._ready(arn)
        with self._admin() as admin:
            counts = _partitions(admin)
        return [
            {
                "TopicArn": self._topic_arn(found, name),
                "TopicName": name,
                "PartitionCount": counts[name],
                "ReplicationFactor": found.topics.get(name, {}).get("ReplicationFactor", 1),
                "OutOfSyncReplicaCount": 0,
            }
            for name in sorted(counts)
            if name.startswith(prefix) and not name.startswith("__")
        ]

    def update_topic(self, arn: str, name: str, partitions: int | None, configs: str | None) -> str:
        """Raises the number of partitions, or replaces the settings; one of them a call. Returns the topic's ARN."""
        found = self._ready(arn)
        if (partitions is None) == (configs is None):
            raise refuse("You must specify either configs or partitionCount to update.", "configs")
        with self._admin() as admin:
            existing = _partitions(admin).get(name)
            if existing is None:
                raise MskError("NotFoundException", f"The following resource was not found: {name}.", "topicName")
            if partitions is not None:
                if partitions <= existing:
                    raise refuse(
                        f"The topic {name} currently has {existing} partition(s); {partitions} would not be an "
                        "increase.",
                        "partitionCount",
                    )
                _wait(admin.create_partitions([NewPartitions(name, partitions)], operation_timeout=_SECONDS)[name])
            else:
                wanted = _decode(configs)
                _replace_settings(admin, name, wanted)
                found.topics.setdefault(name, {"ReplicationFactor": 1})["Configs"] = wanted
        return self._topic_arn(found, name)

    def delete_topic(self, arn: str, name: str) -> str:
        """Deletes the topic and waits until the broker no longer lists it."""
        found = self._ready(arn)
        with self._admin() as admin:
            if name not in _partitions(admin):
                raise MskError("NotFoundException", f"The following resource was not found: {name}.", "topicName")
            _wait(admin.delete_topics([name], operation_timeout=_SECONDS)[name])
            deadline = time.monotonic() + _SECONDS
            # The broker's metadata follows its controller's a moment later.
            while name in _partitions(admin) and time.monotonic() < deadline:
                time.sleep(0.05)
        found.topics.pop(name, None)
        return self._topic_arn(found, name)

    def topic_exists(self, arn: str, name: str) -> bool:
        """Whether an active cluster's broker has the topic."""
        self._ready(arn)
        with self._admin() as admin:
            return name in _partitions(admin)

    def _ready(self, arn: str) -> Cluster:
        found = self.active_cluster(arn)
        version = found.software["KafkaVersion"]
        if version_tuple(version) < _FIRST_VERSION:
            raise refuse(f"Topic operations need Kafka 3.6.0 or later, the cluster has {version}.", "clusterArn")
        return found

    def _adopt(
        self, admin: AdminClient, name: str, existing: int, partitions: int, wanted: Mapping[str, str]
    ) -> None:
        survivors = self.host.state_dir / "kafka" / "survivors.json"
        names = _read_names(survivors)
        if name not in names:
            raise MskError("TopicExistsException", f"Topic '{name}' already exists.", "topicName")
        if existing != partitions:
            raise MskError(
                "TopicExistsException",
                f"Topic '{name}' outlived its account with {existing} partitions, {partitions} are asked for: delete "
                "it on the broker, or take the sandbox down and begin anew.",
                "partitionCount",
            )
        _replace_settings(admin, name, wanted)
        survivors.write_text(json.dumps([each for each in names if each != name]))
        log.info("topic %s outlived its account and belongs to this one now", name)

    def disconnect(self) -> None:
        """Lets the connection to the broker go; the next operation makes a new one."""
        with self._connecting:
            Topics._connected = None

    @contextmanager
    def _admin(self) -> Iterator[AdminClient]:
        if not is_open(self.host.account.kafka_port):
            self.disconnect()
            raise MskError(
                "ClusterConnectivityException",
                f"no broker answers on port {self.host.account.kafka_port}: see logs/broker.log in "
                f"{self.host.state_dir}, and `fleetstream recover`",
            )
        # A new client waits a second for its first token; the one that is there answers within milliseconds.
        try:
            with self._connecting:
                if Topics._connected is None:
                    Topics._connected = self._connect()
                client = Topics._connected
            yield client
        except ServiceError as error:
            raise MskError("ClusterConnectivityException", str(error)) from error
        except KafkaException as error:
            self.disconnect()
            cause = error.args[0]
            code = _EXCEPTIONS.get(cause.code(), "KafkaRequestException")
            raise MskError(code, cause.str()) from error

    def _connect(self) -> AdminClient:
        account = self.host.account
        authority = self.host.state_dir / "kafka" / "tls" / "ca.pem"
        config = kafka.client_config(
            f"localhost:{account.kafka_port}", account.region, ca=str(authority), session=emulated_session(account)
        )
        return kafka.admin(config, _SECONDS)

    @staticmethod
    def _topic_arn(found: Cluster, name: str) -> str:
        return f"{found.arn.replace(':cluster/', ':topic/', 1)}/{name}"


def _decode(configs: str | None) -> dict[str, str]:
    if configs is None:
        return {}
    try:
        decoded = json.loads(base64.b64decode(configs, validate=True))
    except (binascii.Error, ValueError) as error:
        raise refuse(f"configs is not base64 of a JSON object: {error}", "configs") from error
    if not isinstance(decoded, dict):
        raise refuse("configs is not base64 of a JSON object.", "configs")
    wanted = {str(key): _text(value) for key, value in decoded.items()}
    if not wanted.get(_ISR, "1").isdigit():
        raise refuse(f"{_ISR} {wanted[_ISR]!r} is not a whole number.", "configs")
    return wanted


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _realised(wanted: Mapping[str, str]) -> dict[str, str]:
    return {key: "1" if key == _ISR else value for key, value in wanted.items()}


def _partitions(admin: AdminClient) -> dict[str, int]:
    return {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=_SECONDS).topics.items()}


def _settings(admin: AdminClient, name: str) -> list[ConfigEntry] | None:
    """The topic's settings, or None when it has just been deleted."""
    resource = ConfigResource(ResourceType.TOPIC, name)
    try:
        return list(_wait(admin.describe_configs([resource], request_timeout=_SECONDS)[resource]).values())
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise


def _replace_settings(admin: AdminClient, name: str, wanted: Mapping[str, str]) -> None:
    known = _settings(admin, name) or []
    own = [each.name for each in known if each.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value]
    entries = [
        ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        for key, value in _realised(wanted).items()
    ]
    entries += [
        ConfigEntry(key, None, incremental_operation=AlterConfigOpType.DELETE) for key in own if key not in wanted
    ]
    if entries:
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        _wait(admin.incremental_alter_configs([resource], request_timeout=_SECONDS)[resource])


def _wait(future: Any) -> Any:
    return future.result(timeout=_SECONDS + 5)


def _read_names(path: Path) -> list[str]:
    try:
        return list(json.loads(path.read_text()))
    except FileNotFoundError:
        return []
