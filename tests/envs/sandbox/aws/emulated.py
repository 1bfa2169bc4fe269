"""A real AWS process with an account of its own, clients of it, and what stands for a broker."""

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.config import Config

from envs.sandbox import account, processes
from envs.sandbox.aws.session import emulated_session


class Aws:
    """An emulated account that runs, and its clients, which are kept: making one costs more than most calls."""

    def __init__(self, state_dir: Path, settings: account.Account) -> None:
        self.state_dir = state_dir
        self.account = settings
        self.session = emulated_session(settings)
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A client with the account's own key that does not hide failures behind retries."""
        if service not in self._clients:
            config = Config(retries={"total_max_attempts": 1})
            self._clients[service] = self.session.client(service, config=config)  # type: ignore[call-overload]
        return self._clients[service]


@contextlib.contextmanager
def running(state_dir: Path) -> Iterator[Aws]:
    """Starts the AWS process in `state_dir`, and ends it."""
    settings = account.create(state_dir, "us-east-1")
    argv = [
        sys.executable,
        "-m",
        "envs.sandbox.aws",
        "--state-dir",
        str(state_dir),
        "--port",
        str(settings.aws_port),
    ]
    processes.spawn(state_dir, "aws", argv, env=account.environment(state_dir))
    try:
        processes.wait_until(lambda: account.is_open(settings.aws_port), "the AWS process", 60, state_dir, "aws")
        yield Aws(state_dir, settings)
    finally:
        processes.stop(state_dir, "aws")


@contextlib.contextmanager
def listening(port: int) -> Iterator[None]:
    """Something that accepts connections on the port, as a broker does."""
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(0.05)

        def accept() -> None:
            while not stopped.is_set():
                with contextlib.suppress(TimeoutError):
                    server.accept()[0].close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()
