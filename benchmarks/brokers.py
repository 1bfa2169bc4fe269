"""Brokers of a benchmark's own: Apache Kafka on the loopback interface, alone or three, in plain text or over TLS."""

import base64
import contextlib
import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.cimpl import NewTopic

from envs.errors import FleetstreamError
from envs.sandbox import account, broker, broker_handler, broker_tls
from envs.toolchain import Toolchain
from services import kafka, priority
from services.connection import ConnectionSpec
from services.errors import ServiceError

_PATIENCE_S: Final = 90.0
_USER: Final = "bench"

_JVM: Final = tuple(option for option in broker.JVM if not option.startswith(("-Xm", "-XX:SoftMax")))
_HEAP: Final = ("-Xms2g", "-Xmx2g")
"""Of one size, unlike the sandbox's: what is measured must not wait for memory of the machine."""
_HEAP_OF_THREE: Final = ("-Xms1g", "-Xmx1g")

PROPERTIES: Final[dict[str, str]] = {
    "auto.create.topics.enable": "false",
    # One thread that reads and answers requests, two that carry them out: each further one that wakes up takes the
    # processor from another.
    "num.network.threads": "1",
    "num.io.threads": "2",
    "background.threads": "2",
    "offsets.topic.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    # What a round has written is gone from the disk soon after its topic.
    "log.segment.delete.delay.ms": "1000",
}


