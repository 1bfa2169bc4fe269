"""The archive's objects: which ones the window needs, and what is wrong with one that cannot be read."""

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from analytics import hadoop
from analytics.errors import AnalysisError
from analytics.parsing import explain
from services import contract

_RECORDS_NAME = re.compile(r"[^\W_][\w.=-]*\.gz")
_ERRORS_NAME = re.compile(r"[^\W_][\w.=-]*")
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
_LONGEST_LINE = 16 << 20
"""Amazon Data Firehose takes records of at most 10 MB from MSK ("Amazon Data Firehose quota")."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: its whole name (``s3a://bucket/key`` or ``file:///path``) and its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class BrokenObject:
    """An object that could not be analyzed, and why."""

    object: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What a prefix holds: objects to read, and objects that no delivery stream can have written there."""

    objects: list[StoredObject]
    foreign: list[BrokenObject]


def normal(name: str) -> str:
    """A name as it is shown: Hadoop writes local files as ``file:/path``, others as ``file:///path``."""
    return re.sub(r"^file:/+", "file:///", name)


def _list(spark: SparkSession, folder: str) -> list[tuple[str, bool, int]]:
    """The entries of one folder: whole name, whether it is a folder, bytes. Empty when there is no such folder."""
    try:
        entries = hadoop.file_system(spark, folder).listStatus(hadoop.path(spark, folder))
    except Py4JJavaError as error:
        if error.java_exception.getClass().getSimpleName() == "FileNotFoundException":
            return []
        raise AnalysisError(
            f"{folder}: cannot be listed: {error.java_exception.getMessage()}; check the address, the AWS variables "
            "and that the S3A jars are there (FLEETSTREAM_SPARK_JARS)"
        ) from error
    found = [(normal(entry.getPath().toString()), entry.isDirectory(), int(entry.getLen())) for entry in entries]
    return sorted(found)


def list_hours(
    spark: SparkSession, root: str, first: datetime, last: datetime, names: re.Pattern[str] = _RECORDS_NAME
) -> Listing:
    """The objects under ``root`` in the hours from that of ``first`` to that of ``last``, both included.

    Walks ``year=/month=/day=/hour=`` and enters only what the two moments need. A file beside the folders on the way
    is foreign and reported; so is anything whose name Spark would not read literally.
    """
    objects: list[StoredObject] = []
    foreign: list[BrokenObject] = []

    def take(name: str, size: int) -> None:
        base = name.rsplit("/", 1)[-1]
        if names.fullmatch(base):
            objects.append(StoredObject(name, size))
        else:
            foreign.append(BrokenObject(name, "foreign: a delivery stream's objects are named ...-<uuid>.gz"))

    def leaf(folder: str) -> None:
        for name, is_folder, size in _list(spark, folder):
            if is_folder:
                leaf(name)
            else:
                take(name, size)

    def walk(folder: str, known: tuple[int, ...]) -> None:
        if len(known) == len(contract.HOUR_PARTITIONS):
            leaf(folder)
            return
        partition = contract.HOUR_PARTITIONS[len(known)]
        for name, is_folder, _ in _list(spark, folder):
            match = re.fullmatch(rf"{partition}=(\d+)", name.rsplit("/", 1)[-1])
            if is_folder and match:
                number = (*known, int(match[1]))
                if _bounds(first)[: len(number)] <= number <= _bounds(last)[: len(number)]:
                    walk(name, number)
            elif is_folder:
                foreign.append(BrokenObject(name, f"foreign: a folder named {partition}=<number> is expected here"))
            else:
                foreign.append(BrokenObject(name, "foreign: it lies outside the folders of the hours"))

    walk(root.rstrip("/"), ())
    return Listing(objects, foreign)


def _bounds(moment: datetime) -> tuple[int, ...]:
    utc = moment.astimezone(UTC)
    return utc.year, utc.month, utc.day, utc.hour


