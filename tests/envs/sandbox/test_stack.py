"""A sandbox's stack after its engine was killed."""

import json
from pathlib import Path

from envs.sandbox.stack import drop_broken_attributes


def test_half_written_attributes_do_not_hide_a_whole_state(tmp_path: Path) -> None:
    stacks = tmp_path / ".pulumi" / "stacks" / "fleetstream"
    stacks.mkdir(parents=True)
    (stacks / "sandbox.json").write_text("{}")
    whole = stacks / "other.json.attrs"
    whole.write_text(json.dumps({"user.content_type": "text/plain"}))
    for name, left in (("sandbox.json", ""), ("sandbox.json.bak", '{"user.cont')):
        (stacks / f"{name}.attrs").write_text(left)

    drop_broken_attributes(tmp_path)

    assert {path.name for path in stacks.iterdir()} == {"sandbox.json", "other.json.attrs"}
    drop_broken_attributes(tmp_path / "nothing-yet")
