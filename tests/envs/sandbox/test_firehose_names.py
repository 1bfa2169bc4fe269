"""Prefix expressions and object names, against the examples of the Firehose Developer Guide."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.sandbox.firehose.errors import StreamError
from envs.sandbox.firehose.names import Names, evaluate, format_java

AT = datetime(2018, 8, 27, 10, 30, 5, 250_000, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"


def names(prefix: str = "", error_prefix: str = "", **more: object) -> Names:
    return Names(**{"stream": "telemetry", "version": "3", "prefix": prefix, "error_prefix": error_prefix, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prefix", "error_prefix", "records", "failures"),
    [
        ("", "", "2018/08/27/10/", "processing-failed/2018/08/27/10/"),
        ("raw/", "", "raw/2018/08/27/10/", "raw/processing-failed/2018/08/27/10/"),
        ("raw/", "bad/", "raw/2018/08/27/10/", "bad/processing-failed/2018/08/27/10/"),
        ("", "bad/!{firehose:error-output-type}/", "2018/08/27/10/", "bad/processing-failed/"),
        (
            "p/year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/hour=!{timestamp:HH}/",
            "e/!{timestamp:'year='yyyy'/month='MM'/day='dd'/hour='HH}/!{firehose:error-output-type}",
            "p/year=2018/month=08/day=27/hour=10/",
            "e/year=2018/month=08/day=27/hour=10/processing-failed",
        ),
    ],
)
def test_prefixes(prefix: str, error_prefix: str, records: str, failures: str) -> None:
    made = names(prefix, error_prefix)
    assert made.record_key(AT_MS).startswith(records + "telemetry-3-2018-08-27-10-30-05-")
    assert made.error_key(AT_MS, "processing-failed").startswith(failures + "telemetry-3-2018-08-27-10-30-05-")


def test_a_name_ends_with_a_uuid_and_the_extension_and_is_new_each_time() -> None:
    made = names("raw/", extension=".gz")
    keys = {made.record_key(AT_MS) for _ in range(10)}
    assert len(keys) == 10
    for key in keys:
        assert re.fullmatch(rf"raw/2018/08/27/10/telemetry-3-2018-08-27-10-30-05-{UUID}\.gz", key)


def test_another_time_zone() -> None:
    key = names(zone=ZoneInfo("Asia/Tokyo")).record_key(AT_MS)
    assert key.startswith("2018/08/27/19/telemetry-3-2018-08-27-19-30-05-")


def test_random_strings_differ_within_one_prefix() -> None:
    text = evaluate("!{firehose:random-string}/!{firehose:random-string}/", AT, None)
    first, second, _ = text.split("/")
    assert len(first) == len(second) == 11
    assert first != second


@pytest.mark.parametrize(
    ("prefix", "error_prefix", "message"),
    [
        ("!{timestamp:yyyy/MM/dd}", "", "ErrorOutputPrefix cannot be null when Prefix contains expressions"),
        (
            "a/!{firehose:error-output-type}/",
            "e/!{firehose:error-output-type}/",
            "Prefix of telemetry cannot contain",
        ),
        ("a/", "e/!{timestamp:yyyy}/", "must contain"),
        ("a/!{timestamp:yyyy", "e/!{firehose:error-output-type}/", "can only appear in"),
        ("a/!{weather:now}/", "e/!{firehose:error-output-type}/", "!{weather:now} is not executed here"),
        ("a/!{partitionKeyFromQuery:k}/", "e/!{firehose:error-output-type}/", "is not executed here"),
        ("a/!{timestamp:YYYY}/", "e/!{firehose:error-output-type}/", "Y is the year of weeks, write yyyy"),
        ("a/!{timestamp:MMM}/", "e/!{firehose:error-output-type}/", "MMM is not executed here"),
        ("a/!{timestamp:'open}/", "e/!{firehose:error-output-type}/", "a quote is not closed"),
        ("a" * 520 + "/", "", "exceeds 512 characters"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_when_the_stream_starts(
    prefix: str, error_prefix: str, message: str
) -> None:
    with pytest.raises(StreamError, match=re.escape(message)):
        names(prefix, error_prefix)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_numeric_patterns_agree_with_python(moment: datetime) -> None:
    assert format_java("yyyy-MM-dd'T'HH:mm:ss", moment) == moment.strftime("%Y-%m-%dT%H:%M:%S")
    assert format_java("uuuu/D", moment) == moment.strftime("%Y/") + str(moment.timetuple().tm_yday)
    assert format_java("SSS", moment) == f"{moment.microsecond // 1000:03d}"


@given(st.text(st.characters(blacklist_characters="{}", blacklist_categories=["Cs"]), max_size=60))
def test_quoted_text_is_taken_literally(text: str) -> None:
    quoted = text.replace("'", "''")
    assert format_java(f"'{quoted}'" if text else "''", AT) == (text or "'")


@given(
    st.integers(0, 4_102_444_800_000),
    st.text("abc/=-_ü", max_size=40),
    st.lists(st.sampled_from(["yyyy", "MM", "dd", "HH"]), max_size=4),
)
def test_the_hour_in_a_key_is_that_of_the_oldest_record(oldest_ms: int, text: str, fields: list[str]) -> None:
    prefix = text + "/".join(f"!{{timestamp:{pattern}}}" for pattern in fields)
    key = names(prefix, "e/!{firehose:error-output-type}/").record_key(oldest_ms)
    moment = datetime.fromtimestamp(oldest_ms / 1000, UTC)
    values = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H"}
    expected = "/".join(moment.strftime(values[pattern]) for pattern in fields) or moment.strftime("%Y/%m/%d/%H/")
    assert key.startswith(f"{text}{expected}telemetry-3-{moment:%Y-%m-%d-%H-%M-%S}-")
