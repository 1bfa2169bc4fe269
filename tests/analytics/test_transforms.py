"""Every table, on frames small enough to count by hand, and on random ones whose totals must agree."""

import math
import random
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from archive_builders import START, line, run_lines
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from analytics import parsing, transforms
from analytics.frames import frame
from analytics.schema import ATTEMPTS, DEAD_LETTERS, LEGS, LINES
from services import contract

pytestmark = pytest.mark.xdist_group("spark")

NAIVE = START.replace(tzinfo=None)


def rows_of(spark: SparkSession, lines: Iterable[bytes], run: str | None = "run") -> DataFrame:
    archived = frame(spark, ({"object": "object", "value": item.decode()} for item in lines), LINES)
    marked = parsing.mark_inside(parsing.parse_lines(archived), START, START + timedelta(days=1), run)
    return parsing.mark_copies(marked).where("inside")


def table(spark: SparkSession, rows: Iterable[tuple[Any, ...]], schema: StructType) -> DataFrame:
    return frame(spark, (dict(zip(schema.names, row, strict=True)) for row in rows), schema)


def check(actual: DataFrame, expected: list[tuple[Any, ...]]) -> None:
    """The same rows in any order, with the table's own column types."""
    wanted = table(actual.sparkSession, expected, actual.schema)
    assert_df_equality(actual, wanted, ignore_row_order=True, ignore_nullable=True, allow_nan_equality=True)


def no_dead_letters(spark: SparkSession) -> DataFrame:
    return table(spark, [], DEAD_LETTERS)


def dead_letter(producer: str | None, seq: int | None, code: str = "Lambda.FunctionError") -> tuple[Any, ...]:
    return ("errors", code, "broken", 1, 1, producer, "run", seq, "car", 10)


def test_totals_count_rows_and_messages(spark: SparkSession) -> None:
    lines = [*run_lines(1200), line(seq=0, device="car0"), line(seq=0, device="car0", arrival_ms=99)]
    last = NAIVE + timedelta(milliseconds=11_990)
    check(
        transforms.totals(rows_of(spark, lines)),
        [(1202, 1200, 2, 3, 2, 2, NAIVE, last)],
    )


def test_totals_of_nothing(spark: SparkSession) -> None:
    check(transforms.totals(rows_of(spark, [])), [(0, 0, 0, 0, 0, 0, None, None)])


def test_producers_without_their_own_count(spark: SparkSession) -> None:
    numbers = [2, 3, 5, 6, 6, 9]
    rows = rows_of(spark, [line(seq=seq, offset=at) for at, seq in enumerate(numbers)])
    known = table(spark, [], ATTEMPTS)
    dead = table(spark, [dead_letter("run-00", 4), dead_letter(None, None)], DEAD_LETTERS)
    # Of 0 to 9 arrived 2, 3, 5, 6 and 9; 4 is dead-lettered.
    check(
        transforms.producers(rows, dead, known, whole_run=True),
        [("run-00", 6, 5, 1, 2, 9, 5, 1, None, None, 4)],
    )
    # In a window that cuts the run, numbers before the first one seen are not missed.
    check(
        transforms.producers(rows, dead, known, whole_run=False),
        [("run-00", 6, 5, 1, 2, 9, 3, 1, None, None, 2)],
    )


def test_producers_against_their_own_count(spark: SparkSession) -> None:
    rows = rows_of(spark, [line(seq=seq) for seq in (0, 1, 2)] + [line(producer="run-02", seq=0, device="car2")])
    known = table(
        spark,
        [("run-00", 10, 8), ("run-01", 5, 5), ("run-02", 2, 0)],
        ATTEMPTS,
    )
    # 1 is archived and dead-lettered (a retry): counted once. 7 twice in the dead letters: one message.
    dead = table(spark, [dead_letter("run-00", 1), dead_letter("run-00", 7), dead_letter("run-00", 7)], DEAD_LETTERS)
    check(
        transforms.producers(rows, dead, known, whole_run=True),
        [
            ("run-00", 3, 3, 0, 0, 2, 0, 1, 10, 8, 4),
            ("run-01", 0, 0, 0, None, None, 0, 0, 5, 5, 5),
            ("run-02", 1, 1, 0, 0, 0, 0, 0, 2, 0, 0),
        ],
    )


def at(seq: int, ms: int, offset: int, partition: int = 0, device: str = "car1") -> bytes:
    """The message ``seq``, in Kafka at ``ms`` + 1 after the start."""
    return line(seq=seq, device=device, due=START + timedelta(milliseconds=ms), offset=offset, partition=partition)


