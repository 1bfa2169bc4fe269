"""The archive gate: what it admits, what it refuses, and that it answers every record of an event exactly once."""

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services import contract
from services.ingestion.archive_gate.gate import Origin, admit

EVENT = json.loads((Path(__file__).parents[2] / "data" / "events" / "firehose_msk.json").read_text())
ORIGIN = Origin(partition=1, offset=41, broker_ms=1716369573887, arrival_ms=1716369573987)
MESSAGE = contract.stamp(
    contract.head("r1-00"), contract.tail("drive10", {"engine_rpm": 853.5}), 7, 3, 1_716_369_573_800_000, 11, 12
)


def test_a_message_is_archived_with_its_own_leg() -> None:
    line = admit(MESSAGE, ORIGIN, 99)
    assert contract.parse(line) == contract.parse(MESSAGE)
    assert json.loads(line)["archive"] == {
        "partition": 1, "offset": 41, "broker_ms": 1716369573887, "arrival_ms": 1716369573987, "gate_us": 99,
    }  # fmt: skip
    assert line.startswith(MESSAGE[:-1])


def test_a_line_end_of_the_message_does_not_get_into_the_archive() -> None:
    assert admit(MESSAGE + b"\r\n", ORIGIN, 99) == admit(MESSAGE, ORIGIN, 99)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"\xef\xbb\xbf" + MESSAGE, "not JSON"),
        (MESSAGE.decode().encode("utf-16"), "not UTF-8"),
        (MESSAGE.decode().encode("utf-16-le"), "not JSON"),
        (MESSAGE.replace(b"drive10", b"drive\xed\xa0\x80"), "not UTF-8"),
        (MESSAGE + MESSAGE, "not JSON"),
        (MESSAGE + b"\n" + MESSAGE, "line break"),
        (b"\n" + MESSAGE, "line break"),
        (MESSAGE.replace(b",", b",\r"), "line break"),
        (MESSAGE.replace(b"853.5", b"NaN"), "NaN"),
        (MESSAGE.replace(b"853.5", b"1e999"), "signals.engine_rpm"),
        (MESSAGE.replace(b"853.5", b'"x"'), "signals.engine_rpm"),
        (MESSAGE.replace(b'"v":1', b'"v":2'), "v: version 2"),
        (MESSAGE.replace(b'"device":"drive10",', b""), "device"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "JSON object"),
    ],
)
def test_what_is_no_message_is_refused_with_the_reason(value: bytes, reason: str) -> None:
    with pytest.raises(contract.ContractError, match=reason):
        admit(value, ORIGIN, 99)


@given(value=st.binary() | st.builds(lambda cut, extra: MESSAGE[:cut] + extra, st.integers(0, 300), st.binary()))
def test_any_value_is_admitted_as_one_parsable_line_or_refused(value: bytes) -> None:
    try:
        line = admit(value, ORIGIN, 99)
    except contract.ContractError:
        return
    assert b"\n" not in line
    assert contract.parse(line) == contract.parse(value)


class TestHandler:
    @pytest.fixture
    def handle(self) -> Any:
        from services.ingestion.archive_gate.handler import handle

        return handle

    def test_an_event_as_firehose_sends_it(self, handle: Any) -> None:
        answer = handle(copy.deepcopy(EVENT), None)
        assert [record["recordId"] for record in answer["records"]] == [r["recordId"] for r in EVENT["records"]]
        assert [record["result"] for record in answer["records"]] == ["Ok", "ProcessingFailed", "ProcessingFailed"]
        archived = json.loads(base64.b64decode(answer["records"][0]["kafkaRecordValue"]))
        assert (archived["producer"], archived["seq"], archived["archive"]["offset"]) == ("r1-00", 7, 41)
        assert (archived["archive"]["broker_ms"], archived["archive"]["arrival_ms"]) == (1716369573887, 1716369573987)
        for number in (1, 2):
            assert answer["records"][number]["kafkaRecordValue"] == EVENT["records"][number]["kafkaRecordValue"]
        json.dumps(answer, allow_nan=False)

    def test_the_log_names_a_few_of_the_refused_and_counts_the_rest(
        self, handle: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        handle({**EVENT, "records": [EVENT["records"][1]] * 100}, None)
        entries = [record.__dict__ for record in caplog.records]
        assert len(entries) == 6
        assert entries[0]["offset"] == 42
        assert "not JSON" in entries[0]["reason"]
        assert (entries[-1]["refused"], entries[-1]["records"]) == (100, 100)

    @given(values=st.lists(st.binary(max_size=80) | st.just(MESSAGE)))
    def test_every_record_is_answered_once_and_no_value_is_lost(self, values: list[bytes]) -> None:
        from services.ingestion.archive_gate.handler import handle

        records = [
            {
                "recordId": str(number),
                "approximateArrivalTimestamp": 1,
                "mskRecordMetadata": {"offset": str(number), "partitionId": "0", "approximateArrivalTimestamp": 1},
                "kafkaRecordValue": base64.b64encode(value).decode(),
            }
            for number, value in enumerate(values)
        ]
        answers = handle({**EVENT, "records": records}, None)["records"]
        assert [answer["recordId"] for answer in answers] == [record["recordId"] for record in records]
        for answer, value in zip(answers, values, strict=True):
            returned = base64.b64decode(answer["kafkaRecordValue"])
            if value == MESSAGE:
                assert answer["result"] == "Ok"
                assert contract.parse(returned) == contract.parse(MESSAGE)
            else:
                assert answer["result"] == "ProcessingFailed"
                assert returned == value
