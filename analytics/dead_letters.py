"""Records that the delivery stream could not archive, read from its error prefix."""

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from analytics.frames import frame
from analytics.objects import BrokenObject, StoredObject, gunzip, normal, read_bytes
from analytics.schema import DEAD_LETTERS
from services import contract


def decode(data: bytes) -> list[dict[str, Any]]:
    """The records of one object of the error prefix, as columns of `DEAD_LETTERS` without ``object``.

    Each line is a JSON object with errorCode, errorMessage, arrivalTimestamp (milliseconds), attemptsMade and the
    record itself as base64 in rawData (Amazon Data Firehose, "Handle failure in data transformation"). Raises
    `ValueError` when the object is something else.
    """
    content = b"".join(gunzip(data)) if data.startswith(b"\x1f\x8b") else data
    found = [_record(line) for line in content.splitlines() if line.strip()]
    if not found:
        raise ValueError("empty: the object has no line")
    return found


def _record(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line)
        raw = base64.b64decode(fields["rawData"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise ValueError(f"foreign: a line is no error record of a delivery stream: {error!r}") from error
    record: dict[str, Any] = {
        "error_code": str(fields.get("errorCode")),
        "error_message": str(fields.get("errorMessage")),
        "arrival_ms": _whole(fields.get("arrivalTimestamp")),
        "attempts": _whole(fields.get("attemptsMade")),
        "producer": None,
        "run": None,
        "seq": None,
        "device": None,
        "bytes": len(raw),
    }
    try:
        message = contract.parse(raw)
    except contract.ContractError:
        return record
    run = message.producer.rpartition("-")
    is_numbered = run[1] and run[2].isdecimal()
    record |= {"producer": message.producer, "run": run[0] if is_numbered else message.producer}
    return record | {"seq": message.seq, "device": message.device}


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _read_one(row: Any) -> Iterator[tuple[str, str | None, list[dict[str, Any]]]]:
    try:
        yield row["path"], None, decode(bytes(row["content"]))
    except ValueError as error:
        yield row["path"], str(error), []


def read(spark: SparkSession, objects: list[StoredObject], run: str | None) -> tuple[DataFrame, list[BrokenObject]]:
    """The dead letters as `DEAD_LETTERS` and the objects that hold something else.

    With ``run``, messages of other runs are left out; a record that names no producer is kept, since it may be ours.
    """
    records: list[dict[str, Any]] = []
    broken: list[BrokenObject] = []
    if objects:
        for path, reason, found in read_bytes(spark, objects).flatMap(_read_one).collect():
            name = normal(path)
            if reason:
                broken.append(BrokenObject(name, reason))
            records += ({"object": name, **record} for record in found if run in (None, record["run"] or run))
    return frame(spark, records, DEAD_LETTERS), sorted(broken, key=lambda item: item.object)
