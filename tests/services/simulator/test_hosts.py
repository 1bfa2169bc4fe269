"""A load shared by hosts, and their reports put together."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounting import Hop
from services.chrony import ClockCheck
from services.connection import ConnectionSpec
from services.consumer.histogram import Distribution
from services.consumer.measure import ConsumeSpec
from services.errors import ServiceError
from services.simulator.hosts import HostReport, Measured, merge, plan
from services.simulator.load import LoadSpec
from services.simulator.source import GeneratedSource, ReplaySource

CONNECTION = ConnectionSpec(bootstrap="nowhere:1")
MEASURE = ConsumeSpec(connection=CONNECTION, topic="t", group="g", run_id="run")
KNOWN = ClockCheck(source="chrony, here", offset_us=-3, error_us=20)


def spec(**changes: Any) -> LoadSpec:
    usual = {"topic": "t", "warmup_topic": "c", "run_id": "run", "seconds": 1, "rate": 900.0}
    return LoadSpec(**{"connection": CONNECTION, "source": GeneratedSource(devices=10), **usual, **changes})


def report(number: int, **changes: Any) -> HostReport:
    name = f"runh{number:02d}-00"
    usual: dict[str, Any] = {
        "run_id": f"runh{number:02d}",
        "clock": KNOWN,
        "clock_drift_us": 1,
        "planned": 10,
        "attempted": {name: 10},
        "acked": {name: [(0, 9)]},
        "rejected": {name: []},
        "unknown": {name: []},
        "complete": True,
        "interrupted": False,
        "target_rate": 10.0,
        "produced_rate": 10.0,
        "late_max_us": number,
        "started_us": 1_000_000 + number,
        "ended_us": 2_000_000,
        "ended": {name: "done"},
        "priority": "usual",
    }
    return HostReport(**{**usual, **changes})


def measured(*latencies: int, **changes: Any) -> Measured:
    made = Distribution()
    for latency in latencies:
        made.record(latency)
    usual: dict[str, Any] = {
        "received": {"runh00-00": [(0, 9)], "runh01-00": [(0, 9)]},
        "duplicates": 0,
        "unreadable": 0,
        "drained": True,
        "legs": {"end_to_end": made.encode()},
        "negative": {},
    }
    return Measured(**{**usual, **changes})


@given(st.integers(1, 40), st.integers(0, 200))
def test_every_device_is_on_one_host_and_the_rate_is_shared(count: int, more: int) -> None:
    places = [f"i-{number}" for number in range(count)]
    tasks = plan(spec(source=GeneratedSource(devices=count + more, rows=1)), places, MEASURE)
    assert list(tasks) == places
    loads = [task.load for task in tasks.values()]
    assert sum(load.rate or 0 for load in loads) == pytest.approx(900)
    assert [load.run_id for load in loads] == [f"runh{number:02d}" for number in range(count)]
    numbers = [load.source.first + at for load in loads for at in range(load.source.devices)]  # type: ignore[union-attr]
    assert numbers == list(range(count + more))
    assert [task.measure for task in tasks.values()] == [MEASURE] + [None] * (count - 1)
    assert tasks[places[0]].peers == tuple(places[1:])


def test_a_hosts_devices_are_those_of_the_whole_fleet() -> None:
    whole = GeneratedSource(devices=4, rows=2).drives()
    assert GeneratedSource(devices=2, rows=2, first=2).drives() == whole[2:]


def test_recordings_are_dealt_out() -> None:
    tasks = plan(spec(source=ReplaySource(paths=tuple(map(Path, "abc")))), ["x", "y"], None)
    assert [task.load.source.paths for task in tasks.values()] == [(Path("a"), Path("c")), (Path("b"),)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("places", "source"),
    [
        (0, GeneratedSource(devices=10)),
        (51, GeneratedSource(devices=1000)),
        (3, GeneratedSource(devices=2)),
        (3, ReplaySource(paths=(Path("a"),))),
    ],
)
def test_what_cannot_be_shared_is_refused(places: int, source: Any) -> None:
    with pytest.raises(ServiceError):
        plan(spec(source=source), [f"i-{number}" for number in range(places)], None)


def test_reports_become_one_account() -> None:
    found = merge({"a": report(0, measured=measured(100, 200)), "b": report(1)}, ["a", "b"])
    assert (found.account.attempted, found.account.acked, found.account.consumed) == (20, 20, 20)
    assert found.account.check() == []
    assert (found.complete, found.problems) == (True, ())
    assert (found.target_rate, found.late_max_us, found.start_spread_us) == (20, 1, 1)
    assert found.end_to_end.count == 2
    assert found.largest_offset_us == 3
    # Each clock's bound and its own drift: one may be ahead, the other behind.
    assert found.error_bar_us == 2 * (20 + 1)


def test_histograms_of_several_hosts_merge_exactly() -> None:
    found = merge({"a": report(0, measured=measured(100, 5000)), "b": report(1, measured=measured(300))}, ["a", "b"])
    whole = Distribution()
    for latency in (100, 5000, 300):
        whole.record(latency)
    assert found.end_to_end.encode() == whole.encode()


def test_what_one_host_sent_and_nobody_read_is_lost() -> None:
    read = measured(100, received={"runh00-00": [(0, 9)], "runh01-00": [(0, 6)]})
    found = merge({"a": report(0, measured=read), "b": report(1)}, ["a", "b"])
    assert found.account.lost[Hop.TO_CONSUMER] == 3
    assert found.account.check() != []


def test_a_host_without_a_report_is_named_and_in_no_count() -> None:
    found = merge({"a": report(0, measured=measured(100))}, ["a", "b"])
    assert found.silent == ("b",)
    assert not found.complete
    assert (found.account.attempted, found.account.consumed) == (10, 10)
    assert found.account.check() == []
    assert any("b left no report" in problem for problem in found.problems)


def test_nothing_is_called_lost_by_a_reader_that_did_not_get_to_the_end() -> None:
    read = measured(100, received={}, drained=False)
    found = merge({"a": report(0, measured=read)}, ["a"])
    assert found.account.consumed is None
    assert any("did not read to the end" in problem for problem in found.problems)


def test_one_unknown_clock_makes_the_error_bar_unknown() -> None:
    found = merge({"a": report(0), "b": report(1, clock=ClockCheck(source="not known: no chronyc"))}, ["a", "b"])
    assert (found.error_bar_us, found.largest_offset_us) == (None, None)


def test_no_report_at_all_is_no_success() -> None:
    found = merge({}, ["a"])
    assert not found.complete
    assert found.account.attempted == 0
