"""What is wrong with an object is said by kind; whatever is whole is taken."""

import gzip
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from archive_builders import line, object_path, run_lines, write_object
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from analytics import objects

LINES = list(run_lines(40))
WHOLE = gzip.compress(b"".join(item + b"\n" for item in LINES), mtime=0)


def test_a_whole_object_has_no_fault() -> None:
    assert objects.find_fault(WHOLE) is None


def test_members_one_after_the_other_are_one_stream() -> None:
    assert b"".join(objects.gunzip(WHOLE + WHOLE)) == 2 * gzip.decompress(WHOLE)
    assert objects.find_fault(WHOLE + WHOLE) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty: the object has no bytes"),
        (gzip.compress(b""), "empty: the compressed data has no line"),
        (b"hello", "not gzip: it begins with b'hello'"),
        (WHOLE[:-1], "truncated"),
        (WHOLE[: len(WHOLE) // 2], "truncated"),
        (WHOLE[:3], "truncated"),
        (WHOLE + b"\x00" * 9, "not gzip: 9 other bytes follow the compressed data"),
        (WHOLE[:-8] + b"\x00\x00\x00\x00" + WHOLE[-4:], "damaged"),
        (gzip.compress(b"".join(LINES)), "undelimited: records are joined"),
        (gzip.compress(b"a,b\n1,2\n"), "foreign: no line is a message; the first one: not JSON"),
        (gzip.compress(b'{"level":"info"}\n'), "foreign: no line is a message; the first one: v: version None"),
        (gzip.compress(os.urandom(5000)), "foreign"),
    ],
    # Compressed data holds the time: it must not become part of a test's name.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_faults_are_named(data: bytes, reason: str) -> None:
    assert str(objects.find_fault(data)).startswith(reason)


def test_a_line_of_any_length_is_judged() -> None:
    joined = LINES[0] * (1 + (17 << 20) // len(LINES[0]))
    assert str(objects.find_fault(gzip.compress(joined, 1))).startswith("undelimited")
    assert objects.find_fault(gzip.compress(joined + b"\n" + LINES[1] + b"\n", 1)) is None


@given(st.integers(min_value=1, max_value=len(WHOLE) - 1))
def test_an_object_cut_anywhere_is_never_whole(length: int) -> None:
    assert objects.find_fault(WHOLE[:length]) is not None


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), max_size=8))
def test_lines_are_the_same_however_the_stream_is_cut(data: bytes, lengths: list[int]) -> None:
    pieces, rest = [], data
    for length in lengths:
        pieces.append(rest[:length])
        rest = rest[length:]
    assert list(objects._lines([*pieces, rest])) == data.removesuffix(b"\n").split(b"\n") if data else [] == []


@pytest.mark.xdist_group("spark")
def test_hours_are_walked_and_what_lies_beside_them_is_foreign(spark: SparkSession, tmp_path: Path) -> None:
    root = tmp_path / "with space [1]" / "telemetry"
    hour = datetime(2026, 12, 31, 22, 30, tzinfo=UTC)
    paths = [write_object(root, [line()], hour + timedelta(hours=number)) for number in range(4)]
    (root / "readme.txt").write_text("x")
    (root / "year=2026" / "notes").mkdir()
    odd = object_path(root, hour, suffix=".parquet")
    odd.write_bytes(b"PAR1")
    found = objects.list_hours(spark, f"file://{root}", hour, hour + timedelta(hours=2))
    assert [item.name for item in found.objects] == [f"file://{path}" for path in paths[:3]]
    assert [item.size for item in found.objects] == [path.stat().st_size for path in paths[:3]]
    assert {item.object.removeprefix(f"file://{root}/") for item in found.foreign} == {
        "readme.txt",
        "year=2026/notes",
        str(odd.relative_to(root)),
    }
    assert all(item.reason.startswith("foreign: ") for item in found.foreign)


@pytest.mark.xdist_group("spark")
def test_an_archive_that_is_not_there_is_empty(spark: SparkSession, tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert objects.list_hours(spark, f"file://{tmp_path}/nothing", now, now) == objects.Listing([], [])
