"""The emulated account of one sandbox: its keys and ports, and the variables that point AWS clients at it."""

import os
import secrets
import socket
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from envs.errors import FleetstreamError

ACCOUNT_ID: Final = "123456789012"
"""The account number that AWS's documentation uses for examples; nobody owns it."""

_HOST: Final = "127.0.0.1"


class Account(BaseModel):
    """What is fixed when a sandbox is made and read by each of its processes (``account.json``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str
    access_key: str
    secret_key: str
    aws_port: int
    kafka_port: int
    account_id: str = ACCOUNT_ID

    @property
    def endpoint(self) -> str:
        """Where the emulated AWS answers."""
        return f"http://{_HOST}:{self.aws_port}"


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def create(state_dir: Path, region: str, aws_port: int | None = None, kafka_port: int | None = None) -> Account:
    """Makes a new account with keys of its own and writes it, readable by its owner only.

    Ports not given are chosen free. Raises `FleetstreamError` for a given port that is taken.
    """
    for name, port in (("aws", aws_port), ("kafka", kafka_port)):
        if port is not None and is_open(port):
            raise FleetstreamError(
                f"{name} port {port} is taken by another process: choose another one or leave it out"
            )
    account = Account(
        region=region,
        access_key=f"AKIA{secrets.token_hex(8).upper()}",
        secret_key=secrets.token_urlsafe(30),
        aws_port=aws_port or free_port(),
        kafka_port=kafka_port or free_port(),
    )
    path = state_dir / "account.json"
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.touch(mode=0o600)
    scratch.write_text(account.model_dump_json(indent=1))
    scratch.replace(path)
    return account


def load(state_dir: Path) -> Account:
    """The account of a sandbox that exists. Raises `FleetstreamError` when it does not."""
    path = state_dir / "account.json"
    try:
        return Account.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise FleetstreamError(f"no sandbox in {state_dir}: start one with `fleetstream up`") from None


def environment(state_dir: Path) -> dict[str, str]:
    """The variables with which AWS clients, Kafka clients and Spark use this sandbox instead of AWS."""
    account = load(state_dir)
    return {
        "AWS_ENDPOINT_URL": account.endpoint,
        "AWS_ACCESS_KEY_ID": account.access_key,
        "AWS_SECRET_ACCESS_KEY": account.secret_key,
        "AWS_REGION": account.region,
        "AWS_DEFAULT_REGION": account.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "FLEETSTREAM_SANDBOX": str(state_dir),
        "FLEETSTREAM_KAFKA_CA": str(state_dir / "kafka" / "tls" / "ca.pem"),
    }


def is_open(port: int, host: str = _HOST) -> bool:
    """Whether somebody listens on this port of the loopback interface, at its usual or at another address."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0
