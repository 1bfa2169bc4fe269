"""The page is whole, self-contained and honest about what was not measured."""

import json
import re
import subprocess
import sys
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from analytics import charts, digest, figures, report
from analytics.errors import AnalysisError

BEGIN = datetime(2026, 5, 1, 12, 0)


def analysis() -> dict[str, Any]:
    """A small `analysis.json`, through the function that makes it."""
    seconds = [
        {"at": BEGIN + timedelta(seconds=n), "due": 100, "broker": 99, "stream": 90, "archive": 10} for n in range(5)
    ]
    return digest.digest(
        {
            "totals": [{"rows": 500, "messages": 499, "duplicates": 1, "devices": 1, "windows": 1}],
            "objects": [{"object": "s3a://b/o.gz", "bytes": 12_345, "lines": 503, "messages": 500}],
            "legs": [{"leg": "due to sent", "count": 499, "p50_ms": 0.1, "p99_ms": 0.2, "max_ms": 1234.5}],
            "service_levels": [],
            "producers": [
                {"producer": "r-00", "rows": 500, "messages": 499, "duplicates": 1, "missing": 1, "dead_lettered": 0,
                 "attempted": 500, "acked": 500, "lost": 1}
            ],
            "devices": [
                {"device": "<car>", "rows": 500, "messages": 499, "duplicates": 1, "missing": 1, "reordered": 0,
                 "first_event": BEGIN, "last_event": BEGIN + timedelta(seconds=4)}
            ],
            "device_signals": [
                {"device": "<car>", "signal": "engine_rpm", "count": 499, "mean": 801.23456, "min": 0.0, "p50": 800.0,
                 "max": 2500.0, "stddev": 3.0, "last": 799.0}
            ],
            "partitions": [
                {"partition": 0, "rows": 500, "offsets": 499, "delivered_again": 1, "first_offset": 0,
                 "last_offset": 499, "missing": 1}
            ],
            "offset_gaps": [{"partition": 0, "first_missing": 17, "last_missing": 17, "offsets": 1}],
            "dead_letters": [{"error_code": "Lambda.Failed", "error_message": "no", "records": 2, "messages": 1}],
            "throughput_seconds": seconds,
        },
        window=(BEGIN, BEGIN + timedelta(minutes=1)),
        run="r",
        device="<car>",
        series=[
            {"signal": name, "at": BEGIN + timedelta(seconds=n), "mean": value * n, "min": 0.0, "max": value * n + 1}
            for name, value in (("engine_rpm", 700.0), ("own_signal", 1.0))
            for n in range(5)
        ],
        broken=[{"object": "s3a://b/cut.gz", "reason": "truncated: the compressed data ends before its end mark"}],
        quarantined=3,
        quarantine_sample=[{"object": "s3a://b/o.gz", "reason": "not JSON: <b>"}],
    )  # fmt: skip


def run() -> dict[str, Any]:
    return {
        "environment": "sandbox",
        "seed": 7,
        "started": "2026-05-01T12:00:00Z",
        "seconds": 61.25,
        "messages": {"attempted": 500, "archived": 499, "lost": 1, "duplicates": 1},
        "rate": {"produced": 99.6},
        "latency_ms": {"p50": 0.31, "p99": 0.9, "p99_6": 1.0, "p99_9": 3.0, "max": 12_345.0, "share_le_1ms": 0.99999},
        "slo": [
            {"name": "p99 latency", "required": "< 10 ms", "measured": "0.9 ms", "passed": True},
            {"name": "lost", "required": "0", "measured": 1, "passed": False},
            {"name": "offsets", "required": "all", "measured": None, "passed": None},
        ],
        "passed": False,
        "latency": {
            "percentiles": [[0, 0.1], [50, 0.31], [99, 0.9], [99.9, 3.0], [100, 12_345.0]],
            "per_second": [{"second": n, "count": 100, "p50": 0.3, "p99": 0.9, "max": 2.0} for n in range(4)],
            "limits": [{"ms": 10, "label": "required: 10 ms"}],
        },
        "accounting": [{"hop": "attempted", "messages": 500, "holds": True, "note": None}],
        "settings": {"rate": 100, "kafka": {"acks": "all"}},
    }


