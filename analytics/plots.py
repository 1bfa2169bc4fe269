"""What the report draws: each plot from the part of the data that it shows; nothing where the data has none."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from analytics import charts, figures
from analytics.charts import Axis, Limit, Series

Json = Mapping[str, Any]

_STAGES = {
    "due": "due at the producers",
    "broker": "taken by Kafka",
    "stream": "taken by the delivery stream",
    "archive": "checked by the archive gate",
}


def _limits(latency: Json) -> list[Limit]:
    return [Limit(limit["ms"], limit["label"]) for limit in latency.get("limits") or []]


def _with_limits(values: Sequence[float], limits: Sequence[Limit]) -> Axis:
    return charts.logarithmic([*values, *(limit.value for limit in limits)], figures.milliseconds)


def percentile_chart(latency: Json) -> Markup | None:
    """Latency by percentile, each further nine as wide as the one before."""
    pairs = [(float(q), float(ms)) for q, ms in latency.get("percentiles") or [] if ms is not None]
    below = [(q, ms) for q, ms in pairs if q < 100]
    if len(below) < 2:
        return None
    last = max(q for q, _ in below)
    # The slowest message has no finite place among the nines: half a nine to the right of the last known percentile.
    edge = 100 - (100 - last) / 3 if any(q >= 100 for q, _ in pairs) else last
    points = [(q if q < 100 else edge, ms) for q, ms in pairs]
    limits = _limits(latency)
    notes = [(at, f"{q:.7g} % of the messages within {figures.milliseconds(ms)}")
             for (at, ms), (q, _) in zip(points, pairs, strict=True)]  # fmt: skip
    return charts.lines(
        [Series("latency", points)],
        charts.nines(edge),
        _with_limits([ms for _, ms in pairs], limits),
        label="Latency by percentile, logarithmic",
        limits=limits,
        notes=notes,
        fill_first=True,
    )


def share_chart(latency: Json) -> Markup | None:
    """The cumulative distribution: which share of the messages took at most that long."""
    pairs = [(float(ms), float(q)) for q, ms in latency.get("percentiles") or [] if ms]
    if len(pairs) < 2:
        return None
    return charts.lines(
        [Series("share of messages", pairs)],
        charts.logarithmic([ms for ms, _ in pairs], figures.milliseconds),
        Axis(0, 100, [(value, f"{value} %") for value in (0, 25, 50, 75, 100)]),
        label="Share of messages by latency, latency logarithmic",
        notes=[(ms, f"{q:.7g} % within {figures.milliseconds(ms)}") for ms, q in pairs],
        fill_first=True,
    )


def latency_chart(latency: Json) -> Markup | None:
    """p50, p99 and maximum of each second."""
    seconds = [row for row in latency.get("per_second") or [] if row.get("count", 1) and row.get("p50") is not None]
    if not seconds:
        return None
    names = {"p50": "median", "p99": "99th percentile", "max": "slowest"}
    times = [float(row["second"]) for row in seconds]
    limits = _limits(latency)
    notes = [
        (at, ", ".join(f"{name} {figures.milliseconds(row[key])}" for key, name in names.items()))
        for at, row in zip(times, seconds, strict=True)
    ]
    return charts.lines(
        [
            Series(name, [(at, row[key]) for at, row in zip(times, seconds, strict=True)], style)
            for style, (key, name) in enumerate(names.items())
        ],
        _time_axis(times),
        _with_limits([row[key] for row in seconds for key in names], limits),
        label="Latency of each second, logarithmic: median, 99th percentile and slowest message",
        limits=limits,
        notes=notes,
    )


def _time_axis(times: Sequence[float]) -> Axis:
    """Seconds since the epoch as times of day, smaller numbers as seconds of the run."""
    if max(times) > 1e9:
        return charts.clock(times)
    return charts.linear(times, lambda value: f"{value:g} s", from_zero=False)


def throughput_chart(throughput: Json) -> Markup | None:
    points = throughput.get("points") or []
    if not points:
        return None
    times = [point[0] for point in points]
    series = [
        Series(name, [(point[0], point[1 + style]) for point in points], style, steps=True)
        for style, name in enumerate(_STAGES.values())
    ]
    notes = [
        (point[0], ", ".join(f"{name} {figures.count(v)}/s" for name, v in zip(_STAGES, point[1:], strict=True)))
        for point in points
    ]
    return charts.lines(
        series,
        charts.clock(times),
        charts.linear([value for point in points for value in point[1:]], figures.count),
        label="Messages per second at each stage over time",
        notes=notes,
        fill_first=True,
    )


def legs(legs: Sequence[Json]) -> list[dict[str, Any]]:
    if not legs:
        return []
    axis = charts.logarithmic([max(row[name], 0.05) for row in legs for name in ("p50_ms", "max_ms")], str)
    return [{**row, "bar": charts.span(row["p50_ms"], row["p99_ms"], row["max_ms"], axis)} for row in legs]


def device_cards(signals: Mapping[str, Sequence[Sequence[float]]]) -> list[dict[str, Any]]:
    """One small chart a signal; signals that never change come last, since a flat line tells least."""
    cards = []
    for name, raw in signals.items():
        points = [(at, mean, low, high) for at, mean, low, high in raw]
        low, high = min(point[2] for point in points), max(point[3] for point in points)
        unit = figures.unit(name)
        label = f"{figures.title(name)} from {figures.number(low)} to {figures.number(high)} {unit}"
        cards.append(
            {"name": name, "low": low, "high": high, "flat": low == high, "chart": charts.band(points, label=label)}
        )
    return sorted(cards, key=lambda card: (card["flat"], card["name"]))


def span(signals: Mapping[str, Sequence[Sequence[float]]]) -> tuple[str | None, str | None]:
    """When the charts of a device begin and end."""
    times = [point[0] for points in signals.values() for point in points]
    if not times:
        return None, None
    begin, end = (datetime.fromtimestamp(at, UTC).isoformat() for at in (min(times), max(times)))
    return begin, end
