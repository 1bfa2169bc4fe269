"""The consumer's core: what it counts is the same wherever the messages come from, a poll or a function's event."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services import contract
from services.consumer import events
from services.consumer.events import Place
from services.consumer.tally import Tally
from services.errors import ServiceError

EVENT = Path(__file__).parents[2] / "data" / "events" / "msk.json"
NOW_US = 1_764_000_000_000_000


def message(seq: int, due_us: int) -> bytes:
    tail = contract.tail("truck-1", {"speed": 1.0})
    return contract.stamp(contract.head("p0"), tail, seq, seq, due_us, due_us, due_us)


def event(partitions: dict[str, list[bytes | None]]) -> dict[str, Any]:
    """An event as AWS documents it, with these values from offset 100 on."""
    made: dict[str, Any] = json.loads(EVENT.read_text())
    (template,) = made["records"]["telemetry-0"]
    made["records"] = {
        name: [
            template
            | {"offset": 100 + at, "value": None if value is None else b64encode(value).decode(), "partition": at}
            for at, value in enumerate(values)
        ]
        for name, values in partitions.items()
    }
    return made


def test_a_tally_counts_what_it_can_read() -> None:
    tally = Tally()
    (broken,) = tally.add([message(0, 1_000_000), b"{}"], 1_003_000)
    assert broken.place == 1
    assert tally.add([message(1, 1_000_000)], 999_000) == []
    told = tally.report()
    assert (told["messages"], told["unreadable"]) == (2, 1)
    assert told["latency_ms"]["max"] == pytest.approx(3.0)


VALUES = st.one_of(
    st.builds(lambda seq, late: message(seq, NOW_US - late), st.integers(0, 10**6), st.integers(0, 10**6)),
    st.binary(max_size=40),
)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(["telemetry-0", "telemetry-1", "a-b-2"]), st.lists(VALUES, max_size=6)))
def test_an_event_is_counted_as_what_was_polled(partitions: dict[str, list[bytes | None]]) -> None:
    polled = Tally()
    broken = {
        Place(name, 100 + at)
        for name, values in partitions.items()
        for at, value in enumerate(values)
        if polled.add([value or b""], NOW_US)
    }
    counted = events.count(event(partitions), NOW_US)
    assert counted.tally.report() == polled.report()
    assert {place for place, _ in counted.unreadable} == broken


def test_what_cannot_be_read_is_named_in_the_answer() -> None:
    made = event({"telemetry-3": [message(0, NOW_US), None, b"no message"]})
    made["records"]["telemetry-4"] = [made["records"]["telemetry-3"][0] | {"value": "no base64!", "offset": 7}]
    counted = events.count(made, NOW_US + 2_000)
    assert counted.tally.messages == 1
    assert counted.failures() == {
        "batchItemFailures": [
            {"itemIdentifier": {"partition": "telemetry-3", "offset": 101}},
            {"itemIdentifier": {"partition": "telemetry-3", "offset": 102}},
            {"itemIdentifier": {"partition": "telemetry-4", "offset": 7}},
        ]
    }
    assert all(reason for _, reason in counted.unreadable)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({}, "not an event of MSK"),
        ({"eventSource": "aws:sqs", "records": {}}, "'aws:sqs'"),
        ({"eventSource": "aws:kafka", "records": []}, "its records a list"),
        ({"eventSource": "aws:kafka", "records": {"telemetry-0": [{"value": ""}]}}, "a record of telemetry-0"),
        ({"eventSource": "aws:kafka", "records": {"telemetry-0": ["x"]}}, "a record of telemetry-0"),
    ],
)
def test_what_is_no_event_is_refused(made: dict[str, Any], words: str) -> None:
    with pytest.raises(ServiceError, match=words):
        events.count(made, NOW_US)
