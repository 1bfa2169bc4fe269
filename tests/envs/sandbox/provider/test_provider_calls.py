"""What makes functions run, and secrets, under the real engine: up, unchanged, changed, replaced, and gone."""

from pathlib import Path

import boto3
import pytest
from provider_stage import REGION, Sandbox, Stack

from envs.sandbox import account
from envs.sandbox.aws.inventory import inventory

pytestmark = pytest.mark.xdist_group("provider-engine")


def _inventory(sandbox: Sandbox) -> list[str]:
    told = account.load(sandbox.state_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", told.endpoint)
        return inventory(boto3.Session(told.access_key, told.secret_key, region_name=REGION))


def test_calls_live_and_leave_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    stack = Stack(sandbox, tmp_path)
    main = tmp_path / "__main__.py"
    main.write_text(main.read_text().replace("provider_programs", "provider_calls"))
    before = _inventory(sandbox)
    stack.up("calls")
    stack.unchanged("calls")
    made = stack.ids()
    client = sandbox.client("lambda")
    assert client.get_event_source_mapping(UUID=made["mapping"])["State"] == "Enabled"
    vpc = client.get_function_configuration(FunctionName=made["function"])["VpcConfig"]
    assert (vpc["VpcId"], len(vpc["SubnetIds"])) == (made["net"], 2)

    change = {"batch": 100, "window": 2, "minutes": 6, "owner": "two"}
    stack.up("calls", **change)
    stack.unchanged("calls", **change)
    assert stack.ids() == made, "everything could be changed in place"
    mapping = client.get_event_source_mapping(UUID=made["mapping"])
    assert (mapping["BatchSize"], mapping["ScalingConfig"]) == (100, {"MaximumConcurrency": 2})
    events = sandbox.client("events")
    assert events.describe_rule(Name=made["sweep"])["ScheduleExpression"] == "rate(6 minutes)"
    (target,) = events.list_targets_by_rule(Rule=made["sweep"])["Targets"]
    assert target["Input"] == '{"sweep": true}'

    stack.up("calls", **change, service="scheduler.amazonaws.com")
    again = stack.ids()
    assert {name for name in made if again[name] != made[name]} == {"permission"}
    stack.up("calls", **change | {"window": 1, "batch": 10})
    stack.up("calls", minutes=6, owner="two")
    stack.unchanged("calls", minutes=6, owner="two")

    stack.destroy()
    assert _inventory(sandbox) == before
