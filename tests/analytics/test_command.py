"""The command on a folder that looks like an archive: what it writes, what it reports by name, how it ends."""

import csv
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from archive_builders import START, line, message, object_path, run_lines, write_dead_letters, write_object
from pyspark.sql import SparkSession

from analytics.__main__ import main
from analytics.output import Output

pytestmark = pytest.mark.xdist_group("spark")

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = ROOT.parent / "shared" / "data" / "obd"

BREAKAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "not gzip": (lambda content: content, "not gzip: "),
    "truncated": (lambda content: gzip.compress(content)[:-30], "truncated: "),
    "truncated in its last bytes": (lambda content: gzip.compress(content)[:-2], "truncated: "),
    "damaged": (lambda content: gzip.compress(content)[:-8] + b"\0\0\0\0" + gzip.compress(content)[-4:], "damaged: "),
    "no bytes": (lambda content: b"", "empty: "),
    "no lines": (lambda content: gzip.compress(b""), "empty: "),
    "foreign": (lambda content: gzip.compress(b"time,level\n1,info\n"), "foreign: "),
    "undelimited": (lambda content: gzip.compress(content.replace(b"\n", b"")), "undelimited: "),
    "followed by other bytes": (lambda content: gzip.compress(content) + b"<html>", "not gzip: "),
}


@dataclass(frozen=True)
class Place:
    """Folders of one test, and the command on them."""

    root: Path

    @property
    def archive(self) -> Path:
        return self.root / "bucket" / "telemetry"

    @property
    def errors(self) -> Path:
        return self.root / "bucket" / "dead-letter"

    @property
    def output(self) -> Path:
        return self.root / "out put"

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.root / "summary.json").read_text())

    def arguments(self, *more: str) -> list[str]:
        return [
            "--archive", f"file://{self.archive}/", "--errors", str(self.errors), "--output", str(self.output),
            "--from", START.isoformat(), "--to", (START + timedelta(minutes=5)).isoformat(), "--run", "run",
            "--json", str(self.root / "summary.json"), *more,
        ]  # fmt: skip

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.output / "tables" / f"{name}.csv").open() as file:
            return list(csv.DictReader(file))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def faultless(place: Place, count: int = 1200) -> list[bytes]:
    """A run in three objects, one of them in the next hour's folder though it holds this hour's events too."""
    lines = list(run_lines(count))
    third = count // 3
    for number in range(3):
        arrival = START + timedelta(milliseconds=10 * third * number, seconds=5 * number)
        write_object(place.archive, lines[third * number : third * (number + 1)], arrival)
    return lines


