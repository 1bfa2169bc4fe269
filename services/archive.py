"""Reads the archive in S3: its objects line by line, and its dead letters. `services.archive_count` counts them.

What cannot be read is never passed over: it raises an `ObjectError`, or is counted as a `Problem`, that names the
object and what is wrong with it; what could be read of the object still counts.
"""

import base64
import binascii
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any, Final

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from services import contract
from services.errors import ServiceError

_GZIP_MAGIC: Final = b"\x1f\x8b"
_CHUNK: Final = 256 * 1024


class Kind(StrEnum):
    """What can be wrong with an object."""

    EMPTY = "empty"
    NOT_GZIP = "not gzip"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    UNDELIMITED = "undelimited"
    FOREIGN = "foreign"


class ObjectError(ServiceError):
    """An object, or the rest of one, that cannot be read."""

    def __init__(self, key: str, kind: Kind, detail: str) -> None:
        super().__init__(f"{key}: {kind}: {detail}")
        self.key = key
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the archive that was not counted: how many lines of which object (0: not known), and why."""

    key: str
    kind: Kind
    detail: str
    lines: int = 0


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object below a prefix; `size` in bytes as stored."""

    key: str
    etag: str
    size: int


def objects(s3: Any, bucket: str, prefix: str) -> Iterator[StoredObject]:
    """The objects below a prefix in the order of their keys; `s3` is a boto3 client. Raises `ServiceError`."""
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                yield StoredObject(entry["Key"], entry["ETag"], entry["Size"])
    except (ClientError, BotoCoreError) as error:
        raise ServiceError(f"s3://{bucket}/{prefix} cannot be listed: {error}") from error


def read(s3: Any, bucket: str, key: str) -> Iterator[bytes]:
    """The lines of an object without their line ends; what looks like gzip is unpacked, the key must agree.

    Raises `ObjectError`, after the lines before the damage, and `ServiceError` when S3 does not give the object.
    """
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
        yield from _lines(_unpacked(key, iter(body.iter_chunks(_CHUNK))))
    except (ClientError, BotoCoreError) as error:
        raise ServiceError(f"s3://{bucket}/{key} cannot be read: {error}") from error


def _unpacked(key: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    head = next(chunks, b"")
    if head.startswith(_GZIP_MAGIC):
        yield from _gunzipped(key, chain([head], chunks))
    elif head and key.endswith(".gz"):
        raise ObjectError(key, Kind.NOT_GZIP, f"begins with {head[:8]!r}")
    else:
        yield from chain([head], chunks)


def _gunzipped(key: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        data = chunk
        while data:
            # Behind the end of one gzip member there may be another one.
            if unpacker.eof:
                unpacker = zlib.decompressobj(wbits=31)
            try:
                yield unpacker.decompress(data)
            except zlib.error as error:
                raise ObjectError(key, Kind.DAMAGED, str(error)) from error
            data = unpacker.unused_data
    if not unpacker.eof:
        raise ObjectError(key, Kind.TRUNCATED, "the compressed data ends before its end mark")


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was not archived, as the error prefix holds it (Firehose: "Handle failure in transformation")."""

    key: str
    code: str
    message: str
    value: bytes
    arrival_ms: int
    attempts: int


def identity(line: bytes) -> tuple[str, int]:
    """Producer and sequence number of an archived line; raises `contract.ContractError` for anything else.

    The archive gate has checked every field already: here it only matters that the line is one of its making.
    """
    try:
        fields = orjson.loads(line)
        if fields["v"] == contract.VERSION and isinstance(fields["archive"], dict):
            producer, seq = fields["producer"], fields["seq"]
            if isinstance(producer, str) and isinstance(seq, int) and 0 <= seq < 1 << 63:
                return producer, seq
    except orjson.JSONDecodeError as error:
        raise contract.ContractError(f"not JSON: {error}") from error
    except (KeyError, TypeError, IndexError) as error:
        raise contract.ContractError(f"not an archived message: {error!r}") from error
    raise contract.ContractError("not an archived message of this version")


def dead_letters(s3: Any, bucket: str, error_prefix: str) -> Iterator[DeadLetter]:
    """Every dead letter below an error prefix. Raises `ObjectError` at an object that is not one of those."""
    for entry in objects(s3, bucket, error_prefix):
        for line in read(s3, bucket, entry.key):
            try:
                yield parse_dead_letter(entry.key, line)
            except contract.ContractError as error:
                raise ObjectError(entry.key, Kind.FOREIGN, str(error)) from error


def parse_dead_letter(key: str, line: bytes) -> DeadLetter:
    """One line of an object below the error prefix; raises `contract.ContractError` for anything else."""
    try:
        fields = orjson.loads(line)
        return DeadLetter(
            key=key,
            code=str(fields["errorCode"]),
            message=str(fields["errorMessage"]),
            value=base64.b64decode(fields["rawData"], validate=True),
            arrival_ms=int(fields["arrivalTimestamp"]),
            attempts=int(fields["attemptsMade"]),
        )
    except (KeyError, TypeError, IndexError, ValueError, binascii.Error) as error:
        raise contract.ContractError(f"not a dead letter: {error!r}") from error
