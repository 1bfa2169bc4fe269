"""Small tables that Python has, as frames that need no Python worker."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import ArrayType, StructType


def as_text(value: Any) -> Any:
    """A cell for CSV and JSON: times in UTC as ISO 8601, everything else as it is."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value


def frame(spark: SparkSession, rows: Iterable[Mapping[str, Any]], schema: StructType) -> DataFrame:
    """The rows as one partition of a frame. Fields that a row lacks are null.

    `SparkSession.createDataFrame` without Arrow sends rows through a Python worker process; for a few hundred rows
    starting that costs more than everything else, so they go as JSON instead, which the JVM reads by itself.
    """
    text = json.dumps([{name: as_text(row.get(name)) for name in schema.names} for row in rows])
    parsed = F.from_json(F.lit(text), ArrayType(schema), {"mode": "FAILFAST"})
    return spark.range(1, numPartitions=1).select(F.inline(parsed))
