"""What every part agrees on: the message, the topics and the layout of the archive. Standard library only.

A message is one line of JSON. Its head has a fixed width, so that a producer stamps times and numbers in place
and prepares everything behind them ahead of time::

    {"v":1,"producer":"<run>-<nn>","seq":         0,"device_seq":         0,"event_us":<16 digits>,
     "due_us":<16 digits>,"sent_us":<16 digits>,"device":"drive10","signals":{"engine_rpm":853.5,...}}

(one line; numbers are padded with blanks on the left, which JSON allows and leading zeros would not be).

* ``producer`` names one producing process of one run; ``seq`` counts its messages from 0 without a gap.
* ``device_seq`` counts the messages of one device of one producer from 0 without a gap. A device belongs to
  exactly one producer of a run.
* ``event_us`` is when the vehicle measured, ``due_us`` when the message was due to be sent and ``sent_us`` when it
  was handed to the Kafka client: microseconds since the Unix epoch. Latency counts from ``due_us``.

What the archive holds is the same line with the archive's own leg appended (see `archived`).
"""

import json
from dataclasses import dataclass
from typing import Any, Final

VERSION: Final = 1

TELEMETRY_TOPIC: Final = "telemetry"
"""Device messages; the delivery stream reads this topic."""
CONSUMER_GROUP: Final = "fleetstream-consumer"
"""The consumer group of the service that reads them on the workers, whose rights name it."""
RUN_GROUP: Final = "fleetstream-run-"
"""How consumer groups of runs that measure begin; the run's id follows."""
CANARY_TOPIC: Final = "canary"
"""Warm-up and connection probes; nothing reads it into the archive."""

ARCHIVE_PREFIX: Final = "telemetry/"
"""Where archived objects start: ``telemetry/year=YYYY/month=MM/day=DD/hour=HH/`` in UTC."""
DEAD_LETTER_PREFIX: Final = "dead-letter/"
"""Where records go that could not be archived: ``dead-letter/<error type>/year=.../``."""
HOUR_PARTITIONS: Final = ("year", "month", "day", "hour")

_HEAD: Final = '{{"v":1,"producer":"{producer}","seq":'
_STAMPS: Final = b'%b%10d,"device_seq":%10d,"event_us":%16d,"due_us":%16d,"sent_us":%16d,%b'


WARM_UP: Final = "w"
"""What a run's name has behind it in the producers of its warm-up."""


class ContractError(ValueError):
    """A message that breaks the contract; the text says which field and how."""


@dataclass(frozen=True, slots=True)
class Message:
    """One telemetry message, as `parse` reads it. Times in microseconds since the Unix epoch."""

    producer: str
    seq: int
    device_seq: int
    event_us: int
    due_us: int
    sent_us: int
    device: str
    signals: dict[str, float]


def head(producer: str) -> bytes:
    """The constant first bytes of one producer's messages. Raises `ContractError` for a name JSON would escape."""
    if json.dumps(producer) != f'"{producer}"' or not producer:
        raise ContractError(f"producer {producer!r}: use letters, digits, '-' and '_' only")
    return _HEAD.format(producer=producer).encode()


def warm_up_of(producer: str) -> str:
    """The name under which a producer warms up: as one of another run, whose messages are in no account."""
    run, _, number = producer.rpartition("-")
    return f"{run}{WARM_UP}-{number}"


def tail(device: str, signals: dict[str, float]) -> bytes:
    """Everything behind the stamps: prepared once a device and row, used for many messages.

    Raises `ContractError` for a signal that is not a finite number.
    """
    try:
        return json.dumps({"device": device, "signals": signals}, separators=(",", ":"), allow_nan=False)[1:].encode()
    except ValueError as error:
        raise ContractError(f"device {device!r}: a signal is not a finite number") from error


def stamp(head: bytes, tail: bytes, seq: int, device_seq: int, event_us: int, due_us: int, sent_us: int) -> bytes:
    """Puts a message together: the hot path of a producer."""
    return _STAMPS % (head, seq, device_seq, event_us, due_us, sent_us, tail)


_INTEGERS: Final = ("seq", "device_seq", "event_us", "due_us", "sent_us")


def validate(fields: Any) -> Message:
    """Checks a decoded JSON value against the contract; raises `ContractError` that names the first broken field."""
    if not isinstance(fields, dict):
        raise ContractError(f"a message is a JSON object, not {type(fields).__name__}")
    if fields.get("v") != VERSION:
        raise ContractError(f"v: version {fields.get('v')!r} is unknown, this program reads version {VERSION}")
    for name in ("producer", "device"):
        if not isinstance(fields.get(name), str) or not fields[name]:
            raise ContractError(f"{name}: a non-empty string is required, found {fields.get(name)!r}")
    for name in _INTEGERS:
        value = fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ContractError(f"{name}: a whole number from 0 is required, found {value!r}")
    signals = fields.get("signals")
    if not isinstance(signals, dict):
        raise ContractError(f"signals: an object of numbers is required, found {signals!r}")
    for name, value in signals.items():
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or value != value
            or abs(value) == float("inf")
        ):
            raise ContractError(f"signals.{name}: a finite number is required, found {value!r}")
    return Message(
        fields["producer"],
        *(fields[name] for name in _INTEGERS),
        device=fields["device"],
        signals=signals,
    )


def parse(value: bytes) -> Message:
    """Reads one message; raises `ContractError` for anything that is not one."""
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ContractError(f"not JSON: {error}") from error
    return validate(fields)


def archived(value: bytes, partition: int, offset: int, broker_ms: int, arrival_ms: int, gate_us: int) -> bytes:
    """The line that the archive holds: the message and, appended, where and when it passed on its way there.

    ``broker_ms`` is the record's timestamp in Kafka, ``arrival_ms`` when the delivery stream took it (milliseconds
    since the epoch), ``gate_us`` when the archive gate checked it (microseconds).
    """
    body = value.rstrip()
    return b'%b,"archive":{"partition":%d,"offset":%d,"broker_ms":%d,"arrival_ms":%d,"gate_us":%d}}' % (
        body[:-1],
        partition,
        offset,
        broker_ms,
        arrival_ms,
        gate_us,
    )
