"""The analysis from rows to tables: which transforms run, in which order their rows are, and what a plot needs."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import LongType, StringType, StructType

from analytics import transforms
from analytics.frames import frame
from analytics.reading import Archive
from analytics.schema import ATTEMPTS, LEGS, struct

Row = dict[str, Any]

SERIES_POINTS = 240
"""How many points of time a plot of one signal has at most."""

_AT_ONCE = 3
"""Small queries that run side by side: while one is planned, others keep the cores busy."""

_LEG_ORDER = {name: number for number, name in enumerate(LEGS)}

_ORDER: dict[str, Callable[[Row], Any]] = {
    "totals": lambda _: 0,
    "producers": lambda row: row["producer"],
    "devices": lambda row: row["device"],
    "service_levels": lambda row: (row["minute"] or datetime.max, _LEG_ORDER[row["leg"]]),
    "throughput_seconds": lambda row: row["at"],
    "device_signals": lambda row: (row["device"], row["signal"]),
    "partitions": lambda row: row["partition"],
    "offset_gaps": lambda row: (row["partition"], row["first_missing"]),
    "dead_letters": lambda row: (-row["records"], row["error_code"], row["error_message"]),
    "objects": lambda row: row["object"],
}


@dataclass(frozen=True)
class Table:
    """A finished table: its rows in order, and its schema."""

    rows: list[Row]
    schema: StructType


def attempts(spark: SparkSession, by_producer: Mapping[str, Mapping[str, int]]) -> DataFrame:
    """What the producers counted (``{producer: {"attempted": n, "acked": n}}``), as `ATTEMPTS`."""
    return frame(spark, [{"producer": name, **count} for name, count in by_producer.items()], ATTEMPTS)


def compute(archive: Archive, dead_letters: DataFrame, counted: DataFrame, whole_run: bool) -> dict[str, Table]:
    """Runs every transform; raises whatever the first failing one raises."""
    rows = archive.rows.where("inside")
    read = archive.rows.where("ok")
    frames = {
        "device_signals": transforms.device_signals(rows),
        "service_levels": transforms.service_levels(rows),
        "devices": transforms.devices(rows, whole_run),
        "producers": transforms.producers(rows, dead_letters, counted, whole_run),
        "throughput_seconds": transforms.throughput(rows),
        "partitions": transforms.partitions(read),
        "offset_gaps": transforms.offset_gaps(read),
        "dead_letters": transforms.dead_letter_reasons(dead_letters),
        "totals": transforms.totals(rows),
    }
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        collected = dict(zip(frames, pool.map(DataFrame.collect, frames.values()), strict=True))
    tables = {
        name: Table(sorted((row.asDict() for row in collected[name]), key=_ORDER[name]), frames[name].schema)
        for name in frames
    }
    tables["throughput_minutes"] = _by_minute(tables["throughput_seconds"])
    tables["service_levels"], tables["legs"] = _minutes_and_whole(tables["service_levels"])
    schema = struct(object=StringType(), bytes=LongType(), lines=LongType(), messages=LongType())
    tables["objects"] = Table(sorted((asdict(item) for item in archive.objects), key=_ORDER["objects"]), schema)
    return tables


def _by_minute(seconds: Table) -> Table:
    """Throughput by second as throughput by minute."""
    sums: dict[datetime, Row] = {}
    for row in seconds.rows:
        minute = row["at"].replace(second=0, microsecond=0)
        into = sums.setdefault(minute, dict.fromkeys(row, 0) | {"at": minute})
        for name in row.keys() - {"at"}:
            into[name] += row[name]
    return Table(list(sums.values()), seconds.schema)


def _minutes_and_whole(levels: Table) -> tuple[Table, Table]:
    """The levels of each minute, and those of the whole window by leg."""
    minutes = [row for row in levels.rows if row["minute"] is not None]
    whole = [{name: row[name] for name in row if name != "minute"} for row in levels.rows if row["minute"] is None]
    return (
        Table(minutes, levels.schema),
        Table(whole, StructType([field for field in levels.schema if field.name != "minute"])),
    )


def busiest_device(devices: Sequence[Row]) -> str | None:
    """The device with the most rows; of several the first by name."""
    return min(devices, key=lambda row: (-row["rows"], row["device"]))["device"] if devices else None


def series(archive: Archive, device: str | None) -> list[Row]:
    """One device's signals over time, for the report."""
    if device is None:
        return []
    frame = transforms.signal_series(archive.rows.where(F.col("inside")), device, SERIES_POINTS)
    return sorted((row.asDict() for row in frame.collect()), key=lambda row: (row["signal"], row["at"]))
