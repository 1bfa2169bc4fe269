"""The provider behind its real gRPC face, and a sandbox of processes for tests with the real engine."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from provider_stage import REGION, SETTINGS, Connect, Sandbox, start, wait
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from envs.sandbox import account
from envs.sandbox.provider.codec import encode
from envs.sandbox.provider.server import serve


@pytest.fixture(scope="module")
def connect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connect]:
    """Opens connections to a provider in this process; each is a provider instance, configured with the settings."""
    serving = serve(account.ACCOUNT_ID, tmp_path_factory.mktemp("provider") / "journal")
    channels: list[grpc.Channel] = []

    def open_one(settings: dict[str, Any] | None) -> provider_pb2_grpc.ResourceProviderStub:
        # Channels to one address share a connection unless told otherwise, and the engine's providers do not.
        channel = grpc.insecure_channel(f"127.0.0.1:{serving.port}", options=[("grpc.use_local_subchannel_pool", 1)])
        channels.append(channel)
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        if settings is not None:
            stub.Configure(provider_pb2.ConfigureRequest(args=encode(settings)))
        return stub

    yield open_one
    for channel in channels:
        channel.close()
    serving.stop(grace_s=1)


@pytest.fixture(scope="module")
def provider(connect: Connect) -> provider_pb2_grpc.ResourceProviderStub:
    """One configured provider instance."""
    return connect(SETTINGS)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Started once for all tests with the real engine; both processes must end well when they are asked to."""
    state_dir = tmp_path_factory.mktemp("sandbox")
    port_file = state_dir / "provider.port"
    settings = account.create(state_dir, REGION)
    serve_aws = ["-m", "envs.sandbox.aws", "--state-dir", str(state_dir), "--port", str(settings.aws_port)]
    serve_provider = ["-m", "envs.sandbox.provider", "--state-dir", str(state_dir), "--port-file", str(port_file)]
    started = [start(state_dir / "aws.log", serve_aws), start(state_dir / "provider.log", serve_provider)]
    try:
        wait(lambda: account.is_open(settings.aws_port) and port_file.exists(), started, state_dir)
        yield Sandbox(state_dir, int(port_file.read_text()))
    finally:
        for process in started:
            process.terminate()
        ends = [process.wait(timeout=20) for process in started]
    assert ends == [0, 0], "the processes of the sandbox did not end well"
