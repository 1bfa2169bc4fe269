"""From lines of the archive to rows that keep the contract, and the reasons of those that do not. Pure."""

import json
from datetime import UTC, datetime

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import LongType, StringType

from analytics.schema import ARCHIVE_LEG, MESSAGE_JSON, ROWS, struct
from services import contract

_MESSAGE = "message_8d1f0c57"
_END = "end_8d1f0c57"
_INTEGERS = ("seq", "device_seq", "event_us", "due_us", "sent_us")
_RUN_OF_PRODUCER = "-[0-9]+$"

LONGEST_KEPT = 1 << 20
"""How many characters of a refused line are kept: an object without line breaks is one line of up to 128 MB."""


def parse_lines(lines: DataFrame) -> DataFrame:
    """`LINES` to `ROWS`: reads each line as one message and judges it by the contract, all inside the JVM.

    Spark's JSON reader stops at the end of the first value, so joined records (``{...}{...}``) would lose all but
    the first. Each line is therefore read as a field of an object that has a second field behind it: whatever follows
    the message on its line makes that object invalid.
    """
    envelope = struct(**{_MESSAGE: MESSAGE_JSON, _END: LongType(), "corrupt": StringType()})
    text = F.concat(F.lit(f'{{"{_MESSAGE}":'), "value", F.lit(f',"{_END}":1}}'))
    read = F.from_json(text, envelope, {"columnNameOfCorruptRecord": "corrupt"})
    flat = lines.select("object", "value", read.alias("read")).select(
        "object", "value", f"read.{_MESSAGE}.*", f"read.{_END}", "read.corrupt"
    )
    named = flat.withColumns(
        {
            name: F.when(F.schema_of_variant(name) == "STRING", F.try_variant_get(name, "$", "string"))
            for name in ("producer", "device")
        }
    ).select("*", *(F.col("archive")[field].alias(field) for field in ARCHIVE_LEG.names))
    ok = F.coalesce(_keeps_the_contract(), F.lit(False))
    judged = named.withColumn("ok", ok)
    return judged.select(
        "object",
        "ok",
        F.when(~F.col("ok"), F.substring("value", 1, LONGEST_KEPT)).alias("line"),
        "producer",
        F.regexp_replace("producer", _RUN_OF_PRODUCER, "").alias("run"),
        *_INTEGERS,
        "device",
        "signals",
        *ARCHIVE_LEG.names,
    ).select(*ROWS.names)


def _keeps_the_contract() -> Column:
    """The rules of `services.contract.validate` and of the archive's leg, as one condition."""
    numbers = (*_INTEGERS, *ARCHIVE_LEG.names)
    condition = F.col("corrupt").isNull() & (F.col(_END) == 1) & (F.col("v") == contract.VERSION)
    condition &= (F.length("producer") > 0) & (F.length("device") > 0) & F.is_valid_utf8("value")
    for name in numbers:
        condition &= F.col(name) >= 0
    finite = F.forall(
        F.map_values("signals"), lambda value: value.isNotNull() & ~F.isnan(value) & (F.abs(value) < float("inf"))
    )
    return condition & finite


def explain(line: str) -> str:
    """Why a line is no archived message, in the words of the contract. Runs for refused lines only."""
    if not line.strip():
        return "an empty line"
    try:
        fields = json.loads(line)
        contract.validate(fields)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and line.lstrip().startswith("{"):
            return f"more than one record on a line: the second begins at character {error.pos}"
        return f"not JSON: {error}"
    except (contract.ContractError, RecursionError) as error:
        return str(error)
    leg = fields.get("archive")
    if not isinstance(leg, dict):
        return f"archive: an object of numbers is required, found {leg!r}"
    for name in ARCHIVE_LEG.names:
        value = leg.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            return f"archive.{name}: a whole number from 0 is required, found {value!r}"
    return "a number does not fit its column: whole numbers have 64 bits (archive.partition 32) and no decimals"


def quarantine(rows: DataFrame) -> DataFrame:
    """`ROWS` to the refused ones: object, reason, line."""
    reason = F.udf(explain, StringType())
    return rows.where(~F.col("ok")).select("object", reason("line").alias("reason"), "line")


def mark_inside(rows: DataFrame, start: datetime, end: datetime, run: str | None) -> DataFrame:
    """`ROWS` with ``inside``: event time from ``start`` until before ``end`` and, if given, of this run.

    Rows outside are kept, since Kafka's offsets are judged over all that was read, but not their signals.
    """
    inside = F.col("ok") & (F.col("event_us") >= _microseconds(start)) & (F.col("event_us") < _microseconds(end))
    if run is not None:
        inside &= F.col("run") == run
    return rows.withColumn("inside", inside).withColumn("signals", F.when(F.col("inside"), F.col("signals")))


def mark_copies(rows: DataFrame) -> DataFrame:
    """Rows with ``copy``: 1 for a message's first arrival in the archive, 2, 3, ... for what came again.

    A message is what one producer numbered once. The window is also keyed by device so that rows that are already
    partitioned by device stay where they are.
    """
    order = Window.partitionBy("device", "producer", "seq").orderBy("arrival_ms", "gate_us", "partition", "offset")
    return rows.withColumn("copy", F.row_number().over(order))


def _microseconds(moment: datetime) -> int:
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
