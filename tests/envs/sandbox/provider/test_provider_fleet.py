"""The cluster's machines under the real engine: made, unchanged, changed, replaced, and gone without a trace."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from provider_stage import REGION, Sandbox, Stack

from envs.sandbox import account
from envs.sandbox.aws.inventory import inventory

pytestmark = pytest.mark.xdist_group("provider-engine")


@pytest.fixture
def stack(sandbox: Sandbox, tmp_path: Path) -> Stack:
    """A new stack of the engine."""
    return Stack(sandbox, tmp_path)


@pytest.fixture
def answered(sandbox: Sandbox) -> Iterator[None]:
    """Launch hooks are completed, as the deployed function does it: without that no machine would ever serve."""
    scaling, over = sandbox.client("autoscaling"), threading.Event()

    def answer() -> None:
        while not over.wait(0.3):
            for one in scaling.describe_auto_scaling_instances()["AutoScalingInstances"]:
                if one["LifecycleState"] != "Pending:Wait":
                    continue
                group = one["AutoScalingGroupName"]
                for hook in scaling.describe_lifecycle_hooks(AutoScalingGroupName=group)["LifecycleHooks"]:
                    # What has gone on meanwhile needs no answer.
                    with contextlib.suppress(ClientError):
                        scaling.complete_lifecycle_action(
                            AutoScalingGroupName=group,
                            LifecycleHookName=hook["LifecycleHookName"],
                            InstanceId=one["InstanceId"],
                            LifecycleActionResult="CONTINUE",
                        )

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join()


def _inventory(sandbox: Sandbox) -> list[str]:
    told = account.load(sandbox.state_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", told.endpoint)
        return inventory(boto3.Session(told.access_key, told.secret_key, region_name=REGION))


def _seed(sandbox: Sandbox, number: int, not_: str = "") -> dict[str, Any]:
    """The machine that runs as a seed, as a stranger finds it: by its tags. One may have to come first."""
    filters = [
        {"Name": "tag:cluster", "Values": ["trial"]},
        {"Name": "tag:node", "Values": [f"seed-{number}"]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]
    deadline = time.monotonic() + 60
    while True:
        reservations = sandbox.client("ec2").describe_instances(Filters=filters)["Reservations"]
        found = [each for each in reservations if each["Instances"][0]["InstanceId"] != not_]
        if found:
            (reservation,) = found
            return reservation["Instances"][0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.usefixtures("answered")
def test_the_fleet_lives_and_leaves_nothing(sandbox: Sandbox, stack: Stack) -> None:
    before = _inventory(sandbox)
    stack.up("fleet")
    first = _seed(sandbox, 1)
    assert {tag["Key"]: tag["Value"] for tag in first["Tags"]}["Owner"] == "one"

    sandbox.client("ec2").terminate_instances(InstanceIds=[first["InstanceId"]])
    second = _seed(sandbox, 1, not_=first["InstanceId"])
    assert second["PrivateIpAddress"] == first["PrivateIpAddress"]

    stack.unchanged("fleet")
    stack.destroy()
    assert _inventory(sandbox) == before


@pytest.mark.usefixtures("answered")
def test_the_fleet_is_changed_in_place(sandbox: Sandbox, stack: Stack) -> None:
    stack.up("fleet")
    made = stack.identities()
    stack.up("fleet", data_gb=30, owner="two")
    stack.unchanged("fleet", data_gb=30, owner="two")
    assert stack.identities() == made
    disk = sandbox.client("ec2").describe_volumes(VolumeIds=[stack.ids()["fleet-seed-0-data"]])["Volumes"][0]
    assert (disk["Size"], disk["State"], disk["Encrypted"]) == (30, "available", True)
    stack.destroy()


def test_an_interface_in_use_is_told_instead_of_waited_for(sandbox: Sandbox, stack: Stack) -> None:
    told = stack.fails("up", "taken")
    assert "in use. Launching EC2 instance failed." in told
    assert "late" in told
    taken = stack.ids()["interface"]
    stack.destroy()
    ec2 = sandbox.client("ec2")
    assert taken not in {
        each["NetworkInterfaceId"] for each in ec2.describe_network_interfaces()["NetworkInterfaces"]
    }


def test_an_interface_of_another_zone_is_told(stack: Stack) -> None:
    assert "for parameter availabilityZone is invalid" in stack.fails("up", "taken", zone="b")
    stack.destroy()
