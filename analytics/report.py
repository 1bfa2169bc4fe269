"""The report: one HTML page that needs no network, from `analysis.json` and what the caller measured. No Spark.

`python -m analytics.report --analysis analysis.json --run summary.json --output report.html` makes it again,
for instance once the verdicts are known. Whatever is missing is shown as not measured.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from analytics import figures, lanes, plots
from analytics.errors import AnalysisError, UsageError

Json = Mapping[str, Any]


def render(analysis: Json, run: Json, path: Path | str) -> None:
    """Writes the page, whole or not at all.

    ``analysis`` is `analytics.digest.digest`'s (it may be empty). ``run`` is the run's summary, with ``slo`` (name,
    required, measured, passed), ``latency`` (``percentiles``: [percentile, milliseconds] pairs; ``per_second``:
    second, count, p50, p99, max in milliseconds; ``limits``: ms, label), ``accounting`` (rows of equal keys),
    ``drill`` (as `render_drill` takes it) and ``settings``. Raises `AnalysisError` when the page cannot be written.
    """
    _write(page(analysis, run), Path(path))


def render_drill(drill: Json, path: Path | str) -> None:
    """Writes the page of a single drill, whole or not at all.

    ``drill`` has ``drill``, ``shows``, ``environment``, ``started``, ``seconds``, ``passed``, ``reasons``,
    ``figures``, ``notes`` and ``timeline`` (entries with ``at`` in seconds, ``subject``, ``text``, ``kind``). Raises
    `AnalysisError` when the page cannot be written.
    """
    _write(_environment().get_template("drill_page.html.j2").render(_drill(drill)), Path(path))


def _write(content: str, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(content)
        temporary.replace(target)
    except OSError as error:
        raise AnalysisError(f"{target}: the report cannot be written: {error}") from error


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("analytics", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    environment.filters |= {
        name: getattr(figures, name)
        for name in ("count", "number", "milliseconds", "size", "share", "moment", "unit", "title")
    }
    environment.filters["cell"] = _cell
    return environment


def _drill(drill: Json) -> dict[str, Any]:
    return {
        "drill": drill,
        "lanes": lanes.lanes(drill["timeline"], drill["seconds"]),
        "figures": lanes.figures_of(drill),
        "legend": lanes.LEGEND,
    }


def page(analysis: Json, run: Json) -> str:
    """The page's HTML."""
    latency = run.get("latency") or {}
    signals = (analysis.get("device") or {}).get("signals") or {}
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            run=run,
            analysis=analysis,
            verdict=_verdict(run),
            tiles=_tiles(analysis, run),
            latency_ms=run.get("latency_ms") or {},
            percentile_chart=plots.percentile_chart(latency),
            share_chart=plots.share_chart(latency),
            latency_chart=plots.latency_chart(latency),
            throughput_chart=plots.throughput_chart(analysis.get("throughput") or {}),
            legs=plots.legs(analysis.get("legs") or []),
            accounting=_columns(run.get("accounting") or []),
            device_cards=plots.device_cards(signals),
            device_span=plots.span(signals),
            signals_by_device=_signals_by_device(analysis.get("device_signals") or []),
            drill=_drill(run["drill"]) if run.get("drill") else None,
            settings=_flat(run.get("settings") or {}),
        )
    )


def _verdict(run: Json) -> dict[str, Any]:
    """The headline: what was required, and whether it was reached."""
    levels = run.get("slo") or []
    judged = [level for level in levels if level.get("passed") is not None]
    held = sum(bool(level["passed"]) for level in judged)
    if not judged:
        return {"kind": "open", "text": "Service levels were not measured"}
    passed = run.get("passed", held == len(judged) == len(levels))
    if held == len(levels):
        text = f"All {len(levels)} service levels were met" if passed else "Service levels met, but the run failed"
    else:
        missed = len(judged) - held
        open_levels = f", {len(levels) - len(judged)} not measured" if len(judged) < len(levels) else ""
        text = f"{missed} of {len(levels)} service levels {'was' if missed == 1 else 'were'} missed{open_levels}"
    return {"kind": "good" if passed else "bad", "text": text}


def _tiles(analysis: Json, run: Json) -> list[tuple[str, str, str]]:
    """The few figures a reader looks for first: label, figure, what it means."""
    messages, rate, latency = (run.get(name) or {} for name in ("messages", "rate", "latency_ms"))
    totals = analysis.get("totals") or {}
    archived = messages.get("archived", totals.get("messages"))
    duplicates = messages.get("duplicates", totals.get("duplicates"))
    found = [
        ("Messages sent", messages.get("attempted"), figures.count, "attempted by the producers"),
        ("In the archive", archived, figures.count, f"and {figures.count(duplicates)} delivered again"),
        ("Lost", messages.get("lost"), figures.count, "acknowledged, and nowhere afterwards"),
        ("Rate", rate.get("produced"), lambda value: f"{figures.count(value)} msg/s", "produced, on average"),
        ("p99 latency", latency.get("p99"), figures.milliseconds, "from due to consumed"),
        ("Slowest", latency.get("max"), figures.milliseconds, "of all messages"),
    ]
    return [
        (label, "not measured" if value is None else form(value), note if value is not None else "")
        for label, value, form, note in found
    ]


def _columns(rows: Sequence[Json]) -> dict[str, Any]:
    """Rows of any keys as a table: the keys in the order in which they first appear."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    numeric = {
        name for name in names
        if all(isinstance(row.get(name), int | float | None) and not isinstance(row.get(name), bool) for row in rows)
    }  # fmt: skip
    return {"names": names, "rows": rows, "numeric": numeric}


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return figures.count(value)
    return figures.number(value) if isinstance(value, float) else figures.MISSING if value is None else value


def _signals_by_device(rows: Sequence[Json]) -> dict[str, list[Json]]:
    devices: dict[str, list[Json]] = {}
    for row in rows:
        devices.setdefault(row["device"], []).append(row)
    return devices


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list) else value))
    return found


def _load(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: a JSON object is required")
    return content


def main(argv: Sequence[str] | None = None) -> int:
    """0: written; 1: it could not be written; 2: wrong use."""
    parser = argparse.ArgumentParser(prog="python -m analytics.report", description="Makes the report's page again.")
    parser.add_argument("--analysis", type=Path, help="analysis.json of the Spark job")
    parser.add_argument("--run", type=Path, help="the run's summary with slo, latency, accounting, settings")
    parser.add_argument("--output", type=Path, required=True, help="the HTML file to write")
    chosen = parser.parse_args(argv)
    try:
        render(_load(chosen.analysis), _load(chosen.run), chosen.output)
    except AnalysisError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