class Broker:
    """One broker: its process, which may end and be started again, and its folder, which stays."""

    def __init__(self, argv: Sequence[str], home: Path) -> None:
        self._argv = list(argv)
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process's id; 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself, or was never started."""
        return self._process is None or self._process.poll() is not None

    @property
    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join((self._home / "log").read_text(errors="replace").splitlines()[-15:])

    def start(self) -> None:
        """Starts it on what its folder holds."""
        with (self._home / "log").open("ab") as log:
            # A session of its own: Ctrl-C in a terminal reaches the benchmark, which then ends it.
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._home,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Ends it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class Cluster:
    """Brokers that run."""

    connection: ConnectionSpec
    brokers: tuple[Broker, ...]
    secure: bool

    @property
    def count(self) -> int:
        """How many brokers."""
        return len(self.brokers)

    @property
    def pids(self) -> tuple[int, ...]:
        """Their processes."""
        return tuple(broker.pid for broker in self.brokers)

    def wait(self) -> None:
        """Waits until all of them serve. Raises `FleetstreamError` with the last words of one that does not."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            for number, one in enumerate(self.brokers, 1):
                if one.ended:
                    raise FleetstreamError(f"broker {number} ended:\n{one.last_words}")
            with contextlib.suppress(ServiceError, KafkaException):
                if len(kafka.admin(self.connection.settings(), 5).list_topics(timeout=5).brokers) == self.count:
                    return
            if time.monotonic() > deadline:
                raise FleetstreamError(
                    f"the brokers do not serve after {_PATIENCE_S:g} s:\n{self.brokers[0].last_words}"
                )
            time.sleep(0.1)

    def create_topic(self, name: str, partitions: int, settings: Mapping[str, str] | None = None) -> None:
        """Makes a topic with as many replicas as there are brokers, all but one of which must have a message; with
        further `settings` of the topic.

        Raises `FleetstreamError`.
        """
        config = {
            "min.insync.replicas": str(max(1, self.count - 1)),
            "unclean.leader.election.enable": "false",
            **(settings or {}),
        }
        admin = kafka.admin(self.connection.settings())
        try:
            topic = NewTopic(name, num_partitions=partitions, replication_factor=self.count, config=config)
            admin.create_topics([topic])[name].result(30)
        except KafkaException as error:
            raise FleetstreamError(f"topic {name} was not made: {error.args[0].str()}") from error

    def delete_topics(self, *names: str) -> None:
        """Takes topics away, with what is in them."""
        admin = kafka.admin(self.connection.settings())
        for future in admin.delete_topics(list(names)).values():
            future.result(30)

    @contextlib.contextmanager
    def on_time(self) -> Iterator[str]:
        """Lets the brokers run before everything else, for a load that ends by itself. Yields what they got."""
        with ExitStack() as raised:
            got = {raised.enter_context(priority.raised(pid, broker.UNHURRIED)) for pid in self.pids}
            yield ", ".join(sorted(got))


@contextlib.contextmanager
def cluster(
    toolchain: Toolchain,
    folder: Path,
    brokers: int = 1,
    *,
    secure: bool = False,
    jvm: Sequence[str] = (),
    properties: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """Runs brokers for the time of the block. `secure`: clients come over TLS and sign in (SCRAM-SHA-512, one of the
    two ways MSK knows); `jvm`: further options of the brokers' Java; `properties`: further ones of the brokers.

    Raises `FleetstreamError` with a broker's last words.
    """
    broker_tls.ensure(folder / "tls")
    password = secrets.token_urlsafe(24)
    ports = [(account.free_port(), account.free_port(), account.free_port()) for _ in range(brokers)]
    voters = ",".join(f"{number}@127.0.0.1:{control}" for number, (_, _, control) in enumerate(ports, 1))
    cluster_id = base64.urlsafe_b64encode(b"\x01" + os.urandom(15)).decode().rstrip("=")
    connection = ConnectionSpec(
        bootstrap=",".join(f"127.0.0.1:{client}" for client, _, _ in ports), extra=_client(secure, folder, password)
    )
    jvm = [*_JVM, *(_HEAP if brokers == 1 else _HEAP_OF_THREE), *jvm]
    with ExitStack() as running:
        made: list[Broker] = []
        for number, (client, internal, control) in enumerate(ports, 1):
            home = folder / f"broker-{number}"
            home.mkdir(parents=True)
            settings = home / "server.properties"
            own = _properties(home, number, client, internal, control, voters, brokers, secure, folder / "tls")
            text = {**own, **(properties or {})}
            settings.touch(mode=0o600)
            settings.write_text("".join(f"{name}={value}\n" for name, value in text.items()))
            broker = _formatted(toolchain, jvm, home, settings, cluster_id, password if secure else None)
            # What it holds is of no further use: no good order is needed.
            running.callback(broker.kill)
            broker.start()
            made.append(broker)
        found = Cluster(connection, tuple(made), secure)
        found.wait()
        yield found


def _client(secure: bool, folder: Path, password: str) -> dict[str, Any]:
    if not secure:
        return {"broker.address.family": "v4"}
    return {
        "broker.address.family": "v4",
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(broker_tls.authority(folder / "tls")),
        "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": _USER,
        "sasl.password": password,
    }


def _properties(
    home: Path,
    number: int,
    client: int,
    internal: int,
    control: int,
    voters: str,
    brokers: int,
    secure: bool,
    tls: Path,
) -> dict[str, str]:
    properties = {
        **PROPERTIES,
        "process.roles": "broker,controller",
        "node.id": str(number),
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "INTERNAL",
        "listeners": f"CLIENT://127.0.0.1:{client},INTERNAL://127.0.0.1:{internal},CONTROLLER://127.0.0.1:{control}",
        "advertised.listeners": f"CLIENT://127.0.0.1:{client},INTERNAL://127.0.0.1:{internal}",
        "listener.security.protocol.map": (
            f"CLIENT:{'SASL_SSL' if secure else 'PLAINTEXT'},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
        "offsets.topic.replication.factor": str(brokers),
        "transaction.state.log.replication.factor": str(brokers),
        "transaction.state.log.min.isr": str(max(1, brokers - 1)),
        "log.dirs": str(home / "data"),
    }
    if secure:
        properties |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(broker_tls.key_store(tls)),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.client.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
        }
    return properties


def _formatted(
    toolchain: Toolchain, jvm: Sequence[str], home: Path, settings: Path, cluster_id: str, password: str | None
) -> Broker:
    (home / "tmp").mkdir()
    java = [
        str(toolchain.java),
        *("-cp", broker_handler.jars_path(toolchain)),
        f"-Djava.io.tmpdir={home / 'tmp'}",
        f"-Dlog4j2.configurationFile={broker_handler.SOURCES / 'log4j2.properties'}",
    ]
    tool = [*java, "-Xmx64m", "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format"]
    tool += ["--cluster-id", cluster_id, "--config", str(settings)]
    if password is not None:
        tool += ["--add-scram", f"SCRAM-SHA-512=[name={_USER},password={password}]"]
    made = subprocess.run(tool, capture_output=True, text=True)
    if made.returncode != 0:
        raise FleetstreamError(f"Kafka's log folder cannot be formatted:\n{made.stdout}{made.stderr}")
    return Broker([*java, *jvm, "kafka.Kafka", str(settings)], home)
