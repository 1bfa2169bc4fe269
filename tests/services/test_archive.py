"""The archive as it is read back: every line, every problem by name, and counts that are exact."""

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from services import archive, contract
from services.archive import Kind, Problem
from services.archive_count import ArchiveCounter, DeadLetterCounter
from services.errors import ServiceError

BUCKET = "archive"


@pytest.fixture
def s3() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s", endpoint_url=None
        )
        client.create_bucket(Bucket=BUCKET)
        yield client


def line(producer: str, seq: int) -> bytes:
    message = contract.stamp(contract.head(producer), contract.tail("d", {"rpm": 1.5}), seq, seq, 1, 2, 3)
    return contract.archived(message, 0, seq, 1, 2, 3)


def lines(producer: str, *numbers: int) -> bytes:
    return b"".join(line(producer, number) + b"\n" for number in numbers)


def put(s3: Any, key: str, body: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=body)


def test_records_duplicates_and_runs_are_told_apart(s3: Any) -> None:
    put(s3, "telemetry/a.gz", gzip.compress(lines("r1-00", 0, 1, 2, 2) + lines("r1-01", 0)))
    put(s3, "telemetry/b.gz", gzip.compress(lines("r1-00", 2, 3) + lines("r10-00", 0, 1)))
    put(s3, "elsewhere/c.gz", gzip.compress(lines("r1-00", 99)))
    count = ArchiveCounter(s3, BUCKET, "telemetry/", run="r1").update()
    assert (count.objects, count.records, count.unique, count.duplicates, count.other_runs) == (2, 7, 5, 2, 2)
    assert {name: (own.records, own.unique) for name, own in count.by_producer.items()} == {
        "r1-00": (6, 4), "r1-01": (1, 1),
    }  # fmt: skip
    assert count.problems == ()
    assert ArchiveCounter(s3, BUCKET, "telemetry/").update().records == 9


def test_plain_objects_several_gzip_members_and_a_last_line_without_end(s3: Any) -> None:
    put(s3, "telemetry/plain", lines("r1-00", 0, 1) + line("r1-00", 2))
    put(s3, "telemetry/two.gz", gzip.compress(lines("r1-00", 3)) + gzip.compress(lines("r1-00", 4)))
    count = ArchiveCounter(s3, BUCKET, "telemetry/").update()
    assert (count.unique, count.problems) == (5, ())


