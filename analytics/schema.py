"""The schemas that the job reads and makes, and the legs of a message's way. No I/O, no session."""

from typing import Final

from pyspark.sql.types import (
    BooleanType,
    DataType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    VariantType,
)


def struct(**fields: DataType) -> StructType:
    """A schema from names and types, every field nullable."""
    return StructType([StructField(name, kind) for name, kind in fields.items()])


SIGNALS: Final = MapType(StringType(), DoubleType())

ARCHIVE_LEG: Final = struct(
    partition=IntegerType(), offset=LongType(), broker_ms=LongType(), arrival_ms=LongType(), gate_us=LongType()
)
"""What the archive adds to a message (`services.contract.archived`)."""

MESSAGE_JSON: Final = struct(
    v=LongType(),
    producer=VariantType(),
    seq=LongType(),
    device_seq=LongType(),
    event_us=LongType(),
    due_us=LongType(),
    sent_us=LongType(),
    device=VariantType(),
    signals=SIGNALS,
    archive=ARCHIVE_LEG,
)
"""An archived line as JSON. Names are variants because the JSON reader would take any value for a string."""

LINES: Final = struct(object=StringType(), value=StringType())
"""A line of the archive and the name of the object that holds it."""

ROWS: Final = struct(
    object=StringType(),
    ok=BooleanType(),
    line=StringType(),
    producer=StringType(),
    run=StringType(),
    seq=LongType(),
    device_seq=LongType(),
    event_us=LongType(),
    due_us=LongType(),
    sent_us=LongType(),
    device=StringType(),
    signals=SIGNALS,
    partition=IntegerType(),
    offset=LongType(),
    broker_ms=LongType(),
    arrival_ms=LongType(),
    gate_us=LongType(),
)
"""A line after parsing: ``ok`` says whether it keeps the contract; ``line`` is its text when it does not.

``run`` is the producer's name without its number. Times are microseconds (``_us``) or milliseconds (``_ms``) since
the Unix epoch.
"""

DEAD_LETTERS: Final = struct(
    object=StringType(),
    error_code=StringType(),
    error_message=StringType(),
    arrival_ms=LongType(),
    attempts=LongType(),
    producer=StringType(),
    run=StringType(),
    seq=LongType(),
    device=StringType(),
    bytes=LongType(),
)
"""A record that the delivery stream could not archive; the names are null when its content is not a message."""

ATTEMPTS: Final = struct(producer=StringType(), attempted=LongType(), acked=LongType())
"""What the producers themselves counted."""

LEGS: Final[dict[str, str]] = {
    "due to sent": "(sent_us - due_us) / 1000D",
    "sent to broker": "cast(broker_ms - sent_us div 1000 as double)",
    "broker to stream": "cast(arrival_ms - broker_ms as double)",
    "stream to gate": "cast(gate_us div 1000 - arrival_ms as double)",
    "due to gate": "(gate_us - due_us) / 1000D",
}
"""The legs of a message's way and their length in milliseconds.

Kafka's and the delivery stream's own times have whole milliseconds: a leg that begins or ends at one compares whole
milliseconds, so that no leg looks shorter than nothing for want of digits.
"""
