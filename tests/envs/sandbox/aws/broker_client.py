"""A client of the real broker in the hands of a role: whatever may be asked of Kafka, and what each call needs."""

import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AclBinding,  # pyright: ignore[reportPrivateImportUsage]
    AclOperation,  # pyright: ignore[reportPrivateImportUsage]
    AclPermissionType,  # pyright: ignore[reportPrivateImportUsage]
    AdminClient,
    AlterConfigOpType,  # pyright: ignore[reportPrivateImportUsage]
    ConfigEntry,  # pyright: ignore[reportPrivateImportUsage]
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
    NewPartitions,  # pyright: ignore[reportPrivateImportUsage]
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    ResourcePatternType,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from services import kafka
from tests.envs.sandbox.aws.broker_stage import Stage

DATA: Final = "data"
"""A topic that has a message."""

_TOPIC, _GROUP, _CLUSTER, _TRANSACTION = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
)
ERRORS: Final = {
    "DescribeCluster": _CLUSTER,
    "AlterCluster": _CLUSTER,
    "DescribeClusterDynamicConfiguration": _CLUSTER,
    "AlterClusterDynamicConfiguration": _CLUSTER,
    "WriteDataIdempotently": _CLUSTER,
    "CreateTopic": _TOPIC,
    "DescribeTopic": _TOPIC,
    "AlterTopic": _TOPIC,
    "DeleteTopic": _TOPIC,
    "DescribeTopicDynamicConfiguration": _TOPIC,
    "AlterTopicDynamicConfiguration": _TOPIC,
    "ReadData": _TOPIC,
    "WriteData": _TOPIC,
    "DescribeGroup": _GROUP,
    "AlterGroup": _GROUP,
    "DeleteGroup": _GROUP,
    "DescribeTransactionalId": _TRANSACTION,
    "AlterTransactionalId": _TRANSACTION,
}
"""Every action of MSK's but Connect, and the error that who lacks it gets."""

Call = tuple[Callable[[], Any], set[str]]


def config(stage: Stage, session: Any) -> dict[str, Any]:
    """How a session reaches the broker."""
    account = stage.aws.account
    authority = str(stage.aws.state_dir / "kafka" / "tls" / "ca.pem")
    reach = kafka.client_config(f"localhost:{account.kafka_port}", account.region, ca=authority, session=session)
    return {**reach, "log_level": 0}


