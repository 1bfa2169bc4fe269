"""The real broker: who is let in, what is deployed on it, and what survives."""

import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import boto3
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)
from cryptography import x509

from envs import toolchain
from envs.sandbox import account, broker, broker_settings, broker_tls, processes
from services import kafka
from services.errors import ServiceError
from tests.envs.sandbox import token_desk

pytestmark = pytest.mark.xdist_group("broker")

TOPIC = "telemetry"


@dataclass
class Sandbox:
    state_dir: Path
    account: account.Account
    desk: token_desk.Desk

    @property
    def bootstrap(self) -> str:
        return f"localhost:{self.account.kafka_port}"

    @property
    def config(self) -> dict[str, Any]:
        return broker.client_config(self.state_dir)

    @property
    def ca(self) -> str:
        return str(broker_tls.authority(self.state_dir / "kafka" / "tls"))

    def start(self, **deployed: str) -> None:
        properties = {name.replace("_", "."): value for name, value in deployed.items()}
        broker.start(self.state_dir, self.account.kafka_port, properties, toolchain.find())


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    state_dir = tmp_path_factory.mktemp("sandbox")
    settings = account.create(state_dir, "eu-west-1")
    with token_desk.serving(settings) as desk:
        made = Sandbox(state_dir, settings, desk)
        try:
            made.start(default_replication_factor="3", min_insync_replicas="2", log_retention_hours="24")
            create_topic(made, TOPIC, partitions=3)
            yield made
        finally:
            broker.kill(state_dir)


def create_topic(sandbox: Sandbox, name: str, partitions: int) -> None:
    admin = kafka.admin(sandbox.config)
    admin.create_topics([NewTopic(name, partitions)])[name].result(30)


def produce(config: dict[str, Any], values: list[bytes], topic: str = TOPIC, pause_s: float = 0) -> None:
    failed: list[KafkaError] = []
    producer = Producer({**config, **kafka.LOW_LATENCY_PRODUCER})
    for value in values:
        producer.produce(
            topic, value, key=value, on_delivery=lambda error, _: failed.append(error) if error else None
        )
        producer.poll(pause_s)
        time.sleep(pause_s)
    left = producer.flush(30)
    producer.close()
    assert (left, failed) == (0, [])


