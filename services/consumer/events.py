"""The consumer as a function's core: counts the records of an MSK event as the service counts what it polls.

The event's shape: "Using Lambda with Amazon MSK", AWS Lambda Developer Guide.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.consumer.tally import Tally
from services.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands: `partition` as the event names it, ``topic-0``."""

    partition: str
    offset: int


@dataclass(frozen=True, slots=True)
class Counted:
    """An event's records, counted. `unreadable`: where those stand that break the contract, and how they do."""

    tally: Tally
    unreadable: list[tuple[Place, str]]

    def failures(self) -> dict[str, list[dict[str, Any]]]:
        """The answer that names what could not be taken, for a mapping that reports partial failures."""
        places = [{"partition": place.partition, "offset": place.offset} for place, _ in self.unreadable]
        return {"batchItemFailures": [{"itemIdentifier": place} for place in places]}


def count(event: Mapping[str, Any], now_us: int) -> Counted:
    """Counts all records of an event that was received at `now_us` (microseconds since the epoch).

    A record without a value, or with one that is no base64, counts as unreadable. Raises `ServiceError` for what is
    no event of MSK.
    """
    places: list[Place] = []
    values: list[bytes] = []
    for partition, records in _records(event):
        for record in records:
            try:
                places.append(Place(partition, int(record["offset"])))
                values.append(_value(record))
            except (KeyError, TypeError, ValueError) as error:
                raise ServiceError(f"a record of {partition} is none of Kafka's: {error!r}") from error
    tally = Tally()
    unreadable = tally.add(values, now_us)
    return Counted(tally, [(places[one.place], one.reason) for one in unreadable])


def _records(event: Mapping[str, Any]) -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
    source, records = event.get("eventSource"), event.get("records")
    if source != "aws:kafka" or not isinstance(records, Mapping):
        kind = type(records).__name__
        raise ServiceError(f"not an event of MSK: its eventSource is {source!r}, its records a {kind}")
    return list(records.items())


def _value(record: Mapping[str, Any]) -> bytes:
    try:
        return b64decode(record.get("value") or "", validate=True)
    except binascii.Error:
        return b""
