"""Alarms and whom they tell under the real engine: up, unchanged, changed in place, replaced, and gone."""

import json
from pathlib import Path

import pytest
from provider_stage import Sandbox, Stack

pytestmark = pytest.mark.xdist_group("provider-engine")


def test_alarms_live_and_leave_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    stack, cloudwatch, sns = Stack(sandbox, tmp_path), sandbox.client("cloudwatch"), sandbox.client("sns")
    stack.up("alarms")
    stack.unchanged("alarms")
    made = stack.ids()
    state = stack.resources()
    assert state["mail"]["outputs"]["pendingConfirmation"] is True
    assert state["queue"]["outputs"]["pendingConfirmation"] is False

    stack.up("alarms", threshold=7, owner="two")
    stack.unchanged("alarms", threshold=7, owner="two")
    assert stack.ids() == made, "everything could be changed in place"
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[made["simple"]])["MetricAlarms"]
    assert (alarm["Threshold"], alarm["AlarmDescription"]) == (7, "two")
    tags = cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
    assert tags == [{"Key": "Owner", "Value": "two"}]
    board = cloudwatch.get_dashboard(DashboardName="board")["DashboardBody"]
    assert json.loads(board)["widgets"][0]["properties"] == {"markdown": "two"}

    stack.up("alarms", threshold=7, owner="two", address="two@example.com")
    again = stack.ids()
    assert {name for name in made if again[name] != made[name]} == {"mail"}

    stack.destroy()
    assert sns.list_topics()["Topics"] == []
    assert sns.list_subscriptions()["Subscriptions"] == []
    assert cloudwatch.describe_alarms()["MetricAlarms"] == []
    assert cloudwatch.list_dashboards()["DashboardEntries"] == []
