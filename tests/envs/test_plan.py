"""What a preview's steps say of each resource, and what would be lost by them."""

from pathlib import Path
from typing import Any

import pulumi_aws
import pytest

from envs import plan

BUCKET = "aws:s3/bucket:Bucket"
KEY = "aws:kms/key:Key"


def step(op: str, name: str, type_: str = BUCKET, old: Any = None, new: Any = None, **more: Any) -> dict[str, Any]:
    """A step as the engine tells it."""
    return {
        "op": op,
        "urn": f"urn:pulumi:dev::p::c$o::{type_}::{name}",
        "type": type_,
        "old": old,
        "new": new,
        **more,
    }


def state(inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": inputs, "outputs": {}, **more}


STEPS = [
    step("create", "p", "pulumi:providers:aws", new=state({})),
    step("create", "component", "fleetstream:archive:Archive", new=state({})),
    step("same", "kept", old=state({"a": 1}, id="kept-1"), new=state({"a": 1})),
    step("create", "new", new=state({"b": 2}, parent="urn::archive")),
    step("update", "changed", old=state({"c": 3}), new=state({"c": 4})),
    step("create-replacement", "moved", old=state({"d": 5}), new=state({"d": 6}), keys=["d"]),
    step("replace", "moved", old=state({"d": 5}), new=state({"d": 6}), keys=["d"]),
    step("delete-replaced", "moved", old=state({"d": 5})),
    step("delete", "gone", KEY, old=state({"e": 7}, protect=True)),
    step("delete", "rule", "aws:ec2/route:Route", old=state({})),
]


def test_steps_become_what_is_before_and_after() -> None:
    found = {each.name: each for each in plan.changes(STEPS)}
    assert {name: (each.before, each.after) for name, each in found.items()} == {
        "kept": ({"a": 1}, {"a": 1}),
        "new": (None, {"b": 2}),
        "changed": ({"c": 3}, {"c": 4}),
        "moved": ({"d": 5}, {"d": 6}),
        "gone": ({"e": 7}, None),
        "rule": ({}, None),
    }
    assert [name for name, each in found.items() if each.same] == ["kept"]
    assert found["new"].parent == "urn::archive"


def test_losses_are_stateful_resources_that_go() -> None:
    lost = plan.losses(plan.changes(STEPS), {BUCKET: "its objects", KEY: "what it encrypted"})
    assert [(each.name, each.how, each.causes, each.what, each.protected) for each in lost] == [
        ("gone", "deleted", (), "what it encrypted", True),
        ("moved", "replaced", ("d",), "its objects", False),
    ]


@pytest.mark.parametrize("type_", sorted(plan.stateful_types()))
def test_stateful_types_exist_and_say_what_is_lost(type_: str) -> None:
    module = type_.split(":")[1].partition("/")[0]
    folder = Path(pulumi_aws.__file__).parent / module
    assert any(f"'{type_}'" in file.read_text() for file in folder.glob("*.py"))
    assert plan.stateful_types()[type_]
