"""Runs the Spark job over a run's messages, and the report over everything that was found."""

import contextlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from analytics import report
from envs import project, toolchain
from envs.errors import FleetstreamError
from envs.measurement import Measured
from envs.summary import REQUIRED_MAX_MS, REQUIRED_P99_MS, Summary
from services.accounting import Hop
from services.simulator.result import LoadResult

_PERCENTILES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.6, 99.8, 99.9, 99.95, 99.99, 100)


class SparkJob:
    """The Spark job over one run's messages: it starts with the block, and ends with it at the latest.

    A session takes seconds to start, in which the archive fills: `result` tells it to begin.
    """

    def __init__(self, outputs: dict[str, Any], run_id: str, load: LoadResult, folder: Path) -> None:
        self._load = load
        self._found = folder / "analysis.json"
        self._log = folder / "analysis.log"
        bucket = outputs["archive_bucket"]
        # A message is part of the run by its producer's name; the window only has to be wide enough.
        start = datetime.fromtimestamp(load.due_first_us / 1e6, UTC) - timedelta(minutes=1)
        end = datetime.fromtimestamp(load.due_last_us / 1e6, UTC) + timedelta(minutes=1)
        self._argv = [
            *(sys.executable, "-m", "analytics"),
            *("--archive", f"s3a://{bucket}/{outputs['archive_prefix']}"),
            *("--errors", f"s3a://{bucket}/{outputs['archive_error_prefix']}"),
            *("--output", str(folder / "analysis"), "--run", run_id, "--load", "-", "--json", str(self._found)),
            *("--from", start.isoformat(), "--to", end.isoformat()),
        ]

    def __enter__(self) -> Self:
        jars = ",".join(str(jar) for jar in toolchain.find().s3a_jars)
        with self._log.open("wb") as output:
            # In a session of its own: a Ctrl-C reaches this process, which then ends the job and its JVM.
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "FLEETSTREAM_SPARK_JARS": jars},
                cwd=project.ROOT,
                start_new_session=True,
                text=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def result(self) -> dict[str, Any]:
        """Lets the job begin, and returns its summary.

        Broken objects and rows are in the summary. Raises `FleetstreamError` when the job itself failed.
        """
        by_producer = self._load.by_producer.items()
        counts = {name: {"attempted": one.attempted, "acked": one.acked} for name, one in by_producer}
        # A job that has ended already says in its log why.
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(json.dumps({"by_producer": counts}))
        if not self._found.exists():
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-10:])
            code = self._process.wait()
            raise FleetstreamError(f"the Spark job ended with exit code {code}. The end of {self._log}:\n{tail}")
        return json.loads(self._found.read_text())


def write_report(
    summary: Summary, measured: Measured, settings: dict[str, Any], drilled: dict[str, Any] | None, folder: Path
) -> Path:
    """Writes ``report.html`` from all that there is; what is missing is shown as not measured."""
    digest = folder / "analysis" / "analysis.json"
    page = folder / "report.html"
    content = {
        **summary.model_dump(mode="json"),
        "latency": _latency(measured),
        "accounting": _accounting(measured),
        "drill": drilled,
        "settings": {**settings, "machine": measured.machine},
    }
    report.render(json.loads(digest.read_text()) if digest.exists() else {}, content, page)
    return page


def _latency(measured: Measured) -> dict[str, Any]:
    consumed = measured.consumed
    if consumed is None or not consumed.consumed:
        return {}
    values = consumed.end_to_end.percentiles_ms(*_PERCENTILES)
    return {
        "percentiles": [list(pair) for pair in zip(_PERCENTILES, values, strict=True)],
        "per_second": [
            {"second": one.second, "count": one.count, "p50": one.p50_ms, "p99": one.p99_ms, "max": one.max_ms}
            for one in consumed.per_second
        ],
        "limits": [
            {"ms": REQUIRED_P99_MS, "label": "p99 required"},
            {"ms": REQUIRED_MAX_MS, "label": "every message required"},
        ],
    }


def _accounting(measured: Measured) -> list[dict[str, Any]]:
    account = measured.account()
    if account is None:
        return []
    rows = [
        ("producers", account.attempted, f"{account.rejected:,} rejected, {account.unknown:,} of unknown fate", 0),
        ("Kafka", account.acked, "acknowledged", account.lost.get(Hop.TO_BROKER, 0)),
    ]
    if account.consumed is not None:
        lost = account.lost.get(Hop.TO_CONSUMER, 0)
        rows.append(("consumer", account.consumed, f"{account.duplicates:,} came twice", lost))
    if account.archived is not None:
        lost = account.lost.get(Hop.TO_ARCHIVE, 0)
        note = f"{account.archive_duplicates:,} came twice, {account.dead_lettered:,} dead-lettered"
        rows.append(("archive", account.archived, note, lost))
    return [{"hop": hop, "messages": count, "of which": note, "lost here": lost} for hop, count, note, lost in rows]
