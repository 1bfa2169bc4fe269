"""Groups with hooks, policies and snapshots under the real engine: made, unchanged, changed in place, and gone."""

from pathlib import Path

import pytest
from provider_stage import Sandbox, Stack

pytestmark = pytest.mark.xdist_group("provider-engine")


@pytest.fixture
def stack(sandbox: Sandbox, tmp_path: Path) -> Stack:
    """A new stack of the engine."""
    return Stack(sandbox, tmp_path)


def test_a_group_with_its_hooks_lives_and_leaves_nothing(sandbox: Sandbox, stack: Stack) -> None:
    scaling, dlm = sandbox.client("autoscaling"), sandbox.client("dlm")
    stack.up("leaving")
    stack.unchanged("leaving")
    made = stack.identities()
    (group,) = scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    name = group["AutoScalingGroupName"]
    assert [each["LifecycleState"] for each in group["Instances"]] == ["InService"]
    assert group["InstanceLifecyclePolicy"] == {"RetentionTriggers": {"TerminateHookAbandon": "retain"}}
    assert {each["Metric"] for each in group["EnabledMetrics"]} == {
        "GroupInServiceInstances",
        "GroupTerminatingInstances",
    }
    (hook,) = scaling.describe_lifecycle_hooks(AutoScalingGroupName=name)["LifecycleHooks"]
    assert (hook["LifecycleHookName"], hook["HeartbeatTimeout"], hook["NotificationMetadata"]) == (
        "drain",
        300,
        "about",
    )

    changes = {"heartbeat": 600, "keep": "terminate", "cpu": 50, "count": 3}
    stack.up("leaving", **changes)
    stack.unchanged("leaving", **changes)
    assert stack.identities() == made
    (hook,) = scaling.describe_lifecycle_hooks(AutoScalingGroupName=name)["LifecycleHooks"]
    assert hook["HeartbeatTimeout"] == 600
    (policy,) = scaling.describe_policies(AutoScalingGroupName=name)["ScalingPolicies"]
    assert policy["TargetTrackingConfiguration"]["TargetValue"] == 50
    (summary,) = dlm.get_lifecycle_policies()["Policies"]
    told = dlm.get_lifecycle_policy(PolicyId=summary["PolicyId"])["Policy"]["PolicyDetails"]["Schedules"][0]
    assert (told["RetainRule"]["Count"], told["CreateRule"]["Times"]) == (3, ["03:00"])

    # Nobody answers the hook: taking the group away does not wait for it.
    stack.destroy()
    assert scaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []
    assert dlm.get_lifecycle_policies()["Policies"] == []
