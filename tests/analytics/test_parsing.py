"""Lines become rows exactly when the contract says so."""

import json
from datetime import timedelta
from typing import Any

import pytest
from archive_builders import START, line
from pyspark.sql import SparkSession

from analytics import parsing
from analytics.frames import frame
from analytics.schema import ARCHIVE_LEG, LINES, ROWS
from services import contract

pytestmark = pytest.mark.xdist_group("spark")


def changed(**fields: Any) -> bytes:
    """A good line with other fields; a field that is None is left out."""
    content = json.loads(line())
    for name, value in fields.items():
        place, key = (content["archive"], name[8:]) if name.startswith("archive_") else (content, name)
        if value is None:
            del place[key]
        else:
            place[key] = value
    return json.dumps(content).encode()


GOOD = {
    "as stamped": line(),
    "spaces and another order": json.dumps(dict(reversed(json.loads(line()).items())), indent=None).encode() + b" \r",
    "no signals": line(signals={}),
    "a field of a later minor version": changed(extra={"a": [1, 2]}),
    "names that need escapes": changed(device='car "7" }{ ü'),
    "whole numbers as signals": changed(signals={"engine_rpm": 800, "negative": -1e-9}),
    "a braces' pair inside a name": changed(signals={"}{": 1.0}),
}

BAD = {
    "blank": b"",
    "white space": b"   ",
    "text": b"hello",
    "a number": b"12",
    "null": b"null",
    "a list": b"[]",
    "an empty object": b"{}",
    "cut off": line()[:-20],
    "joined records": line() + line(seq=1),
    "joined by a comma": line() + b"," + line(seq=1),
    "followed by text": line() + b" trailing",
    "closing too often": line() + b"}",
    "another version": changed(v=2),
    "no version": changed(v=None),
    "producer missing": changed(producer=None),
    "producer empty": changed(producer=""),
    "producer a number": changed(producer=12),
    "device an object": changed(device={"name": "car"}),
    "seq negative": changed(seq=-1),
    "seq a text": changed(seq="1"),
    "seq a fraction": changed(seq=1.5),
    "seq true": changed(seq=True),
    "event_us missing": changed(event_us=None),
    "signals missing": changed(signals=None),
    "signals a list": changed(signals=[1]),
    "a signal as text": changed(signals={"engine_rpm": "800"}),
    "a signal as the text NaN": changed(signals={"engine_rpm": "NaN"}),
    "a signal true": changed(signals={"engine_rpm": True}),
    "a signal null": line().replace(b"800.0", b"null"),
    "a signal NaN": line().replace(b"800.0", b"NaN"),
    "a signal infinite": line().replace(b"800.0", b"-Infinity"),
    "a signal too large": line().replace(b"800.0", b"1e999"),
    "not UTF-8": line().replace(b"car1", b"car\xff"),
}

BAD_LEG = {
    "no archive leg": changed(archive=None),
    "archive a number": changed(archive=3),
    "partition missing": changed(archive_partition=None),
    "offset negative": changed(archive_offset=-1),
    "gate_us a text": changed(archive_gate_us="soon"),
}


@pytest.fixture(scope="module")
def judged(spark: SparkSession) -> dict[str, Any]:
    """Every line's row, by its name in the tables above, through one file as Spark reads it."""
    named = {**GOOD, **BAD, **BAD_LEG}
    binary = spark.createDataFrame(
        [(name, bytearray(value)) for name, value in named.items()], "object string, b binary"
    )
    lines = binary.selectExpr("object", "cast(b as string) as value")
    rows = parsing.parse_lines(lines)
    assert rows.schema.names == ROWS.names
    assert [field.dataType for field in rows.schema] == [field.dataType for field in ROWS]
    return {row["object"]: row for row in rows.collect()}


