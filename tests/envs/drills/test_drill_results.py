"""What a drill leaves: a timeline that threads share, a verdict, a page that needs nothing from outside."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from analytics import lanes, report
from envs.drills import catalogue
from envs.drills.result import Result, table
from envs.drills.timeline import Event, Kind, Timeline
from envs.errors import UsageError

EVENTS = (
    Event(0.0, "seed-0", "Up", Kind.STATUS),
    Event(0.0, "worker-10", "Up", Kind.STATUS),
    Event(0.0, "worker-2", "Up", Kind.STATUS),
    Event(1.0, "drill", "the workers' group: 2 -> <1>", Kind.ACT),
    Event(2.0, "worker-2", "Disabling (RemoveNode)", Kind.STATUS),
    Event(4.0, "worker-2", "gone", Kind.STATUS),
)
RESULT = Result(
    drill="scale-in",
    shows="workers leave",
    environment="sandbox",
    started=datetime(2026, 5, 1, 12, tzinfo=UTC),
    seconds=8.0,
    reasons=(),
    figures={"removed": 1, "seconds_a_node_max": 2.25, "messages": {"attempted": 5000, "lost": 0}},
    events=EVENTS,
)


def test_entries_of_many_threads_are_in_the_order_of_their_times() -> None:
    timeline = Timeline()

    def write(number: int) -> None:
        for entry in range(200):
            timeline.note(f"n{number}", str(entry))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    events = timeline.events
    assert len(events) == 800
    assert [event.at for event in events] == sorted(event.at for event in events)


def test_a_result_is_written_as_json_and_as_a_page_of_its_own(tmp_path: Path) -> None:
    page = RESULT.write(tmp_path).read_text()
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["passed"]
    assert content["timeline"][3] == {
        "at": 1.0, "subject": "drill", "text": "the workers' group: 2 -> <1>", "kind": "act",
    }  # fmt: skip
    assert "scale-in passed" in page
    assert "<1>" not in page
    assert "5,000" in page
    for outside in ('src="', 'href="', "@import", "url("):
        assert outside not in page


def test_a_drill_with_a_reason_has_failed_and_says_it_everywhere(tmp_path: Path) -> None:
    failed = replace(RESULT, reasons=("worker-2 is a zombie: Down",))
    assert not failed.passed
    page = failed.write(tmp_path).read_text()
    assert "scale-in failed" in page
    assert "worker-2 is a zombie: Down" in page
    assert [*table([failed]).columns[4].cells] == ["worker-2 is a zombie: Down"]


def test_lanes_are_one_a_node_seeds_first_and_end_where_a_node_is_gone() -> None:
    drawn = str(lanes.lanes([event.__dict__ for event in EVENTS], 8.0))
    order = [drawn.index(f"<b>{name}</b>") for name in ("seed-0", "worker-2", "worker-10")]
    assert order == sorted(order)
    assert 'class="moving" style="left:25.000%;width:25.000%"' in drawn
    assert 'class="up" style="left:0.000%;width:100.000%"' in drawn
    assert "gone" not in drawn
    assert lanes.lanes([], 8.0) is None


def test_every_drill_of_the_catalogue_has_a_name_of_its_own() -> None:
    names = [drill.name for drill in catalogue.DRILLS]
    assert len(set(names)) == len(names) == 10
    assert catalogue.chosen("all") == catalogue.DRILLS
    assert [drill.name for drill in catalogue.chosen("seed-loss")] == ["seed-loss"]


@pytest.mark.parametrize(("name", "told"), [("scale-inn", "did you mean scale-in?"), ("nothing", "drill list")])
def test_a_drill_that_does_not_exist_is_wrong_use(name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("?", r"\?")):
        catalogue.chosen(name)


def test_the_runs_report_has_the_drill_or_says_that_it_was_not_reached() -> None:
    levels: dict[str, Any] = {"slo": [{"name": "x", "required": "0", "measured": 0, "passed": True}]}
    assert "worker-10" in report.page({}, levels | {"drill": RESULT.as_json()})
    assert "worker-10" not in report.page({}, levels)
