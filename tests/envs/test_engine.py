"""What the engine's events become: counts, and the words of its errors."""

from pathlib import Path

import orjson

from envs.engine import Update, _Events

EVENTS = [
    {
        "resourcePreEvent": {
            "metadata": {"op": "create", "type": "aws:ec2/vpc:Vpc", "urn": "urn:pulumi:dev::p::t::net"}
        }
    },
    {"resOutputsEvent": {"metadata": {"op": "create"}}},
    {"diagnosticEvent": {"severity": "info", "message": "hello\n", "urn": ""}},
    {"diagnosticEvent": {"severity": "error", "message": "cidr is taken\n", "urn": "urn:pulumi:dev::p::t::net-vpc"}},
    {"summaryEvent": {"resourceChanges": {"create": 2, "same": 1}}},
]


def test_events_are_read_while_the_log_grows(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    reader, result, told = _Events(log), Update(), []
    reader.take(result, told.append)  # the engine has not made its log yet
    lines = [orjson.dumps(event) + b"\n" for event in EVENTS]
    log.write_bytes(b"".join(lines[:2]) + lines[2][:10])
    reader.take(result, told.append)
    assert told == ["0 done, creating Vpc net"]
    with log.open("ab") as more:
        more.write(lines[2][10:] + b"".join(lines[3:]))
    reader.take(result, told.append)
    assert result.errors == ["net-vpc: cidr is taken"]
    assert result.changes == {"create": 2, "same": 1}
    assert result.notes == ["hello"]
    assert [step["urn"] for step in result.steps] == ["urn:pulumi:dev::p::t::net"]
    assert result.changed == 2
    assert result.summary() == "2 created, 1 unchanged"
