"""Kafka: one broker in KRaft mode that lets clients in as MSK does with IAM; start, stop, kill."""

import base64
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import boto3
import psutil

from envs.errors import FleetstreamError
from envs.sandbox import account, broker_handler, broker_settings, broker_tls, processes
from envs.toolchain import Toolchain
from services import kafka, priority
from services.errors import ServiceError

ROLE: Final = "broker"
_PATIENCE_S: Final = 180.0
"""It starts in some seconds; an old laptop that compiles something beside it takes much longer."""

_FAILURE: Final = "failure.json"
UNHURRIED: Final = r"C[12] Compiler|ZWorker"
"""The JVM's threads that no request waits for. Collecting at real-time priority took a core from the requests for
0.1 to 0.2 s a time; the threads that stop all others at a safepoint are waited for and stay in."""

JVM: Final = (
    "-Xms1g",
    # What is collected late, because something else had the processors, is room and not a stop.
    "-XX:SoftMaxHeapSize=1g",
    "-Xmx2g",
    # The other collectors stop the broker for 7-30 ms now and then, which is the whole budget of a message.
    "-XX:+UseZGC",
    "-XX:+AlwaysPreTouch",
    # Generational from Java 21 on; older ones do not know the word.
    "-XX:+IgnoreUnrecognizedVMOptions",
    "-XX:+ZGenerational",
    # A broker without memory is gone, and seen to be gone.
    "-XX:+ExitOnOutOfMemoryError",
    # Writes a file outside the sandbox otherwise.
    "-XX:-UsePerfData",
)


class BrokerError(FleetstreamError):
    """The broker did not start."""


def folder(state_dir: Path) -> Path:
    """Everything the broker keeps: ``data``, ``tls``, its settings."""
    return state_dir / "kafka"


def start(state_dir: Path, port: int, server_properties: Mapping[str, str], toolchain: Toolchain) -> None:
    """Starts the broker on `port` of the loopback interface, on the logs that are there, and waits until it serves.

    `server_properties` is what is deployed (see `broker_settings.server_properties`). The emulated AWS must run: it
    checks the tokens and knows what a client may do. Raises `BrokerError` with the reason; then nothing is left
    running.
    """
    if account.is_open(port):
        raise BrokerError(f"port {port}, where the broker of {state_dir.name} listens, is taken by another process")
    try:
        _start(state_dir, port, server_properties, toolchain)
    except (FleetstreamError, ServiceError, OSError) as error:
        kill(state_dir)
        raise error if isinstance(error, BrokerError) else BrokerError(f"Kafka did not start: {error}") from error


def _start(state_dir: Path, port: int, server_properties: Mapping[str, str], toolchain: Toolchain) -> None:
    home = folder(state_dir)
    classes = broker_handler.class_path(toolchain)
    broker_tls.ensure(home / "tls")
    for part in ("data", "tmp"):
        (home / part).mkdir(parents=True, exist_ok=True)
    settings = home / "server.properties"
    text = broker_settings.server_properties(home, server_properties, port, account.free_port(), account.free_port())
    settings.touch(mode=0o600)
    settings.write_text(text)
    java = [
        str(toolchain.java),
        *("-cp", f"{classes}:{broker_handler.jars_path(toolchain)}"),
        # Native compression libraries are unpacked here and would stay behind in /tmp when the broker is killed.
        f"-Djava.io.tmpdir={home / 'tmp'}",
        f"-Dlog4j2.configurationFile={broker_handler.SOURCES / 'log4j2.properties'}",
    ]
    _format(java, settings, home / "data")
    argv = [*java, *JVM, "kafka.Kafka", str(settings)]
    processes.spawn(state_dir, ROLE, argv, env=account.environment(state_dir), cwd=home)
    processes.wait_until(lambda: _serves_tls(port, home / "tls"), "its start", _PATIENCE_S, state_dir, ROLE)
    kafka.admin(client_config(state_dir), timeout_s=30)


def stop(state_dir: Path) -> None:
    """Ends the broker in good order; its logs stay."""
    processes.stop(state_dir, ROLE, grace=30)


def kill(state_dir: Path) -> None:
    """Ends the broker as a crash would. What it had acknowledged is in the page cache and stays."""
    record = processes.find(state_dir, ROLE)
    if record is not None and (process := record.process()) is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait(10)
    processes.stop(state_dir, ROLE)


@contextlib.contextmanager
def on_time(state_dir: Path) -> Iterator[str]:
    """Lets the broker run before everything else on this machine, for a load that ends by itself.

    Yields in words what it got.
    """
    record = processes.find(state_dir, ROLE)
    with priority.raised(record.pid if record else 0, UNHURRIED) as got:
        yield got


def delete_logs(state_dir: Path) -> None:
    """Deletes what a stopped broker kept, except its certificates: clients still hold the path of the authority's."""
    for part in ("data", "tmp"):
        if (path := folder(state_dir) / part).exists():
            shutil.rmtree(path)


def note_failure(state_dir: Path, cluster: str, reason: str) -> None:
    """Notes that the broker of a cluster (its ARN) does not start, for who waits for it."""
    path = folder(state_dir) / _FAILURE
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps({"cluster": cluster, "reason": reason}))
    scratch.replace(path)


def failure(state_dir: Path, cluster: str) -> str | None:
    """Why the broker of this cluster does not start, when that was noted."""
    try:
        noted = json.loads((folder(state_dir) / _FAILURE).read_bytes())
    except FileNotFoundError:
        return None
    return str(noted["reason"]) if noted["cluster"] == cluster else None


def has_logs(state_dir: Path) -> bool:
    """Whether there are logs that a broker can start on."""
    return (folder(state_dir) / "data" / "meta.properties").exists()


def client_config(state_dir: Path) -> dict[str, Any]:
    """A Kafka client configuration that signs as the account's owner, whatever this process's own variables say."""
    values = account.load(state_dir)
    owner = boto3.Session(values.access_key, values.secret_key, region_name=values.region)
    ca = str(broker_tls.authority(folder(state_dir) / "tls"))
    return kafka.client_config(f"localhost:{values.kafka_port}", values.region, ca=ca, session=owner)


def _format(java: list[str], settings: Path, data: Path) -> None:
    if (data / "meta.properties").exists():
        return
    raw = uuid.uuid4().bytes
    # Kafka's tools take an id that begins with '-' for an option; with the first bit cleared none does.
    cluster_id = base64.urlsafe_b64encode(bytes([raw[0] & 0x7F]) + raw[1:]).decode().rstrip("=")
    # A short life: a small heap, and no time spent on optimizing.
    argv = [*java, "-Xmx64m", "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format"]
    argv += ["--cluster-id", cluster_id, "--config", str(settings), "--ignore-formatted"]
    try:
        result = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        raise BrokerError(f"Kafka's log folder {data} was not formatted within {_PATIENCE_S:g} s") from error
    if result.returncode != 0:
        raise BrokerError(f"Kafka's log folder cannot be formatted:\n{result.stdout}{result.stderr}")


def _serves_tls(port: int, tls: Path) -> bool:
    context = ssl.create_default_context(cafile=str(broker_tls.authority(tls)))
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=2) as plain,
            context.wrap_socket(plain, server_hostname="localhost"),
        ):
            return True
    except OSError:
        return False