def produce(producer: Producer, topic: str = DATA) -> None:
    """One message. Raises what became of it."""
    failed: list[KafkaError] = []
    producer.produce(topic, b"x", on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(90) == 0
    if failed:
        raise KafkaException(failed[0])


class Client:
    """What one principal asks of the broker. `name` keeps its topic, group and transactions apart from others'."""

    def __init__(self, config: dict[str, Any], name: str) -> None:
        self._config = config
        self._admin = AdminClient(config)
        self._own = f"own-{name}"
        self._name = name

    def calls(self) -> dict[str, Call]:
        """Each with the actions that it needs, in an order in which all pass."""
        admin, own, group = self._admin, self._own, f"group-{self._name}"
        topic, broker = ConfigResource(ResourceType.TOPIC, own), ConfigResource(ResourceType.BROKER, "1")
        changed_topic = _changed(ResourceType.TOPIC, own, "retention.ms", "3600000")
        changed_broker = _changed(ResourceType.BROKER, "1", "log.cleaner.threads", "1")
        rule = (ResourceType.TOPIC, own, ResourcePatternType.LITERAL, "User:x", "*", AclOperation.READ)
        added = AclBinding(*rule, AclPermissionType.ALLOW)
        return {
            "create topic": (lambda: _all(admin.create_topics([NewTopic(own, 1, 1)])), {"CreateTopic"}),
            "describe topic": (lambda: _all(admin.describe_topics(TopicCollection([own]))), {"DescribeTopic"}),
            "settings": (lambda: _all(admin.describe_configs([topic])), {"DescribeTopicDynamicConfiguration"}),
            "change settings": (
                lambda: _all(admin.incremental_alter_configs([changed_topic])),
                {"AlterTopicDynamicConfiguration"},
            ),
            "add partitions": (lambda: _all(admin.create_partitions([NewPartitions(own, 2)])), {"AlterTopic"}),
            "broker's settings": (
                lambda: _all(admin.describe_configs([broker])),
                {"DescribeClusterDynamicConfiguration"},
            ),
            "change broker's settings": (
                lambda: _all(admin.incremental_alter_configs([changed_broker])),
                {"AlterClusterDynamicConfiguration"},
            ),
            "describe cluster": (self._describe_cluster, {"DescribeCluster"}),
            "add an ACL": (lambda: _all(admin.create_acls([added])), {"AlterCluster"}),
            "produce": (self._produce, {"DescribeTopic", "WriteData"}),
            "produce idempotently": (
                self._produce_idempotently,
                {"DescribeTopic", "WriteData", "WriteDataIdempotently"},
            ),
            "produce in a transaction": (
                self._produce_in_a_transaction,
                {"DescribeTopic", "WriteData", "DescribeTransactionalId", "AlterTransactionalId"},
            ),
            "read": (self._read, {"DescribeTopic", "ReadData"}),
            "read in a group": (
                self._read_in_a_group,
                {"DescribeTopic", "ReadData", "DescribeGroup", "AlterGroup"},
            ),
            "describe group": (lambda: _all(admin.describe_consumer_groups([group])), {"DescribeGroup"}),
            "delete group": (
                lambda: _all(admin.delete_consumer_groups([group])),
                {"DescribeGroup", "DeleteGroup"},
            ),
            "delete topic": (lambda: _all(admin.delete_topics([own])), {"DescribeTopic", "DeleteTopic"}),
        }

    def refused(self) -> dict[str, int]:
        """The calls that the broker does not let this client make, and the errors."""
        found = {}
        for name, (call, _) in self.calls().items():
            try:
                call()
            except KafkaException as error:
                # Anything else is about what another refused call has not made.
                if (code := error.args[0].code()) in ERRORS.values():
                    found[name] = code
        return found

    def _describe_cluster(self) -> None:
        told = self._admin.describe_cluster(include_authorized_operations=True).result(60)
        # Whoever asks hears of the brokers; only who may describe the cluster hears what it may do there.
        if not told.authorized_operations:
            raise KafkaException(KafkaError(_CLUSTER))

    def _produce(self) -> None:
        produce(Producer({**self._config, "enable.idempotence": False}))

    def _produce_idempotently(self) -> None:
        noted: list[KafkaError] = []
        producer = Producer({**self._config, **kafka.LOW_LATENCY_PRODUCER, "error_cb": noted.append})
        try:
            produce(producer)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._FATAL:
                raise
            # What made it fatal comes by the other way.
            producer.poll(10)
            raise KafkaException(next(each for each in noted if each.fatal())) from error

    def _produce_in_a_transaction(self) -> None:
        producer = Producer({**self._config, "transactional.id": f"transaction-{self._name}"})
        producer.init_transactions(60)
        producer.begin_transaction()
        try:
            produce(producer)
        except KafkaException as error:
            if error.args[0].code() not in ERRORS.values():
                # The message was only taken back; why the transaction failed, the commit tells.
                producer.commit_transaction(60)
            raise
        producer.commit_transaction(60)

    def _read(self) -> None:
        consumer = self._consumer()
        consumer.assign([TopicPartition(DATA, 0, 0)])
        # librdkafka looks for the group's coordinator all the same, and tells now and then that it may not.
        _first(consumer, beside=_GROUP)
        consumer.close()

    def _read_in_a_group(self) -> None:
        consumer = self._consumer()
        consumer.subscribe([DATA])
        _first(consumer)
        consumer.commit(asynchronous=False)
        consumer.close()

    def _consumer(self) -> Consumer:
        more = {"group.id": f"group-{self._name}", "auto.offset.reset": "earliest", "enable.auto.commit": False}
        return Consumer({**self._config, **more})


def _changed(kind: ResourceType, name: str, key: str, value: str) -> ConfigResource:
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    return ConfigResource(kind, name, incremental_configs=[entry])


def _all(futures: dict[Any, Any]) -> None:
    for future in futures.values():
        future.result(60)


def _first(consumer: Consumer, beside: int | None = None) -> None:
    """Waits for a message. Raises the first error instead, unless it is the one that says nothing of messages."""
    # A consumer waits without a word for a topic that it may not see.
    if (error := consumer.list_topics(DATA, timeout=60).topics[DATA].error) is not None:
        raise KafkaException(error)
    deadline = time.monotonic() + 60
    while True:
        message = consumer.poll(0.2)
        error = message.error() if message is not None else None
        if error is not None and error.code() != beside:
            raise KafkaException(error)
        if message is not None and error is None:
            return
        assert time.monotonic() < deadline
