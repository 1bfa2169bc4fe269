"""Events as AWS sends them, for the tests of the fleet's functions."""

import copy
import json
from pathlib import Path
from typing import Any, Final

_EVENTS: Final = Path(__file__).parents[2] / "data" / "events"


def event(name: str, **detail: Any) -> dict[str, Any]:
    """A fixture, with other details; None leaves one out."""
    found = json.loads((_EVENTS / f"{name}.json").read_text())
    if detail:
        merged = {**found["detail"], **detail}
        found["detail"] = {key: value for key, value in merged.items() if value is not None}
    return found


def text(name: str, **detail: Any) -> str:
    """The same, as a message's body."""
    return json.dumps(event(name, **detail))


def batch(*bodies: str) -> dict[str, Any]:
    """What Lambda makes of messages in a queue."""
    sample = event("sqs")
    record = sample["Records"][0]
    records = [
        copy.deepcopy(record) | {"messageId": f"m-{number}", "body": body} for number, body in enumerate(bodies)
    ]
    return {"Records": records}
