"""A budget under the real engine: made, unchanged, changed in place, replaced by another name, gone."""

from pathlib import Path

import pytest
from provider_stage import Sandbox, Stack

pytestmark = pytest.mark.xdist_group("provider-engine")

ACCOUNT = "123456789012"


def test_a_budget_lives_and_leaves_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    stack, client = Stack(sandbox, tmp_path), sandbox.client("budgets")
    stack.up("budget")
    stack.unchanged("budget")
    made = stack.ids()["month"]
    account, _, name = made.partition(":")
    assert account == ACCOUNT
    assert name.startswith("month-")

    stack.up("budget", amount="200.00", percent=90, email="bob@example.com", owner="two")
    stack.unchanged("budget", amount="200", percent=90, email="bob@example.com", owner="two")
    assert stack.ids()["month"] == made
    named = {"AccountId": ACCOUNT, "BudgetName": name}
    found = client.describe_budget(**named)["Budget"]
    assert found["CostFilters"] == {"TagKeyValue": ["user:environment$ann"]}
    warnings = client.describe_notifications_for_budget(**named)["Notifications"]
    assert {(each["NotificationType"], each["Threshold"]) for each in warnings} == {
        ("ACTUAL", 90.0),
        ("FORECASTED", 100.0),
    }
    for each in warnings:
        told = client.describe_subscribers_for_notification(**named, Notification=each)["Subscribers"]
        assert [one["Address"] for one in told] == ["bob@example.com"]
    tags = client.list_tags_for_resource(ResourceARN=f"arn:aws:budgets::{ACCOUNT}:budget/{name}")["ResourceTags"]
    assert tags == [{"Key": "Owner", "Value": "two"}]

    client.update_budget(AccountId=ACCOUNT, NewBudget={**found, "BudgetLimit": {"Amount": "1", "Unit": "USD"}})
    assert made in stack.drifted()
    stack.destroy()
    assert client.describe_budgets(AccountId=ACCOUNT)["Budgets"] == []


def test_a_budget_that_aws_refuses_is_told_in_its_words(sandbox: Sandbox, tmp_path: Path) -> None:
    stack = Stack(sandbox, tmp_path)
    assert "InvalidParameterException: Budget limit amount must be a positive number" in stack.fails(
        "up", "budget", amount="0"
    )