@pytest.mark.parametrize("name", GOOD)
def test_a_line_that_keeps_the_contract_is_a_row(judged: dict[str, Any], name: str) -> None:
    row, expected = judged[name], contract.parse(GOOD[name])
    leg = json.loads(GOOD[name])["archive"]
    assert row["ok"]
    assert row["line"] is None
    for field in ("producer", "seq", "device_seq", "event_us", "due_us", "sent_us", "device"):
        assert row[field] == getattr(expected, field)
    assert row["signals"] == expected.signals
    assert {field: row[field] for field in ARCHIVE_LEG.names} == leg
    assert row["run"] == "run"


@pytest.mark.parametrize("name", BAD)
def test_a_line_that_breaks_the_contract_is_refused_with_its_text(judged: dict[str, Any], name: str) -> None:
    if name not in ("not UTF-8",):
        with pytest.raises(contract.ContractError):
            contract.parse(BAD[name])
    assert not judged[name]["ok"]
    assert judged[name]["line"] == BAD[name].decode(errors="replace")


@pytest.mark.parametrize("name", BAD_LEG)
def test_a_message_without_the_archives_leg_is_refused(judged: dict[str, Any], name: str) -> None:
    assert contract.parse(BAD_LEG[name]).producer == "run-00"
    assert not judged[name]["ok"]
    assert parsing.explain(judged[name]["line"]).startswith("archive")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("blank", "an empty line"),
        ("text", "not JSON"),
        ("joined records", "more than one record on a line"),
        ("another version", "v: version 2 is unknown"),
        ("producer a number", "producer: a non-empty string is required, found 12"),
        ("a signal as text", "signals.engine_rpm: a finite number is required"),
        ("seq negative", "seq: a whole number from 0 is required, found -1"),
    ],
)
def test_the_reason_is_in_the_contracts_words(name: str, words: str) -> None:
    assert words in parsing.explain(BAD[name].decode())


def test_a_number_that_fits_no_column_is_explained(spark: SparkSession) -> None:
    text = changed(seq=2**64).decode()
    lines = frame(spark, [{"object": "o", "value": text}], LINES)
    refused = parsing.quarantine(parsing.parse_lines(lines)).collect()
    assert [(row["object"], row["line"]) for row in refused] == [("o", text)]
    assert "64 bits" in refused[0]["reason"]


def test_inside_is_by_event_time_and_run(spark: SparkSession) -> None:
    values = [
        line(seq=0),
        line(seq=1, due=START - timedelta(microseconds=1)),
        line(seq=2, due=START + timedelta(seconds=9.999999)),
        line(seq=3, due=START + timedelta(seconds=10)),
        line(seq=4, producer="run-1-00"),
        line(seq=5, producer="run-12"),
    ]
    lines = frame(spark, ({"object": "o", "value": value.decode()} for value in values), LINES)
    rows = parsing.mark_inside(parsing.parse_lines(lines), START, START + timedelta(seconds=10), "run")
    assert {row["seq"]: (row["inside"], row["signals"] is not None) for row in rows.collect()} == {
        0: (True, True),
        1: (False, False),
        2: (True, True),
        3: (False, False),
        4: (False, False),
        5: (True, True),
    }


def test_the_first_arrival_is_the_original_and_the_rest_are_copies(spark: SparkSession) -> None:
    values = [
        line(seq=0, offset=9, arrival_ms=30),
        line(seq=0, offset=3, arrival_ms=20),
        line(seq=0, offset=3, arrival_ms=25),
        line(seq=1, offset=4),
        line(seq=0, producer="run-01", offset=5),
    ]
    lines = frame(spark, ({"object": "o", "value": value.decode()} for value in values), LINES)
    marked = parsing.mark_copies(parsing.parse_lines(lines)).collect()
    assert sorted((row["producer"], row["seq"], row["offset"], row["copy"]) for row in marked) == [
        ("run-00", 0, 3, 1),
        ("run-00", 0, 3, 2),
        ("run-00", 0, 9, 3),
        ("run-00", 1, 4, 1),
        ("run-01", 0, 5, 1),
    ]
