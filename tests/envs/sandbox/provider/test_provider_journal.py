"""What the provider notes of each creation, and what is left of it after a kill."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from provider_stage import SETTINGS
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from envs.errors import FleetstreamError
from envs.sandbox import account
from envs.sandbox.provider.aws import Aws
from envs.sandbox.provider.codec import encode
from envs.sandbox.provider.errors import NotReadyError, ProviderError
from envs.sandbox.provider.journal import Creation, Journal, read
from envs.sandbox.provider.registry import TYPES
from envs.sandbox.provider.server import serve

URN = "urn:pulumi:dev::trial::aws:sqs/queue:Queue::jobs"
REFUSED = ClientError({"Error": {"Code": "QueueNameExists", "Message": "there"}}, "CreateQueue")


def test_a_creation_is_noted_when_it_begins_when_something_exists_and_when_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    seen = []
    with Journal(path).creating(URN) as made:
        seen.append(read(path))
        made("jobs-1")
        seen.append(read(path))
    assert seen == [[Creation(URN)], [Creation(URN, "jobs-1")]]
    assert read(path) == [Creation(URN, "jobs-1", ended=True)]


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (REFUSED, True),
        (ProviderError("waiting for the role: cancelled"), True),
        (KeyError("a fault of the provider"), True),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1"), False),
        (NotReadyError("jobs was created but is not ready", "jobs-1", {}), False),
    ],
)
def test_only_a_failure_that_leaves_nothing_open_is_an_end(tmp_path: Path, error: Exception, ended: bool) -> None:
    path = tmp_path / "journal"
    with pytest.raises(type(error)), Journal(path).creating(URN):
        raise error
    assert read(path) == [Creation(URN, ended=ended)]


def test_calls_at_once_and_of_two_processes_in_one_file_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    for journal in (Journal(path), Journal(path)):
        with journal.creating("first") as first, journal.creating("second") as second:
            second("two")
            first("one")
    ends = [Creation("first", "one", ended=True), Creation("second", "two", ended=True)]
    assert read(path) == [*ends, *ends]


def test_a_line_that_was_cut_off_was_not_acted_on_and_anything_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path).creating(URN) as made:
        made("jobs-1")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert read(path) in ([], [Creation(URN)], [Creation(URN, "jobs-1")])
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(FleetstreamError, match="line 1: not a line of the provider's journal"):
        read(path)
    assert read(tmp_path / "none") == []


def test_a_provider_that_is_told_to_end_ends_its_waits_and_has_noted_what_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never_ready(aws: Aws, identifier: str, args: dict[str, Any]) -> None:
        aws.wait("waiting for ever", lambda: None, minutes=5)

    token = "aws:sqs/queue:Queue"
    slow = replace(TYPES[token], create=lambda *_: "jobs-1", read=lambda *_: {"name": "jobs"}, finish=never_ready)
    monkeypatch.setitem(TYPES, token, slow)
    path = tmp_path / "journal"
    serving = serve(account.ACCOUNT_ID, path)
    with grpc.insecure_channel(f"127.0.0.1:{serving.port}") as engine:
        provider = provider_pb2_grpc.ResourceProviderStub(engine)
        provider.Configure(provider_pb2.ConfigureRequest(args=encode(SETTINGS)))
        new = encode({"name": "jobs"})
        provider.Create(provider_pb2.CreateRequest(urn=URN, properties=new, preview=True))
        assert read(path) == []
        under_way = provider.Create.future(provider_pb2.CreateRequest(urn=URN, properties=new))  # pyright: ignore[reportFunctionMemberAccess]
        while not (seen := read(path)) or seen[0].identifier is None:
            assert not under_way.done(), under_way.exception()
    # The engine is gone; what it asked for is not over.
    serving.stop(grace_s=5)
    assert read(path) == [Creation(URN, "jobs-1", ended=False)]