class Page(HTMLParser):
    """Checks that elements are closed in order, and collects text, ids and addresses."""

    VOID = frozenset({"meta", "br", "path", "rect", "link", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [value for name in ("src", "href") if (value := found.get(name))]
        if tag == "section":
            self.sections.append(str(found["id"]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.VOID

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID or (self.open and self.open[-1] == tag):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


SECTIONS = ["levels", "latency", "throughput", "loss", "objects", "devices", "drill", "settings"]


def test_the_whole_page() -> None:
    html = report.page(analysis(), run())
    page = Page(html)
    assert page.sections == SECTIONS
    assert page.addresses == []
    assert not re.search(r"https?://|@import|url\(|<script", html)
    assert "1 of 3 service levels was missed, 1 not measured" in page.text
    for words in (
        "✗ missed", "✓ passed", "500 attempted by the producers", "0.9 ms", "99.99 %", "12.3 s",
        "truncated: the compressed data", "3 lines in quarantine", "not JSON: <b>", "12.3 kB", "Engine RPM",
        "0 to 2,801 rpm", "801.2", "<car>", "Kafka.acks", "partition 0 offsets 17",
        "Lambda.Failed",
    ):  # fmt: skip
        assert words in page.text, words
    assert "<car>" not in html
    assert html.count("<svg") == 6


@pytest.mark.parametrize(
    "given", [{}, {"slo": [], "latency": {}, "accounting": [], "latency_ms": None, "rate": None}]
)
def test_missing_parts_are_shown_as_not_measured(given: dict[str, Any]) -> None:
    page = Page(report.page({}, given))
    assert page.sections == SECTIONS
    assert "Service levels were not measured" in page.text
    assert page.text.count("Not measured in this run.") == 10
    assert page.text.count("not measured") >= 7
    assert "None" not in page.text


@pytest.mark.parametrize("part", sorted({*analysis(), *run()}))
def test_any_part_may_be_missing(part: str) -> None:
    known, ran = analysis(), run()
    known.pop(part, None)
    ran.pop(part, None)
    page = Page(report.page(known, ran))
    assert page.sections == SECTIONS
    assert "None" not in page.text


@pytest.mark.parametrize(
    ("passed", "levels", "headline"),
    [
        (True, [True, True], "All 2 service levels were met"),
        (False, [True, True], "Service levels met, but the run failed"),
        (False, [False, False], "2 of 2 service levels were missed"),
    ],
)
def test_the_headline(passed: bool, levels: list[bool], headline: str) -> None:
    slo = [{"name": "n", "required": 1, "measured": 2, "passed": level} for level in levels]
    assert headline in Page(report.page({}, {"slo": slo, "passed": passed})).text


def test_the_command_makes_the_page_again_without_spark(tmp_path: Path) -> None:
    (tmp_path / "analysis.json").write_text(json.dumps(analysis()))
    (tmp_path / "run.json").write_text(json.dumps(run()))
    code = (
        "import runpy, sys\n"
        "sys.argv[1:] = ['--analysis', 'analysis.json', '--run', 'run.json', '--output', 'r/r.html']\n"
        "try: runpy.run_module('analytics.report', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert 'pyspark' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / "r" / "r.html").read_text() == report.page(analysis(), run())


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AnalysisError, match=r"file/report\.html: the report cannot be written"):
        report.render({}, {}, tmp_path / "file" / "report.html")
    (tmp_path / "bad.json").write_text("[]")
    assert report.main(["--run", str(tmp_path / "bad.json"), "--output", str(tmp_path / "x.html")]) == 2
    assert not (tmp_path / "x.html").exists()


def test_the_data_for_the_page_is_bounded() -> None:
    gaps = [{"partition": 0, "first_missing": n, "last_missing": n, "offsets": 1} for n in range(0, 1000, 2)]
    seconds = [
        {"at": BEGIN + timedelta(seconds=10 * n), "due": 10, "broker": 1, "stream": 0, "archive": 0}
        for n in range(3000)
    ]
    tables: dict[str, list[Any]] = {"totals": [{}], "objects": [], "legs": [], "offset_gaps": gaps}
    tables |= {name: [] for name in digest.LIMITS if name not in tables} | {"throughput_seconds": seconds}
    found = digest.digest(
        tables,
        window=(BEGIN, BEGIN),
        run=None,
        device=None,
        series=[],
        broken=[],
        quarantined=0,
        quarantine_sample=[],
    )
    assert len(found["offset_gaps"]) == 100
    assert found["left_out"] == {"offset_gaps": 400}
    points, step = found["throughput"]["points"], found["throughput"]["seconds"]
    assert len(points) <= digest.THROUGHPUT_POINTS
    assert sum(point[1] for point in points) * step == pytest.approx(30_000)
    assert sum(point[2] for point in points) * step == pytest.approx(3_000)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.000123456, "0.0001235"),
        (12.0, "12"),
        (1234567.0, "1,234,567"),
        (-3.90625, "-3.906"),
        (None, figures.MISSING),
    ],
)
def test_numbers(value: Any, text: str) -> None:
    assert figures.number(value) == text


def test_axes_reach_over_their_values() -> None:
    axis = charts.logarithmic([0.0, 0.3, 47.0], figures.milliseconds)
    assert [text for _, text in axis.ticks] == ["0.1 ms", "1 ms", "10 ms", "100 ms"]
    assert [axis.place(value) for value in (0.1, 1, 10, 100, 1000, 0)] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1, 0])
    nines = charts.nines(99.9)
    assert [round(nines.place(q), 3) for q in (0, 90, 99, 99.9)] == pytest.approx([0, 0.333, 0.667, 1])
    flat = charts.linear([5.0, 5.0], str)
    assert flat.place(0) == 0
    assert flat.place(5.0) <= 1
    times = charts.clock([1_700_000_000, 1_700_000_030])
    assert 2 <= len(times.ticks) <= 5
