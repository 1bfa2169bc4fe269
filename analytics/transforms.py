"""The tables of the analysis: each a pure function from rows to a table, its columns named in its docstring.

Rows are `analytics.schema.ROWS` inside the window, with ``copy`` (`analytics.parsing.mark_copies`). Latencies and
counts of messages use first copies only, so a record that was delivered twice counts once and shows as a duplicate.
Percentiles are exact, by nearest rank: the smallest value that at least that share of the values does not exceed.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from analytics.schema import LEGS


def _count_if(condition: Column) -> Column:
    return F.count_if(condition).cast("long")


def _percentile(share: float, column: str) -> Column:
    return F.expr(f"percentile_disc({share}) within group (order by {column})").alias(f"p{100 * share:g}_{column}")


def _first_copies(rows: DataFrame) -> DataFrame:
    return rows.where(F.col("copy") == 1)


def totals(rows: DataFrame) -> DataFrame:
    """One row: rows, messages (each counted once), duplicates, devices, producers, windows (minutes with data),
    first_event, last_event (UTC; null without rows)."""
    messages = _count_if(F.col("copy") == 1)
    return rows.agg(
        F.count("*").alias("rows"),
        messages.alias("messages"),
        (F.count("*") - messages).alias("duplicates"),
        F.count_distinct(F.col("device")).alias("devices"),
        F.count_distinct(F.col("producer")).alias("producers"),
        F.count_distinct(F.expr("event_us div 60000000")).alias("windows"),
        F.timestamp_micros(F.min("event_us")).alias("first_event"),
        F.timestamp_micros(F.max("event_us")).alias("last_event"),
    )


def _sequences(rows: DataFrame, keys: list[str], number: str, from_zero: bool) -> DataFrame:
    """keys, rows, messages, duplicates, first, last, missing: how complete the numbers of each sequence are.

    With ``from_zero`` the sequence began inside the window, so numbers before the first one seen are missing too.
    """
    messages = _count_if(F.col("copy") == 1)
    start = F.lit(0) if from_zero else F.min(number)
    return rows.groupBy(*keys).agg(
        F.count("*").alias("rows"),
        messages.alias("messages"),
        (F.count("*") - messages).alias("duplicates"),
        F.min(number).alias("first"),
        F.max(number).alias("last"),
        (F.max(number) + 1 - start - messages).alias("missing"),
    )


def producers(rows: DataFrame, dead_letters: DataFrame, attempts: DataFrame, whole_run: bool) -> DataFrame:
    """Loss by producing process: producer, rows, messages, duplicates, first, last (numbers seen), missing (numbers
    from the first to the last that did not arrive), dead_lettered, attempted, acked (null when the producer's own
    count is not known), lost.

    ``lost`` is what was acknowledged and is neither archived nor dead-lettered; without the producer's count, the
    missing numbers that are not dead-lettered. A producer that sent and left nothing in the archive is listed too.
    With ``whole_run`` numbers count from 0.
    """
    seen = _sequences(rows, ["producer"], "seq", whole_run)
    # A record that was retried can be in both places: only what the archive lacks counts as dead-lettered.
    dead = (
        dead_letters.where(F.col("producer").isNotNull())
        .select("producer", "seq")
        .distinct()
        .join(rows.select("producer", "seq"), ["producer", "seq"], "left_anti")
        .groupBy("producer")
        .agg(F.count("*").alias("dead_lettered"))
    )
    joined = seen.join(dead, "producer", "full").join(attempts, "producer", "full")
    whole = joined.fillna(0, ["rows", "messages", "duplicates", "missing", "dead_lettered"])
    known = F.col("acked") - F.col("messages") - F.col("dead_lettered")
    guessed = F.col("missing") - F.col("dead_lettered")
    return whole.withColumn("lost", F.greatest(F.coalesce(known, guessed), F.lit(0)))


def devices(rows: DataFrame, whole_run: bool) -> DataFrame:
    """Loss, duplicates and order by device: device, rows, messages, duplicates, missing (numbers that did not
    arrive), reordered, reordered_in_partition, furthest_back, first_event, last_event.

    ``reordered`` counts messages that reached the broker at least a millisecond after a later one of the same device;
    ``reordered_in_partition`` those that Kafka itself, which keeps the order of a partition, holds behind a later
    one; ``furthest_back`` is by how many messages at most.
    """
    first = _first_copies(rows)
    sequences = _sequences(rows, ["device", "producer"], "device_seq", whole_run)
    counts = sequences.groupBy("device").agg(
        *(F.sum(name).alias(name) for name in ("rows", "messages", "duplicates", "missing"))
    )
    by_time = (
        Window.partitionBy("device", "producer").orderBy("broker_ms").rangeBetween(Window.unboundedPreceding, -1)
    )
    by_offset = (
        Window.partitionBy("device", "producer", "partition")
        .orderBy("offset")
        .rowsBetween(Window.unboundedPreceding, -1)
    )
    back = F.max("device_seq").over(by_time) - F.col("device_seq")
    back_in_partition = F.max("device_seq").over(by_offset) - F.col("device_seq")
    order = (
        first.select("device", "event_us", back.alias("back"), back_in_partition.alias("back_in_partition"))
        .groupBy("device")
        .agg(
            _count_if(F.col("back") > 0).alias("reordered"),
            _count_if(F.col("back_in_partition") > 0).alias("reordered_in_partition"),
            F.greatest(F.max("back"), F.max("back_in_partition"), F.lit(0)).alias("furthest_back"),
            F.timestamp_micros(F.min("event_us")).alias("first_event"),
            F.timestamp_micros(F.max("event_us")).alias("last_event"),
        )
    )
    return counts.join(order, "device")


def _leg_lengths(rows: DataFrame) -> DataFrame:
    legs = F.array(*(F.struct(F.lit(name).alias("leg"), F.expr(length).alias("ms")) for name, length in LEGS.items()))
    minute = F.expr("timestamp_micros(event_us div 60000000 * 60000000)").alias("minute")
    return _first_copies(rows).select(minute, F.inline(legs))


def service_levels(rows: DataFrame) -> DataFrame:
    """Latency by minute of event time and leg: minute (UTC; null for the whole window), leg, count, p50_ms, p99_ms,
    max_ms."""
    legs = _leg_lengths(rows)
    return legs.groupingSets([["minute", "leg"], ["leg"]], "minute", "leg").agg(
        F.count("*").alias("count"),
        _percentile(0.5, "ms"),
        _percentile(0.99, "ms"),
        F.max("ms").alias("max_ms"),
    )


def throughput(rows: DataFrame) -> DataFrame:
    """Messages by second and stage: at (UTC, the second's start), due, broker, stream, archive: how many messages
    were due, reached the broker, the delivery stream and the archive gate in that second."""
    stages = {"due": "due_us", "broker": "broker_ms * 1000", "stream": "arrival_ms * 1000", "archive": "gate_us"}
    times = F.array(
        *(
            F.struct(F.lit(name).alias("stage"), F.expr(f"({time}) div 1000000 * 1000000").alias("at_us"))
            for name, time in stages.items()
        )
    )
    counted = _first_copies(rows).select(F.inline(times)).groupBy("at_us", "stage").agg(F.count("*").alias("n"))
    # One more small grouping in place of a pivot, which would run a job of its own to find the stages.
    return (
        counted.groupBy("at_us")
        .agg(
            *(F.coalesce(F.sum(F.when(F.col("stage") == name, F.col("n"))), F.lit(0)).alias(name) for name in stages)
        )
        .select(F.timestamp_micros("at_us").alias("at"), *stages)
    )


def device_signals(rows: DataFrame) -> DataFrame:
    """Statistics of every signal of every device: device, signal, count, mean, min, p50_value, max, stddev (of the
    sample; null for a single value), last (by event time)."""
    values = _first_copies(rows).select("device", "event_us", "seq", F.explode("signals").alias("signal", "value"))
    return (
        values.groupBy("device", "signal")
        .agg(
            F.count("*").alias("count"),
            F.avg("value").alias("mean"),
            F.min("value").alias("min"),
            _percentile(0.5, "value"),
            F.max("value").alias("max"),
            F.stddev_samp("value").alias("stddev"),
            F.max(F.struct("event_us", "seq", "value"))["value"].alias("last"),
        )
        .withColumnRenamed("p50_value", "p50")
    )


def partitions(rows: DataFrame) -> DataFrame:
    """Kafka's offsets by partition, over every valid row that was read: partition, rows, offsets (different ones),
    delivered_again (rows whose offset the archive already had), first_offset, last_offset, missing (offsets between
    the two that no row has)."""
    return (
        rows.groupBy("partition", "offset")
        .agg(F.count("*").alias("n"))
        .groupBy("partition")
        .agg(
            F.sum("n").alias("rows"),
            F.count("*").alias("offsets"),
            (F.sum("n") - F.count("*")).alias("delivered_again"),
            F.min("offset").alias("first_offset"),
            F.max("offset").alias("last_offset"),
            (F.max("offset") - F.min("offset") + 1 - F.count("*")).alias("missing"),
        )
    )


def offset_gaps(rows: DataFrame) -> DataFrame:
    """Each run of offsets that no row has: partition, first_missing, last_missing, offsets."""
    order = Window.partitionBy("partition").orderBy("offset")
    before = F.lag("offset").over(order)
    return (
        rows.select("partition", "offset")
        .distinct()
        .select("partition", before.alias("before"), "offset")
        .where(F.col("offset") > F.col("before") + 1)
        .select(
            "partition",
            (F.col("before") + 1).alias("first_missing"),
            (F.col("offset") - 1).alias("last_missing"),
            (F.col("offset") - F.col("before") - 1).alias("offsets"),
        )
    )


def dead_letter_reasons(dead_letters: DataFrame) -> DataFrame:
    """Why records were not archived: error_code, error_message, records, messages (records that are messages)."""
    return dead_letters.groupBy("error_code", "error_message").agg(
        F.count("*").alias("records"), F.count("seq").alias("messages")
    )


def signal_series(rows: DataFrame, device: str, buckets: int) -> DataFrame:
    """One device's signals over time, for a plot: signal, at (UTC), mean, min, max; at most ``buckets`` intervals of
    equal length between the device's first and last event."""
    one = _first_copies(rows).where(F.col("device") == device)
    span = one.agg(F.min("event_us").alias("begin"), F.max("event_us").alias("finish"))
    width = F.greatest(F.expr(f"(finish - begin) div {buckets} + 1"), F.lit(1))
    return (
        one.crossJoin(F.broadcast(span))
        .withColumn("width", width)
        .select(
            F.expr("begin + (event_us - begin) div width * width").alias("at_us"),
            F.explode("signals").alias("signal", "value"),
        )
        .groupBy("signal", "at_us")
        .agg(F.avg("value").alias("mean"), F.min("value").alias("min"), F.max("value").alias("max"))
        .select("signal", F.timestamp_micros("at_us").alias("at"), "mean", "min", "max")
    )