def consume(config: dict[str, Any], group: str, count: int, topic: str = TOPIC) -> list[bytes]:
    consumer = Consumer(
        {
            **config,
            **kafka.LOW_LATENCY_CONSUMER,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    values: list[bytes] = []
    deadline = time.monotonic() + 60
    while len(values) < count and time.monotonic() < deadline:
        if (message := consumer.poll(0.2)) is not None:
            assert message.error() is None
            values.append(message.value() or b"")
    consumer.commit(asynchronous=False)
    consumer.close()
    return values


def broker_settings_of(sandbox: Sandbox) -> dict[str, str | None]:
    admin, resource = kafka.admin(sandbox.config), ConfigResource(ResourceType.BROKER, "1")
    return {name: entry.value for name, entry in admin.describe_configs([resource])[resource].result(30).items()}


def refusal(config: dict[str, Any]) -> str:
    with pytest.raises(ServiceError) as error:
        kafka.admin(config, timeout_s=6)
    return str(error.value)


def test_an_iam_client_produces_and_consumes_as_its_arn(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in account.environment(sandbox.state_dir).items():
        monkeypatch.setenv(name, value)
    config = kafka.client_config(sandbox.bootstrap, sandbox.account.region)
    before = kafka.end_offsets(config, TOPIC)
    assert kafka.group_offsets(config, "readers", TOPIC) == {}

    values = [b"message-%d" % number for number in range(50)]
    produce(config, values)

    assert sorted(before) == [0, 1, 2]
    assert sum(kafka.end_offsets(config, TOPIC).values()) - sum(before.values()) == 50
    assert sorted(consume(config, "readers", 50)) == sorted(values)
    ends = {partition: offset for partition, offset in kafka.end_offsets(config, TOPIC).items() if offset}
    assert kafka.group_offsets(config, "readers", TOPIC) == ends
    assert set(sandbox.desk.principals) == {token_desk.OWNER_ARN}


def test_a_client_outlives_its_session(sandbox: Sandbox) -> None:
    asked = len(sandbox.desk.principals)
    sandbox.desk.holds_s = 2
    try:
        produce(sandbox.config, [b"%d" % number for number in range(25)], pause_s=0.1)
    finally:
        sandbox.desk.holds_s = None
    assert len(sandbox.desk.principals) > asked + 2


def test_a_client_that_signs_with_another_secret_is_refused(sandbox: Sandbox) -> None:
    session = boto3.Session(sandbox.account.access_key, "guessed", region_name=sandbox.account.region)
    config = kafka.client_config(sandbox.bootstrap, sandbox.account.region, ca=sandbox.ca, session=session)
    assert "Access denied: the signature does not match" in refusal(config)


def test_a_token_for_another_region_is_refused(sandbox: Sandbox) -> None:
    owner = boto3.Session(sandbox.account.access_key, sandbox.account.secret_key)
    config = kafka.client_config(sandbox.bootstrap, "us-west-2", ca=sandbox.ca, session=owner)
    assert "not for https://kafka.eu-west-1.amazonaws.com/" in refusal(config)


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT"])
def test_every_other_way_in_is_closed(sandbox: Sandbox, protocol: str) -> None:
    config: dict[str, Any] = {
        **sandbox.config,
        "security.protocol": protocol,
        "socket.connection.setup.timeout.ms": 2000,
        "log_level": 0,
    }
    if not protocol.startswith("SASL"):
        del config["oauth_cb"], config["sasl.mechanisms"]
    with pytest.raises(KafkaException):
        AdminClient(config).list_topics(timeout=3)


def test_a_broker_of_an_unknown_authority_is_not_talked_to(sandbox: Sandbox, tmp_path: Path) -> None:
    broker_tls.ensure(tmp_path)
    assert "certificate verify failed" in refusal({**sandbox.config, "ssl.ca.location": str(tmp_path / "ca.pem")})


@pytest.mark.parametrize("listener", ["INTERNAL", "CONTROLLER"])
def test_the_brokers_own_listeners_want_its_certificate(sandbox: Sandbox, listener: str) -> None:
    settings = broker_settings.parse((sandbox.state_dir / "kafka" / "server.properties").read_text())
    address = next(each for each in settings["listeners"].split(",") if each.startswith(f"{listener}://"))
    port = address.rpartition(":")[2]
    config = {"bootstrap.servers": f"localhost:{port}", "security.protocol": "SSL", "ssl.ca.location": sandbox.ca}
    said = refusal({**config, "broker.address.family": "v4", "log_level": 0})
    assert "certificate required" in said or "bad certificate" in said


def test_what_is_deployed_is_set_and_replicas_are_one(sandbox: Sandbox) -> None:
    settings = broker_settings_of(sandbox)
    names = ("log.retention.hours", "default.replication.factor", "min.insync.replicas", "auto.create.topics.enable")
    assert [settings[name] for name in names] == ["24", "1", "1", "false"]


def test_a_topic_that_nobody_made_does_not_appear(sandbox: Sandbox) -> None:
    with pytest.raises(ServiceError, match=r"topic typo: .*Unknown topic"):
        kafka.end_offsets(sandbox.config, "typo")
    assert "typo" not in kafka.admin(sandbox.config).list_topics(timeout=10).topics


def test_messages_survive_a_kill_and_settings_follow(sandbox: Sandbox) -> None:
    create_topic(sandbox, "kept", partitions=1)
    produce(sandbox.config, [b"acknowledged"], "kept")
    cluster = kafka.admin(sandbox.config).list_topics(timeout=10).cluster_id

    broker.kill(sandbox.state_dir)
    assert not processes.alive(sandbox.state_dir, broker.ROLE)
    sandbox.start(log_retention_hours="48")

    assert kafka.admin(sandbox.config).list_topics(timeout=10).cluster_id == cluster
    assert consume(sandbox.config, "after", 1, "kept") == [b"acknowledged"]
    assert broker_settings_of(sandbox)["log.retention.hours"] == "48"


def test_a_setting_that_kafka_refuses_is_named_and_nothing_is_left_running(tmp_path: Path) -> None:
    settings = account.create(tmp_path, "eu-west-1")
    with pytest.raises(broker.BrokerError, match=r"num\.io\.threads"):
        broker.start(tmp_path, settings.kafka_port, {"num.io.threads": "none"}, toolchain.find())
    assert not processes.strays(tmp_path)


def test_a_broker_whose_clients_nobody_can_check_does_not_start(tmp_path: Path) -> None:
    settings = account.create(tmp_path, "eu-west-1")
    with pytest.raises(broker.BrokerError, match="the AWS endpoint that checks tokens does not answer"):
        broker.start(tmp_path, settings.kafka_port, {}, toolchain.find())
    assert not processes.strays(tmp_path)
    assert broker.has_logs(tmp_path)

    broker.delete_logs(tmp_path)
    assert not broker.has_logs(tmp_path)


def test_a_taken_port_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    account.create(tmp_path, "eu-west-1")
    with pytest.raises(broker.BrokerError, match=f"port {sandbox.account.kafka_port}.* is taken"):
        broker.start(tmp_path, sandbox.account.kafka_port, {}, toolchain.find())


def test_certificates_hold_for_this_machine_and_are_kept(tmp_path: Path) -> None:
    broker_tls.ensure(tmp_path)
    store = broker_tls.key_store(tmp_path)
    first = store.read_bytes()
    certificate = x509.load_pem_x509_certificates(first)[0]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [IPv4Address("127.0.0.1")]
    assert timedelta(days=10) < certificate.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=365)
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert b"PRIVATE KEY" not in broker_tls.authority(tmp_path).read_bytes()

    broker_tls.ensure(tmp_path)
    assert store.read_bytes() == first


@pytest.mark.parametrize("damage", ["expiring", "foreign", "broken"])
def test_certificates_that_do_not_hold_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    if damage == "expiring":
        with monkeypatch.context() as patch:
            patch.setattr(broker_tls, "VALID", timedelta(days=9))
            broker_tls.ensure(tmp_path)
    else:
        broker_tls.ensure(tmp_path)
    if damage == "foreign":
        broker_tls.ensure(tmp_path / "other")
        shutil.copy(broker_tls.authority(tmp_path / "other"), broker_tls.authority(tmp_path))
    if damage == "broken":
        broker_tls.key_store(tmp_path).write_text("-----BEGIN CERT")

    broker_tls.ensure(tmp_path)

    shown = x509.load_pem_x509_certificates(broker_tls.key_store(tmp_path).read_bytes())[0]
    shown.verify_directly_issued_by(x509.load_pem_x509_certificate(broker_tls.authority(tmp_path).read_bytes()))
    assert shown.not_valid_after_utc > datetime.now(UTC) + timedelta(days=300)