def test_devices_count_gaps_copies_and_order(spark: SparkSession) -> None:
    lines = [
        # In order, number 3 missing, number 1 twice.
        at(0, 0, 0), at(1, 10, 1), at(1, 10, 1), at(2, 20, 2), at(4, 30, 3),
        # 0 reaches Kafka after 1 and 2; they lie in one partition.
        at(1, 0, 10, device="late"), at(2, 5, 11, device="late"), at(0, 9, 12, device="late"),
        # Two partitions, the same millisecond: no order to break.
        at(1, 3, 0, partition=1, device="tied"), at(0, 3, 20, partition=0, device="tied"),
    ]  # fmt: skip
    end = {"car1": 30, "late": 9, "tied": 3}
    begin = {"car1": 0, "late": 0, "tied": 3}
    found = {
        "car1": (5, 4, 1, 1, 0, 0, 0),
        "late": (3, 3, 0, 0, 1, 1, 2),
        "tied": (2, 2, 0, 0, 0, 0, 0),
    }
    check(
        transforms.devices(rows_of(spark, lines), whole_run=True),
        [
            (name, *counts, NAIVE + timedelta(milliseconds=begin[name]), NAIVE + timedelta(milliseconds=end[name]))
            for name, counts in found.items()
        ],
    )


def test_a_device_of_two_runs_has_two_sequences(spark: SparkSession) -> None:
    lines = [line(producer="a-00", seq=seq) for seq in (0, 1)] + [line(producer="b-00", seq=seq) for seq in (0, 1)]
    (row,) = transforms.devices(rows_of(spark, lines, run=None), whole_run=False).collect()
    assert (row["rows"], row["messages"], row["duplicates"], row["missing"], row["reordered"]) == (4, 4, 0, 0, 0)


def test_legs_compare_what_has_the_same_digits(spark: SparkSession) -> None:
    # Sent 100 us after due; in Kafka 1 ms, with the stream 20 ms and at the gate 50 ms after due.
    rows = rows_of(spark, [line(), line(arrival_ms=30, offset=1)])
    expected = {"due to sent": 0.1, "sent to broker": 1.0, "broker to stream": 19.0, "stream to gate": 30.0}
    expected["due to gate"] = 50.0
    assert list(expected) == list(LEGS)
    levels = [(leg, 1, ms, ms, ms) for leg, ms in expected.items()]
    minute = NAIVE.replace(second=0)
    check(transforms.service_levels(rows), [(when, *level) for when in (minute, None) for level in levels])


