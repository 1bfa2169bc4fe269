"""The Spark job: `python -m analytics` reads the archive, writes tables, a report and a summary. All I/O is here."""

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from analytics import dead_letters, digest, job, objects, parsing, reading, report, session
from analytics.errors import AnalysisError, UsageError
from analytics.output import Output, address

log = logging.getLogger("analytics")

_SAMPLE = 20
_STANDARD_INPUT = Path("-")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line; ends the program with code 2 for wrong use."""
    parser = argparse.ArgumentParser(prog="python -m analytics", description=__doc__)
    parser.add_argument("--archive", required=True, help="where archived objects start: s3a://bucket/telemetry/")
    parser.add_argument("--errors", help="where dead letters start: s3a://bucket/dead-letter/")
    parser.add_argument("--output", required=True, help="folder for tables/, quarantine/, report.html, analysis.json")
    parser.add_argument("--from", dest="start", required=True, type=_moment, help="first event time, ISO 8601")
    parser.add_argument("--to", dest="end", required=True, type=_moment, help="event times before this, ISO 8601")
    parser.add_argument("--run", help="only messages of this run's producers; the window holds the whole run")
    parser.add_argument("--device", help="the device whose signals the report shows (default: most rows)")
    parser.add_argument("--json", type=Path, help="where to write the summary")
    parser.add_argument(
        "--load",
        type=Path,
        help="JSON of the run so far: by_producer, slo, latency, accounting; - for standard input, read when "
        "Spark is up",
    )
    parser.add_argument("--margin", type=float, default=60.0, help="minutes around the window to look for objects in")
    parser.add_argument("--cores", type=int, help="cores of a local session (default: all)")
    parser.add_argument("--allow-broken", action="store_true", help="exit 0 although objects or rows were broken")
    chosen = parser.parse_args(argv)
    if chosen.start >= chosen.end:
        parser.error(f"--from {chosen.start.isoformat()} is not before --to {chosen.end.isoformat()}")
    return chosen


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO 8601 time, such as 2026-05-01T12:00:00Z") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_load(path: Path | None) -> dict[str, Any]:
    """What the caller knows of the run. Raises `UsageError` when that is no JSON object."""
    if path is None:
        return {}
    try:
        load = json.loads(sys.stdin.read() if path == _STANDARD_INPUT else path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"--load {path}: {error}") from error
    if not isinstance(load, dict) or not isinstance(load.get("by_producer", {}), dict):
        raise UsageError(f"--load {path}: an object is required, and in it by_producer as an object")
    return load


class Clock:
    """Measures the steps of the job, in seconds, and says what each took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begin, 2)
        log.info("%s: %.1f s", name, self.seconds[name])


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Does the analysis and returns the summary. Raises `AnalysisError`."""
    # A file is judged before Spark takes its seconds to start; whoever writes to standard input has them meanwhile.
    load = read_load(chosen.load) if chosen.load != _STANDARD_INPUT else None
    clock = Clock()
    with clock.step("session"):
        spark = session.session("fleetstream analysis", chosen.cores)
    try:
        if load is None:
            load = read_load(chosen.load)
        with Output(spark, chosen.output) as output:
            summary = _analyze(spark, chosen, load, output, clock)
    finally:
        spark.stop()
    if chosen.json:
        _write_whole(chosen.json, json.dumps(summary, indent=2) + "\n")
    return summary


def _analyze(
    spark: SparkSession, chosen: argparse.Namespace, load: dict[str, Any], output: Output, clock: Clock
) -> dict[str, Any]:
    hours = objects.hours_to_read(chosen.start, chosen.end, timedelta(minutes=chosen.margin))
    with clock.step("list"):
        archived = objects.list_hours(spark, address(chosen.archive), *hours)
        failed = objects.Listing([], [])
        if chosen.errors:
            failed = objects.list_error_hours(spark, address(chosen.errors), *hours)
    if not archived.objects and not archived.foreign:
        raise AnalysisError(
            f"{chosen.archive}: no objects in the hours {hours[0]:%Y-%m-%d %H} to {hours[1]:%Y-%m-%d %H} UTC; "
            "check --archive, --from and --to"
        )
    with clock.step("read"):
        archive = reading.read(spark, archived.objects, chosen.start, chosen.end, chosen.run)
        dead, broken_dead = dead_letters.read(spark, failed.objects, chosen.run)
    broken = [asdict(item) for item in (*archived.foreign, *archive.broken, *failed.foreign, *broken_dead)]
    quarantined = sum(item.lines - item.messages for item in archive.objects)
    refused = parsing.quarantine(archive.rows)
    with clock.step("tables"):
        counted = job.attempts(spark, load.get("by_producer", {}))
        tables = job.compute(archive, dead, counted, whole_run=chosen.run is not None)
        device = _device(chosen.device, tables["devices"].rows)
        series = job.series(archive, device)
        first = refused.select("object", "reason").limit(_SAMPLE).collect() if quarantined else []
    with clock.step("write"):
        for name, table in tables.items():
            output.add_table(name, table.rows, table.schema)
        if quarantined:
            output.add_quarantine(refused)
        output.publish()
    with clock.step("report"):
        analysis = digest.digest(
            {name: table.rows for name, table in tables.items()},
            window=(chosen.start, chosen.end),
            run=chosen.run,
            device=device,
            series=series,
            broken=broken,
            quarantined=quarantined,
            quarantine_sample=[row.asDict() for row in first],
        )
        data = output.put("analysis.json", json.dumps(analysis).encode())
        page = output.put("report.html", report.page(analysis, load).encode())
    return _summary(chosen, load, tables, archive, broken, quarantined, output, clock) | {
        "analysis": data,
        "report": page,
    }


def _device(wanted: str | None, devices: list[job.Row]) -> str | None:
    busiest = job.busiest_device(devices)
    if wanted is None or any(row["device"] == wanted for row in devices):
        return wanted or busiest
    log.warning("--device %s has no message in the window; the report shows %s", wanted, busiest)
    return busiest


def _summary(
    chosen: argparse.Namespace,
    load: dict[str, Any],
    tables: dict[str, job.Table],
    archive: reading.Archive,
    broken: list[dict[str, Any]],
    quarantined: int,
    output: Output,
    clock: Clock,
) -> dict[str, Any]:
    totals = tables["totals"].rows[0]
    messages = sum(item.messages for item in archive.objects)
    return {
        **{name: totals[name] for name in ("rows", "messages", "duplicates", "devices", "producers", "windows")},
        "lost": sum(row["lost"] for row in tables["producers"].rows),
        "lost_measured_by": "acknowledged" if load.get("by_producer") else "sequence numbers",
        "missing": sum(row["missing"] for row in tables["producers"].rows),
        "reordered": sum(row["reordered"] for row in tables["devices"].rows),
        "missing_offsets": sum(row["missing"] for row in tables["partitions"].rows),
        "dead_lettered": sum(row["records"] for row in tables["dead_letters"].rows),
        "rows_outside": messages - totals["rows"],
        "objects": len(archive.objects),
        "broken_objects": broken,
        "quarantined": quarantined,
        "legs_ms": {
            row["leg"]: {"p50": row["p50_ms"], "p99": row["p99_ms"], "max": row["max_ms"]}
            for row in tables["legs"].rows
        },
        "window": {"from": chosen.start.isoformat(), "to": chosen.end.isoformat(), "run": chosen.run},
        "tables": {name: {"rows": len(table.rows)} for name, table in tables.items()},
        "output": output.root,
        "seconds": clock.seconds,
        "passed": not broken and not quarantined,
    }


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as error:
        raise AnalysisError(f"--json {path}: {error}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """0: done; 1: failed, or done but objects or rows were broken; 2: wrong use."""
    chosen = arguments(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("py4j").setLevel(logging.WARNING)
    # As an exception, a polite end runs the clean-up: no half-written folder and no scratch space remains.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        summary = run(chosen)
    except UsageError as error:
        log.error("%s", error)
        return 2
    except AnalysisError as error:
        log.error("%s", error)
        return 1
    except (Py4JJavaError, PySparkException) as error:
        log.error("Spark gave up: %s", str(error).strip().split("\n\tat ")[0])
        return 1
    for item in summary["broken_objects"]:
        log.warning("broken object %s: %s", item["object"], item["reason"])
    if summary["quarantined"]:
        log.warning("%d rows break the contract, see %s/quarantine", summary["quarantined"], summary["output"])
    log.info("%d rows of %d devices, report: %s", summary["rows"], summary["devices"], summary["report"])
    return 0 if summary["passed"] or chosen.allow_broken else 1


if __name__ == "__main__":
    sys.exit(main())
