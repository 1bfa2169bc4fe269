"""What the preview of the real engine tells of losses, guardrails and cost."""

import json
from pathlib import Path
from typing import Any

import pytest
from provider_stage import Sandbox, Stack

from envs import project, toolchain
from envs.engine import Engine
from envs.preview import Findings, examine

pytestmark = pytest.mark.xdist_group("provider-engine")


def previewed(stack: Stack, **arguments: Any) -> Findings:
    """What `fleetstream preview` finds in a preview of the program `data`."""
    variables = {**stack._environment, "TRIAL": json.dumps(("data", arguments))}
    engine = Engine(toolchain.find().pulumi, "dev", variables)
    return examine(engine.update("preview"), "eu-central-1")


def test_a_preview_tells_what_is_lost_and_what_it_costs(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "ROOT", tmp_path)
    stack = Stack(sandbox, tmp_path)
    first = previewed(stack)
    assert first.losses == ()
    assert first.guardrails == ("guardrails: all of them",)
    assert first.estimate is not None
    assert (first.estimate.before, first.estimate.after) == (0, 1)

    stack.up("data")
    found = previewed(stack, queue="two", log=False, keys=2)
    assert [(loss.name, loss.how, loss.causes) for loss in found.losses] == [
        ("log", "deleted", ()),
        ("queue", "replaced", ("name",)),
    ]
    assert found.estimate is not None
    assert (found.estimate.before, found.estimate.after) == (1, 2)
    assert [each.name for each in found.estimate.costs] == ["key-1", "key-0"]
    stack.destroy()