def nearest_rank(values: list[float], percent: int) -> float:
    """The smallest value that at least ``percent`` in a hundred of the values do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 300])
def test_percentiles_are_exact(spark: SparkSession, count: int) -> None:
    numbers = random.Random(count)  # noqa: S311
    waits = [numbers.choice([1, 5, 5, 20, 3000]) + numbers.randrange(40) for _ in range(count)]
    lines = [line(seq=seq, offset=seq, arrival_ms=1 + wait) for seq, wait in enumerate(waits)]
    levels = transforms.service_levels(rows_of(spark, lines)).where("minute is null and leg = 'broker to stream'")
    (found,) = levels.collect()
    values = [float(wait) for wait in waits]
    assert (found["count"], found["p50_ms"], found["p99_ms"], found["max_ms"]) == (
        count, nearest_rank(values, 50), nearest_rank(values, 99), max(values)
    )  # fmt: skip


def test_service_levels_are_by_minute_of_event_time(spark: SparkSession) -> None:
    lines = [
        line(seq=0, gate_ms=500_000),
        line(seq=1, due=START + timedelta(seconds=9.9999), offset=1),
        line(seq=2, due=START + timedelta(seconds=10), offset=2),
    ]
    found = [row for row in transforms.service_levels(rows_of(spark, lines)).collect() if row["leg"] == "due to gate"]
    minute = datetime(2026, 5, 1, 12, 59)
    assert {(row["minute"], row["count"], row["max_ms"]) for row in found} == {
        (minute, 2, 500_000.0),
        (minute + timedelta(minutes=1), 1, 50.0),
        (None, 3, 500_000.0),
    }


def test_throughput_counts_each_stage_in_its_own_second(spark: SparkSession) -> None:
    lines = [line(seq=0, arrival_ms=1500, gate_ms=3200), line(seq=1, offset=1, arrival_ms=900, gate_ms=1100)]
    second = [NAIVE + timedelta(seconds=number) for number in range(4)]
    rows = rows_of(spark, lines)
    check(
        transforms.throughput(rows),
        [(second[0], 2, 2, 1, 0), (second[1], 0, 0, 1, 1), (second[3], 0, 0, 0, 1)],
    )


def test_device_signals(spark: SparkSession) -> None:
    values = [3.0, -1.0, 7.5, 7.5]
    lines = [
        line(
            seq=seq,
            offset=seq,
            due=START + timedelta(seconds=seq),
            signals={"a": value, **({"b": 1.0} if seq == 1 else {})},
        )
        for seq, value in enumerate(values)
    ]
    lines.append(lines[0])
    mean = sum(values) / 4
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / 3)
    found = transforms.device_signals(rows_of(spark, reversed(lines)))
    assert [field.name for field in found.schema] == [
        "device", "signal", "count", "mean", "min", "p50", "max", "stddev", "last"
    ]  # fmt: skip
    one, other = sorted(found.collect(), key=lambda row: row["signal"])
    assert tuple(one)[:7] == ("car1", "a", 4, mean, -1.0, 3.0, 7.5)
    assert one["stddev"] == pytest.approx(spread)
    assert one["last"] == 7.5
    assert tuple(other) == ("car1", "b", 1, 1.0, 1.0, 1.0, 1.0, None, 1.0)


def test_offsets_that_are_missing_and_that_came_again(spark: SparkSession) -> None:
    offsets = {0: [5, 6, 6, 9, 10, 14], 3: [0]}
    lines = [
        line(seq=seq, partition=partition, offset=offset)
        for partition, found in offsets.items()
        for seq, offset in enumerate(found)
    ]
    rows = rows_of(spark, lines)
    check(transforms.partitions(rows), [(0, 6, 5, 1, 5, 14, 5), (3, 1, 1, 0, 0, 0, 0)])
    check(transforms.offset_gaps(rows), [(0, 7, 8, 2), (0, 11, 13, 3)])


def test_dead_letters_by_reason(spark: SparkSession) -> None:
    letters = [dead_letter("run-00", 1), dead_letter(None, None), dead_letter("run-00", 2, code="S3.AccessDenied")]
    check(
        transforms.dead_letter_reasons(table(spark, letters, DEAD_LETTERS)),
        [("Lambda.FunctionError", "broken", 2, 1), ("S3.AccessDenied", "broken", 1, 1)],
    )


def test_a_series_keeps_every_value_within_its_bounds(spark: SparkSession) -> None:
    lines = [
        line(seq=seq, offset=seq, due=START + timedelta(milliseconds=7 * seq), signals={"a": float(seq % 13)})
        for seq in range(100)
    ]
    found = transforms.signal_series(rows_of(spark, lines), "car1", 10).collect()
    assert 9 <= len(found) <= 10
    assert min(row["at"] for row in found) == NAIVE
    assert all(row["min"] <= row["mean"] <= row["max"] for row in found)
    assert (min(row["min"] for row in found), max(row["max"] for row in found)) == (0.0, 12.0)
    assert transforms.signal_series(rows_of(spark, lines), "nobody", 10).collect() == []


@pytest.mark.parametrize("seed", [1, 2])
def test_all_tables_agree_on_the_totals(spark: SparkSession, seed: int) -> None:
    """Drop, repeat and shuffle a run at random: what the tables say must add up to what was done to it."""
    numbers = random.Random(seed)  # noqa: S311
    made = list(run_lines(600, devices=5, producers=2, partitions=3))
    kept = [item for item in made if numbers.random() > 0.05]
    again = numbers.sample(kept, 25)
    lines = kept + again
    numbers.shuffle(lines)
    messages = [contract.parse(item) for item in made]
    counted = Counter(message.producer for message in messages)
    known = table(spark, [(name, n, n) for name, n in counted.items()], ATTEMPTS)
    rows = rows_of(spark, lines).persist()

    (totals,) = transforms.totals(rows).collect()
    assert (totals["rows"], totals["messages"], totals["duplicates"]) == (len(lines), len(kept), len(again))
    producers = transforms.producers(rows, no_dead_letters(spark), known, whole_run=True).collect()
    assert sum(row["lost"] for row in producers) == len(made) - len(kept)
    for found in (producers, transforms.devices(rows, whole_run=True).collect()):
        assert sum(row["rows"] for row in found) == len(lines)
        assert sum(row["messages"] for row in found) == len(kept)
        assert sum(row["duplicates"] for row in found) == len(again)
    partitions = transforms.partitions(rows).collect()
    assert sum(row["offsets"] for row in partitions) == len(kept)
    assert sum(row["delivered_again"] for row in partitions) == len(again)
    gaps = transforms.offset_gaps(rows).collect()
    assert sum(row["offsets"] for row in gaps) == sum(row["missing"] for row in partitions)
    levels = transforms.service_levels(rows).collect()
    for leg in LEGS:
        minutes = [row for row in levels if row["leg"] == leg and row["minute"]]
        (whole,) = (row for row in levels if row["leg"] == leg and not row["minute"])
        assert whole["count"] == len(kept) == sum(row["count"] for row in minutes)
        assert whole["max_ms"] == max(row["max_ms"] for row in minutes)
    seconds = transforms.throughput(rows).collect()
    for stage in ("due", "broker", "stream", "archive"):
        assert sum(row[stage] for row in seconds) == len(kept)
    signals = transforms.device_signals(rows).collect()
    assert sum(row["count"] for row in signals) == 2 * len(kept)
    rows.unpersist()
