"""Reads the archive's objects into rows, and finds those that are broken: exactly, and by name."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from py4j.protocol import Py4JJavaError
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from analytics.errors import AnalysisError
from analytics.frames import frame
from analytics.objects import BrokenObject, StoredObject, find_faults, literal
from analytics.parsing import mark_copies, mark_inside, parse_lines
from analytics.schema import LINES


@dataclass(frozen=True)
class ObjectCount:
    """What one object holds: lines, and how many of them are messages that keep the contract."""

    object: str
    bytes: int
    lines: int
    messages: int


@dataclass(frozen=True)
class Archive:
    """What was read: ``rows`` (cached, with ``inside`` and ``copy``), a count an object, and the broken objects."""

    rows: DataFrame
    objects: list[ObjectCount]
    broken: list[BrokenObject]


def read(
    spark: SparkSession, objects: list[StoredObject], start: datetime, end: datetime, run: str | None
) -> Archive:
    """Reads the objects, each either whole or not at all.

    Spark reads them as they are; the JVM's gzip reader refuses a stream that is damaged, cut off or followed by other
    bytes, and the job fails. Then, and for objects that gave no message, each object is looked at as a whole
    (`find_faults`), the broken ones are left out, and the rest is read again. So the usual case costs no second look.
    """
    broken = [BrokenObject(item.name, "empty: the object has no bytes") for item in objects if item.size == 0]
    whole = [item for item in objects if item.size > 0]
    rows = _load(spark, whole, start, end, run)
    try:
        counts = _count(rows, whole)
    except (Py4JJavaError, PySparkException) as error:
        rows.unpersist()
        faults = find_faults(spark, whole)
        if not faults:
            raise AnalysisError(f"the archive's objects are whole, yet Spark cannot read them: {error}") from error
        broken += faults
        whole = _without(whole, faults)
        rows = _load(spark, whole, start, end, run)
        counts = _count(rows, whole)
    silent = {count.object for count in counts if count.messages == 0}
    faults = find_faults(spark, [item for item in whole if item.name in silent])
    if faults:
        names = [fault.object for fault in faults]
        rows = rows.where(~F.col("object").isin(names))
        counts = [count for count in counts if count.object not in names]
        broken += faults
    return Archive(rows, counts, sorted(broken, key=lambda item: item.object))


def _without(objects: Iterable[StoredObject], faults: list[BrokenObject]) -> list[StoredObject]:
    names = {fault.object for fault in faults}
    return [item for item in objects if item.name not in names]


def _load(
    spark: SparkSession, objects: list[StoredObject], start: datetime, end: datetime, run: str | None
) -> DataFrame:
    if objects:
        # Without lineSep Hadoop's reader would also end a line at a carriage return.
        text = spark.read.option("lineSep", "\n").text([literal(item.name) for item in objects])
        name = F.regexp_replace(F.col("_metadata.file_path"), "^file:/+", "file:///")
        lines = text.select(name.alias("object"), "value")
    else:
        lines = frame(spark, [], LINES)
    rows = mark_inside(parse_lines(lines), start, end, run)
    # By device, so that what follows (copies, order, statistics of a device) needs no further exchange.
    partitions = int(spark.conf.get("spark.sql.shuffle.partitions") or 1)
    return mark_copies(rows.repartition(partitions, "device")).persist(StorageLevel.MEMORY_AND_DISK)


def _count(rows: DataFrame, objects: list[StoredObject]) -> list[ObjectCount]:
    """Lines and messages of every object, those without a line included. Fills the cache on the way."""
    counted = rows.groupBy("object").agg(F.count("*").alias("lines"), F.count_if("ok").alias("messages")).collect()
    found = {row["object"]: (row["lines"], row["messages"]) for row in counted}
    unknown = set(found) - {item.name for item in objects}
    if unknown:
        raise AnalysisError(f"Spark read objects that were not listed: {sorted(unknown)[:3]}; report this as a bug")
    return [ObjectCount(item.name, item.size, *found.get(item.name, (0, 0))) for item in objects]
