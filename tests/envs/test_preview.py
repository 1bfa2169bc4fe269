"""What a person reads at the end of a preview."""

import io
import json
from typing import Any

from rich.console import Console

from envs.engine import Update
from envs.preview import as_json, examine, rendered

RULES = "guardrails: all 15 rules kept"


def step(op: str, type_: str, name: str, old: Any = None, new: Any = None, **more: Any) -> dict[str, Any]:
    urn = f"urn:pulumi:dev::p::{type_}::{name}"
    sides = {side: {"inputs": inputs} for side, inputs in (("old", old), ("new", new)) if inputs is not None}
    return {"op": op, "urn": urn, "type": type_, **sides, **more}


def shown(update: Update, region: str = "eu-central-1") -> str:
    console = Console(file=io.StringIO(), width=150)
    for part in rendered(examine(update, region)):
        console.print(part, soft_wrap=isinstance(part, str))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def updated(*steps: dict[str, Any], notes: tuple[str, ...] = (RULES,)) -> Update:
    return Update(steps=list(steps), notes=["installing", *notes])


NAT = "aws:ec2/natGateway:NatGateway"


def test_what_would_be_lost_comes_first() -> None:
    text = shown(
        updated(
            step("create", NAT, "out", new={}),
            step("replace", "aws:msk/cluster:Cluster", "kafka", {}, {}, keys=["clusterName"]),
        )
    )
    places = [text.index(word) for word in ("data at stake", "because of clusterName", RULES, "cost a month")]
    assert places == sorted(places)
    assert "every message in it" in text
    assert "installing" not in text


def test_nothing_at_stake_is_said() -> None:
    assert "nothing that keeps data is replaced or deleted" in shown(updated(step("create", NAT, "out", new={})))


def test_costs_are_before_after_and_in_all() -> None:
    text = shown(updated(step("create", NAT, "out", new={}), step("same", NAT, "old", {}, {})))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert rows == [
        ["out", "NatGateway", "-", "37.96", "+37.96"],
        ["the rest (1)", "", "37.96", "37.96", "+0.00"],
        ["all", "", "37.96", "75.92", "+37.96"],
    ]
    assert "nat-gateway data: 0.052 USD per GB (out)" in text


def test_what_is_not_known_is_said() -> None:
    text = shown(updated(step("create", "aws:rds/instance:Instance", "[db]", new={})))
    assert "not priced: aws:rds/instance:Instance: no price in the data ([db])" in text
    assert "not estimated, there are no list prices of eu-west-1" in shown(updated(), "eu-west-1")


def test_prices_nobody_verified_are_named() -> None:
    text = shown(updated(step("create", NAT, "out", new={}), step("create", "aws:kms/key:Key", "key", new={})))
    assert text.splitlines()[-1] == "prices nobody has verified (see envs/prices.yaml): nat-gateway"


def test_machines_read_the_same() -> None:
    found = as_json(examine(updated(step("delete", "aws:kms/key:Key", "key", {})), "eu-central-1"))
    told = json.loads(json.dumps(found))
    assert told["losses"][0]["how"] == "deleted"
    assert told["guardrails"] == [RULES]
    assert (told["monthly_cost_usd"]["before"], told["monthly_cost_usd"]["after"]) == (1.0, 0)
    assert as_json(examine(updated(), "eu-west-1"))["monthly_cost_usd"] is None