def hours_to_read(start: datetime, end: datetime, margin: timedelta) -> tuple[datetime, datetime]:
    """The first and last hour folder that may hold events from ``start`` until before ``end``.

    An object lies in the hour in which its *oldest* record arrived (Amazon Data Firehose, "Understand custom prefixes
    for Amazon S3 objects"), and a record arrives after its event: later by the way's latency, earlier by a device's
    wrong clock. The margin covers both.
    """
    return start - margin, end + margin


def list_error_hours(spark: SparkSession, root: str, first: datetime, last: datetime) -> Listing:
    """As `list_hours`, below one folder for each kind of error (``processing-failed/`` and others).

    These objects may have no extension: they say of themselves whether they are compressed.
    """
    objects: list[StoredObject] = []
    foreign: list[BrokenObject] = []
    for name, is_folder, _ in _list(spark, root.rstrip("/")):
        if is_folder:
            below = list_hours(spark, name, first, last, _ERRORS_NAME)
            objects += below.objects
            foreign += below.foreign
        else:
            foreign.append(BrokenObject(name, "foreign: it lies outside the folders of the kinds of error"))
    return Listing(objects, foreign)


class BrokenGzipError(ValueError):
    """The bytes are not one whole gzip stream; the text says why."""


def gunzip(data: bytes) -> Iterator[bytes]:
    """The content of a gzip stream of any number of members, in pieces. Raises `BrokenGzipError`."""
    if not data:
        raise BrokenGzipError("empty: the object has no bytes")
    if not data.startswith(_GZIP_MAGIC):
        raise BrokenGzipError(f"not gzip: it begins with {data[:8]!r}")
    rest = memoryview(data)
    while rest:
        if bytes(rest[:2]) != _GZIP_MAGIC:
            raise BrokenGzipError(f"not gzip: {len(rest)} other bytes follow the compressed data")
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            if not rest:
                raise BrokenGzipError("truncated: the compressed data ends before its end mark")
            try:
                yield member.decompress(rest[:_CHUNK])
            except zlib.error as error:
                raise BrokenGzipError(f"damaged: {error}") from error
            rest = memoryview(bytes(member.unused_data) + bytes(rest[_CHUNK:])) if member.eof else rest[_CHUNK:]


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream of pieces; of a line longer than any record can be, only its beginning, once."""
    rest, cut = b"", False
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            if not cut:
                yield line
            cut = False
        if len(rest) > _LONGEST_LINE:
            if not cut:
                yield rest
            rest, cut = b"", True
    if rest and not cut:
        yield rest


def find_fault(data: bytes) -> str | None:
    """Why an object cannot be analyzed; None when at least one of its lines is a message."""
    first_reason = None
    is_ours = False
    try:
        for line in _lines(gunzip(data)):
            if is_ours:
                continue
            try:
                contract.parse(line)
                is_ours = True
            except contract.ContractError:
                first_reason = first_reason or explain(line.decode(errors="replace"))
    except BrokenGzipError as error:
        return str(error)
    if is_ours:
        return None
    if first_reason is None:
        return "empty: the compressed data has no line"
    if first_reason.startswith("more than one record"):
        return "undelimited: records are joined without a line break between them"
    return f"foreign: no line is a message; the first one: {first_reason}"


def literal(name: str) -> str:
    """A name that Spark's readers take for itself and not for a pattern."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", name)


def read_bytes(spark: SparkSession, objects: Iterable[StoredObject]) -> Any:
    """An RDD of (name, bytes): for the few objects that need a look as a whole."""
    names = [literal(item.name) for item in objects]
    return spark.read.format("binaryFile").load(names).select("path", "content").rdd


def find_faults(spark: SparkSession, objects: list[StoredObject]) -> list[BrokenObject]:
    """Looks at each object as a whole and says which cannot be analyzed."""
    if not objects:
        return []
    found = read_bytes(spark, objects).map(lambda row: (row["path"], find_fault(bytes(row["content"])))).collect()
    return [BrokenObject(normal(name), reason) for name, reason in sorted(found) if reason]
