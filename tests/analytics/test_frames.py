"""Small tables reach Spark as they are."""

from datetime import datetime
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import DoubleType, LongType, StringType, TimestampType

from analytics.frames import frame
from analytics.schema import struct

SCHEMA = struct(name=StringType(), number=LongType(), value=DoubleType(), at=TimestampType())


@pytest.mark.xdist_group("spark")
@pytest.mark.parametrize(
    "rows",
    [
        [],
        [
            {
                "name": 'it\'s \\ "quoted" ${x} \n ü',
                "number": -(2**63),
                "value": 0.1 + 0.2,
                "at": datetime(1999, 2, 3, 4),
            }
        ],
        [{"name": None}, {"number": 3}, {"value": 1e-300, "at": datetime(2026, 10, 25, 2, 30, 0, 123456)}],
    ],
)
def test_rows_come_back_as_they_went(spark: SparkSession, rows: list[dict[str, Any]]) -> None:
    made = frame(spark, rows, SCHEMA)
    assert made.schema == SCHEMA
    assert [row.asDict() for row in made.collect()] == [{**dict.fromkeys(SCHEMA.names), **row} for row in rows]