def test_everything_at_once_from_the_command_line(place: Place, spark: SparkSession) -> None:
    """A run with losses, copies, dead letters, refused lines and every kind of broken object, as a program."""
    lines = faultless(place)
    broken = {}
    for name, (damage, reason) in BREAKAGE.items():
        path = object_path(place.archive, START)
        path.write_bytes(damage(b"".join(item + b"\n" for item in lines[:50])))
        broken[f"file://{path}"] = (name, reason)
    readme = place.archive / "README.txt"
    readme.write_text("by hand")
    broken[f"file://{readme}"] = ("beside the folders", "foreign: ")
    refused = write_object(
        place.archive, [lines[0], b"{}", lines[1] + lines[2], line(producer="other-00", offset=700)]
    )
    # Of producer run-00 the numbers from 800 on never arrived, and two of them were refused on the way.
    write_dead_letters(place.errors, [message(seq=800), message(seq=801), b"poison", message(producer="other-01")])
    letters = object_path(place.errors / "processing-failed", START, suffix="")
    letters.write_text("not an error record")
    broken[f"file://{letters}"] = ("a foreign dead letter", "foreign: ")
    load = {
        "by_producer": {"run-00": {"attempted": 810, "acked": 807}, "run-01": {"attempted": 400, "acked": 400}},
        "slo": [{"name": "lost messages", "required": 0, "measured": 5, "passed": False}],
    }

    done = subprocess.run(
        [sys.executable, "-m", "analytics", *place.arguments("--load", "-")], input=json.dumps(load),
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    summary = place.summary
    reported = {item["object"]: item["reason"] for item in summary["broken_objects"]}
    assert set(reported) == set(broken)
    for path, (name, reason) in broken.items():
        assert reported[path].startswith(reason), name
        assert path in done.stderr
    assert summary["quarantined"] == 2
    assert (summary["rows"], summary["messages"], summary["duplicates"]) == (1201, 1200, 1)
    assert (summary["rows_outside"], summary["objects"], summary["devices"]) == (1, 4, 3)
    assert (summary["windows"], summary["dead_lettered"], summary["lost"]) == (2, 3, 5)
    assert summary["legs_ms"]["due to gate"] == {"p50": 50.0, "p99": 50.0, "max": 50.0}
    assert not summary["passed"]

    quarantined = [
        json.loads(text)
        for part in sorted((place.output / "quarantine").glob("*.json"))
        for text in part.read_text().splitlines()
    ]
    assert {item["object"] for item in quarantined} == {f"file://{refused}"}
    assert {item["line"] for item in quarantined} == {"{}", (lines[1] + lines[2]).decode()}
    assert any("more than one record" in item["reason"] for item in quarantined)
    assert [
        (row["producer"], row["messages"], row["dead_lettered"], row["lost"]) for row in place.table("producers")
    ] == [
        ("run-00", "800", "2", "5"),
        ("run-01", "400", "0", "0"),
    ]
    assert place.table("offset_gaps")[0]["first_missing"] == "600"
    assert sorted(path.name for path in place.output.iterdir()) == [
        "analysis.json", "quarantine", "report.html", "tables"
    ]  # fmt: skip
    for name, count in summary["tables"].items():
        frame = spark.read.parquet(f"file://{place.output}/tables/{name}.parquet")
        written = place.table(name)
        assert frame.count() == len(written) == count["rows"]
        assert not written or list(written[0]) == frame.columns
    page = (place.output / "report.html").read_text()
    assert "1 of 1 service levels was missed" in page
    assert "truncated: the compressed data ends" in page


def test_a_faultless_archive_ends_with_0(place: Place, shared_session: SparkSession) -> None:
    faultless(place)
    assert main(place.arguments()) == 0
    summary = place.summary
    assert (summary["rows"], summary["lost"], summary["missing_offsets"], summary["reordered"]) == (1200, 0, 0, 0)
    assert summary["passed"]
    assert summary["report"] == f"file://{place.output}/report.html"
    assert json.loads((place.output / "analysis.json").read_text())["device"]["name"] == "car0"


def test_broken_things_can_be_allowed(place: Place, shared_session: SparkSession) -> None:
    lines = faultless(place, 30)
    object_path(place.archive, START).write_bytes(b"broken")
    assert main(place.arguments("--allow-broken", "--device", "car2")) == 0
    assert len(place.summary["broken_objects"]) == 1
    assert (place.summary["rows"], place.summary["passed"]) == (len(lines), False)
    assert json.loads((place.output / "analysis.json").read_text())["device"]["name"] == "car2"


def test_results_of_an_earlier_run_are_replaced_whole(
    place: Place, shared_session: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    faultless(place, 30)
    refused = write_object(place.archive, [line(), b"{}"])
    assert main(place.arguments()) == 1
    assert (place.output / "quarantine").is_dir()
    before = place.table("objects")
    refused.unlink()

    # The next run dies while it writes: what is there stays as it was, and no half-written folder remains.
    with monkeypatch.context() as patch:
        patch.setattr(Output, "publish", lambda self: sys.exit(143))
        with pytest.raises(SystemExit):
            main(place.arguments())
    assert place.table("objects") == before
    assert not list(place.output.glob("_writing*"))

    assert main(place.arguments()) == 0
    assert len(place.table("objects")) == len(before) - 1
    assert not (place.output / "quarantine").exists()


def test_an_archive_without_objects_in_the_window(
    place: Place, shared_session: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    write_object(place.archive, [line()], START + timedelta(hours=3))
    assert main(place.arguments()) == 1
    assert "no objects in the hours 2026-05-01 11 to 2026-05-01 14 UTC; check --archive" in caplog.text
    assert not (place.root / "summary.json").exists()


def test_only_broken_objects_still_make_a_report(place: Place, shared_session: SparkSession) -> None:
    object_path(place.archive, START).write_bytes(b"")
    assert main(place.arguments()) == 1
    assert (place.summary["rows"], place.summary["lost"], len(place.summary["broken_objects"])) == (0, 0, 1)
    assert "empty: the object has no bytes" in (place.output / "report.html").read_text()


def test_an_output_that_cannot_be_written_is_said_before_the_work(
    place: Place, shared_session: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    faultless(place, 30)
    place.output.write_text("a file in its place")
    assert main(place.arguments()) == 1
    assert f"{place.output}: cannot be written" in caplog.text
    assert place.output.read_text() == "a file in its place"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--from", "yesterday"], "'yesterday' is no ISO 8601 time"),
        (["--to", START.isoformat()], "is not before"),
        (["--unknown"], "unrecognized arguments"),
    ],
)
def test_wrong_use(place: Place, capsys: pytest.CaptureFixture[str], more: list[str], words: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(place.arguments(*more))
    assert end.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "{", "[]", '{"by_producer": 3}'])
def test_a_load_that_is_no_object_is_wrong_use(place: Place, content: str | None) -> None:
    load = place.root / "load.json"
    if content is not None:
        load.write_text(content)
    assert main(place.arguments("--load", str(load))) == 2


def test_a_caller_that_goes_without_a_load_ends_the_job(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    spark = Mock()
    monkeypatch.setattr("analytics.session.session", lambda *_: spark)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(place.arguments("--load", "-")) == 2
    spark.stop.assert_called_once()
    assert not place.output.exists()


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recorded drives are not beside this repository")
def test_recorded_drives_have_the_statistics_that_python_counts(place: Place, shared_session: SparkSession) -> None:
    rows: dict[str, list[dict[str, float]]] = {}
    for path in sorted(RECORDINGS.glob("idle*.csv")):
        with path.open() as file:
            header, *data = csv.reader(file)
        names = [name.split("(")[0].strip().lower() for name in header]
        rows[path.stem] = [
            {name: float(value) for name, value in zip(names, values, strict=False)} for values in data[:200]
        ]
    lines = [
        line(producer=f"run-{number:02d}", seq=seq, device=device, signals=signals, partition=number, offset=seq)
        for number, (device, found) in enumerate(rows.items())
        for seq, signals in enumerate(found)
    ]
    write_object(place.archive, lines)
    assert main(place.arguments()) == 0
    table = place.table("device_signals")
    assert len(table) == sum(len(found[0]) for found in rows.values())
    for row in table:
        values = [signals[row["signal"]] for signals in rows[row["device"]]]
        assert int(row["count"]) == len(values)
        assert (float(row["min"]), float(row["max"])) == (min(values), max(values))
        assert float(row["mean"]) == pytest.approx(sum(values) / len(values), abs=1e-9)
        assert float(row["p50"]) == sorted(values)[(len(values) - 1) // 2]
        assert float(row["last"]) == values[-1]
