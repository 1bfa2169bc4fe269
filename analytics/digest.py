"""What the report shows of the tables, as JSON of bounded size: `analysis.json`. No Spark."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any, Final

from analytics.frames import as_text

Row = Mapping[str, Any]

LIMITS: Final = {
    "producers": 200,
    "devices": 200,
    "device_signals": 2_000,
    "service_levels": 2_000,
    "partitions": 200,
    "offset_gaps": 100,
    "dead_letters": 100,
    "broken_objects": 500,
}
"""The most rows of each table that the report's data keeps; the tables themselves are whole."""

THROUGHPUT_POINTS: Final = 600

STAGES: Final = ("due", "broker", "stream", "archive")


def digest(
    tables: Mapping[str, Sequence[Row]],
    *,
    window: tuple[datetime, datetime],
    run: str | None,
    device: str | None,
    series: Sequence[Row],
    broken: Sequence[Row],
    quarantined: int,
    quarantine_sample: Sequence[Row],
) -> dict[str, Any]:
    """The report's data. ``tables`` are the job's, ``series`` the signals of ``device`` over time."""
    kept = {name: list(tables[name]) for name in ("legs", *LIMITS) if name in tables} | {
        "broken_objects": list(broken)
    }
    objects = tables["objects"]
    return {
        "version": 1,
        "window": {"from": _iso(window[0]), "to": _iso(window[1]), "run": run},
        "totals": _plain(tables["totals"][0]),
        "objects": {name: sum(row[name] for row in objects) for name in ("bytes", "lines")} | {"count": len(objects)},
        **{name: [_plain(row) for row in rows[: LIMITS.get(name)]] for name, rows in kept.items()},
        "left_out": {name: len(rows) - limit for name, limit in LIMITS.items() if len(rows := kept[name]) > limit},
        "throughput": throughput(tables["throughput_seconds"]),
        "quarantine": {"rows": quarantined, "sample": [_plain(row) for row in quarantine_sample]},
        "device": {"name": device, "signals": _by_signal(series)},
    }


def throughput(seconds: Sequence[Row]) -> dict[str, Any]:
    """Messages per second at each stage, in intervals long enough that there are at most 600 of them.

    ``points`` are [start, due, broker, stream, archive]; seconds without a message count as zeros.
    """
    if not seconds:
        return {"seconds": 1, "points": []}
    begin = seconds[0]["at"]
    spans = [int((row["at"] - begin).total_seconds()) for row in seconds]
    step = max(1, ceil((spans[-1] + 1) / THROUGHPUT_POINTS))
    sums = [[0] * len(STAGES) for _ in range(spans[-1] // step + 1)]
    for span, row in zip(spans, seconds, strict=True):
        for position, stage in enumerate(STAGES):
            sums[span // step][position] += row[stage]
    start = begin.replace(tzinfo=UTC).timestamp()
    points = [[start + number * step, *(count / step for count in counts)] for number, counts in enumerate(sums)]
    return {"seconds": step, "points": points}


def _by_signal(series: Sequence[Row]) -> dict[str, list[list[float]]]:
    signals: dict[str, list[list[float]]] = {}
    for row in series:
        at = row["at"].replace(tzinfo=UTC).timestamp()
        signals.setdefault(row["signal"], []).append([at, row["mean"], row["min"], row["max"]])
    return signals


def _plain(row: Row) -> dict[str, Any]:
    return {name: as_text(value) for name, value in row.items()}


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