def test_every_broken_object_is_named_and_the_rest_counts(s3: Any) -> None:
    good = lines("r1-00", *range(1000))
    packed = gzip.compress(good)
    put(s3, "telemetry/damaged.gz", packed[: len(packed) // 2] + b"\x00" * 100 + packed[len(packed) // 2 + 100 :])
    put(s3, "telemetry/empty", b"")
    put(s3, "telemetry/empty.gz", gzip.compress(b""))
    put(s3, "telemetry/foreign.csv", b"a,b\n1,2\n")
    put(s3, "telemetry/half-foreign.gz", gzip.compress(lines("r1-01", 0) + b'{"v":1}\n[]\n' + lines("r1-01", 1)))
    put(s3, "telemetry/image.png", bytes(range(256)))
    put(s3, "telemetry/not-gzip.gz", good)
    put(s3, "telemetry/tiny.gz", b"\x1f")
    put(s3, "telemetry/truncated.gz", gzip.compress(lines("r1-02", *range(1000)))[:-9])
    put(s3, "telemetry/undelimited.gz", gzip.compress(good.replace(b"\n", b"")))
    count = ArchiveCounter(s3, BUCKET, "telemetry/").update()
    found = {(problem.key.removeprefix("telemetry/"), problem.kind, problem.lines) for problem in count.problems}
    assert found == {
        ("damaged.gz", Kind.DAMAGED, 0),
        ("empty", Kind.EMPTY, 0),
        ("empty.gz", Kind.EMPTY, 0),
        ("foreign.csv", Kind.FOREIGN, 2),
        ("half-foreign.gz", Kind.FOREIGN, 2),
        ("image.png", Kind.FOREIGN, 2),
        ("not-gzip.gz", Kind.NOT_GZIP, 0),
        ("tiny.gz", Kind.NOT_GZIP, 0),
        ("truncated.gz", Kind.TRUNCATED, 0),
        ("undelimited.gz", Kind.UNDELIMITED, 1),
    }
    assert count.by_producer["r1-01"].unique == 2
    assert 0 < count.by_producer["r1-02"].unique <= 1000
    assert all(problem.detail for problem in count.problems)


def test_an_object_is_read_once(s3: Any) -> None:
    reads: list[str] = []
    s3.meta.events.register("before-call.s3.GetObject", lambda params, **_: reads.append(params["url_path"]))
    counter = ArchiveCounter(s3, BUCKET, "telemetry/")
    put(s3, "telemetry/a.gz", gzip.compress(lines("r1-00", 0)))
    assert counter.update().unique == 1
    put(s3, "telemetry/b.gz", gzip.compress(lines("r1-00", 0, 1)))
    count = counter.update()
    assert (count.objects, count.records, count.unique) == (2, 3, 2)
    assert counter.update() == count
    assert len(reads) == 2


def test_an_object_that_changed_or_went_is_counted_as_it_is_now(s3: Any) -> None:
    counter = ArchiveCounter(s3, BUCKET, "telemetry/")
    put(s3, "telemetry/a.gz", gzip.compress(lines("r1-00", 0, 1)))
    put(s3, "telemetry/b.gz", b"broken")
    assert counter.update().problems == (Problem("telemetry/b.gz", Kind.NOT_GZIP, "begins with b'broken'"),)
    put(s3, "telemetry/b.gz", gzip.compress(lines("r1-00", 2)))
    count = counter.update()
    assert (count.unique, count.duplicates, count.problems) == (3, 0, ())
    s3.delete_object(Bucket=BUCKET, Key="telemetry/a.gz")
    assert counter.update().unique == 1


def test_a_read_that_fails_half_way_is_not_counted_twice(s3: Any) -> None:
    put(s3, "telemetry/a.gz", gzip.compress(lines("r1-00", 0)))
    put(s3, "telemetry/b.gz", gzip.compress(lines("r1-00", 1)))
    failing = [True]

    def fail(params: dict[str, Any], **_: Any) -> None:
        if failing[0] and params["url_path"].endswith("b.gz"):
            s3.delete_object(Bucket=BUCKET, Key="telemetry/b.gz")

    s3.meta.events.register("before-call.s3.GetObject", fail)
    counter = ArchiveCounter(s3, BUCKET, "telemetry/")
    with pytest.raises(ServiceError, match=r"s3://archive/telemetry/b\.gz cannot be read"):
        counter.update()
    failing[0] = False
    put(s3, "telemetry/b.gz", gzip.compress(lines("r1-00", 1)))
    count = counter.update()
    assert (count.records, count.unique) == (2, 2)


def test_a_bucket_that_is_not_there_is_named(s3: Any) -> None:
    with pytest.raises(ServiceError, match="s3://nowhere/telemetry/ cannot be listed"):
        ArchiveCounter(s3, "nowhere", "telemetry/").update()


def dead_letter(value: bytes, code: str = "Lambda.ProcessingFailedStatus") -> bytes:
    return json.dumps(
        {
            "attemptsMade": 1,
            "arrivalTimestamp": 5,
            "errorCode": code,
            "errorMessage": "why",
            "attemptEndingTimestamp": 6,
            "rawData": base64.b64encode(value).decode(),
            "lambdaArn": "arn:aws:lambda:us-east-1:123456789012:function:gate",
        }
    ).encode()


def test_dead_letters_are_read_with_their_values(s3: Any) -> None:
    put(
        s3,
        "dead-letter/x.gz",
        gzip.compress(dead_letter(b"\xff\n") + b"\n" + dead_letter(b"", "Lambda.Other") + b"\n"),
    )
    put(s3, "dead-letter/y", dead_letter(b"z") + b"\n")
    found = list(archive.dead_letters(s3, BUCKET, "dead-letter/"))
    assert [(letter.value, letter.code) for letter in found] == [
        (b"\xff\n", "Lambda.ProcessingFailedStatus"),
        (b"", "Lambda.Other"),
        (b"z", "Lambda.ProcessingFailedStatus"),
    ]
    assert (found[0].key, found[0].message, found[0].arrival_ms, found[0].attempts) == (
        "dead-letter/x.gz",
        "why",
        5,
        1,
    )
    count = DeadLetterCounter(s3, BUCKET, "dead-letter/").update()
    assert (count.objects, count.records, count.problems) == (2, 3, ())
    assert count.by_code == {"Lambda.ProcessingFailedStatus": 2, "Lambda.Other": 1}


def test_what_is_no_dead_letter_is_named(s3: Any) -> None:
    put(s3, "dead-letter/x", dead_letter(b"a") + b"\n" + line("r1-00", 0) + b"\n")
    with pytest.raises(archive.ObjectError, match="dead-letter/x: foreign"):
        list(archive.dead_letters(s3, BUCKET, "dead-letter/"))
    count = DeadLetterCounter(s3, BUCKET, "dead-letter/").update()
    assert count.records == 1
    assert [(problem.key, problem.kind, problem.lines) for problem in count.problems] == [
        ("dead-letter/x", Kind.FOREIGN, 1)
    ]


@pytest.mark.parametrize(
    "value",
    [b"", b"null", b"[]", b'{"v":2}', line("r1-00", 0).replace(b"         0", b" 1" + b"0" * 30, 1)],
)
def test_identity_refuses_what_is_no_archived_message(value: bytes) -> None:
    with pytest.raises(contract.ContractError):
        archive.identity(value)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.binary(max_size=400), st.integers(2, 64))
def test_lines_do_not_depend_on_how_an_object_is_cut(pieces: list[bytes], text: bytes, size: int) -> None:
    body = b"".join(gzip.compress(piece) for piece in [*pieces, text])
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    *expected, rest = (b"".join(pieces) + text).split(b"\n")
    assert list(archive._lines(archive._unpacked("x.gz", iter(chunks)))) == expected + ([rest] if rest else [])
