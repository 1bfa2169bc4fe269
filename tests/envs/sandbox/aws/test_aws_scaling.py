"""What a group does to have its capacity: whom it ends, what it refuses, and what is kept of policies."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.fleet_stage import FleetStage, eventually

pytestmark = pytest.mark.xdist_group("aws-hooks")  # the AWS process of the other tests of groups

Groups = Callable[..., str]
TRACKING: dict[str, Any] = {
    "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
    "TargetValue": 60.0,
}


@pytest.fixture(scope="module")
def template(fleet: FleetStage) -> str:
    return fleet.template()


def refused(call: Callable[..., Any], code: str, words: str, **request: Any) -> None:
    with pytest.raises(ClientError, match=words) as error:
        call(**request)
    assert error.value.response["Error"]["Code"] == code


def test_the_fullest_zone_gives_first_and_who_is_protected_stays(
    fleet: FleetStage, groups: Groups, template: str
) -> None:
    everywhere = ",".join(fleet.network.subnets)
    name = groups(template, MinSize=0, MaxSize=4, DesiredCapacity=4, VPCZoneIdentifier=everywhere)
    four = fleet.reach(name, *["InService"] * 4)
    zones = {each: fleet.machine(each)["Placement"]["AvailabilityZone"] for each in four}
    twins = [each for each in four if list(zones.values()).count(zones[each]) == 2]
    fleet.scaling.set_instance_protection(
        AutoScalingGroupName=name, InstanceIds=[twins[0]], ProtectedFromScaleIn=True
    )
    fleet.scaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=3)
    assert set(fleet.reach(name, *["InService"] * 3)) == set(four) - {twins[1]}

    others = set(four) - set(twins)
    fleet.scaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=0)
    assert fleet.reach(name, "InService") == [twins[0]]
    (gone,) = {twins[0], *others} - {*others}
    refused(
        fleet.scaling.set_instance_protection,
        "ValidationError",
        "is not part of Auto Scaling group",
        AutoScalingGroupName=name,
        InstanceIds=[next(iter(others))],
        ProtectedFromScaleIn=False,
    )
    fleet.scaling.set_instance_protection(AutoScalingGroupName=name, InstanceIds=[gone], ProtectedFromScaleIn=False)
    fleet.reach(name)


def test_the_oldest_goes_when_the_group_says_so(fleet: FleetStage, groups: Groups, template: str) -> None:
    name = groups(template, MinSize=0, MaxSize=2, DesiredCapacity=1, TerminationPolicies=["OldestInstance"])
    (old,) = fleet.reach(name, "InService")
    fleet.scaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=2)
    both = fleet.reach(name, "InService", "InService")
    fleet.scaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=1)
    assert set(fleet.reach(name, "InService")) == set(both) - {old}
    refused(
        groups,
        "NotImplemented",
        "termination policy AllocationStrategy",
        template=template,
        TerminationPolicies=["AllocationStrategy"],
    )


def test_an_instance_that_is_called_unhealthy_is_replaced(fleet: FleetStage, groups: Groups, template: str) -> None:
    name = groups(template, HealthCheckGracePeriod=600)
    (first,) = fleet.reach(name, "InService")
    tell = fleet.scaling.set_instance_health
    tell(InstanceId=first, HealthStatus="Unhealthy")
    assert fleet.states(name) == {first: "InService"}
    tell(InstanceId=first, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False)
    eventually(lambda: set(fleet.states(name)) - {first})
    assert fleet.reach(name, "InService") != [first]
    refused(tell, "ValidationError", "Instance Id not found", InstanceId="i-none", HealthStatus="Healthy")


def test_processes_that_are_suspended_rest(fleet: FleetStage, groups: Groups, template: str) -> None:
    name = groups(template, MinSize=0, MaxSize=2, DesiredCapacity=1)
    (first,) = fleet.reach(name, "InService")
    fleet.scaling.suspend_processes(AutoScalingGroupName=name, ScalingProcesses=["Launch", "ReplaceUnhealthy"])
    fleet.scaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=2)
    fleet.ec2.stop_instances(InstanceIds=[first])
    eventually(lambda: fleet.state(first) == "stopped")
    assert fleet.states(name) == {first: "InService"}
    fleet.scaling.resume_processes(AutoScalingGroupName=name)
    assert first not in fleet.reach(name, "InService", "InService")


@pytest.mark.parametrize(
    ("call", "about", "words"),
    [
        ("set_desired_capacity", {"DesiredCapacity": 3}, "value 3 is above max value 1"),
        ("update_auto_scaling_group", {"DesiredCapacity": 3}, "Desired capacity:3 must be between"),
        ("update_auto_scaling_group", {"MinSize": 2}, "Max bound, 1, must be greater than or equal to min bound, 2"),
    ],
)
def test_a_capacity_outside_its_bounds_is_refused(
    fleet: FleetStage, groups: Groups, template: str, call: str, about: dict[str, int], words: str
) -> None:
    name = groups(template, MinSize=0, DesiredCapacity=0)
    refused(getattr(fleet.scaling, call), "ValidationError", words, AutoScalingGroupName=name, **about)


def test_bounds_move_the_capacity(fleet: FleetStage, groups: Groups, template: str) -> None:
    name = groups(template, MinSize=0, DesiredCapacity=0)
    fleet.scaling.update_auto_scaling_group(AutoScalingGroupName=name, MinSize=1)
    (instance,) = fleet.reach(name, "InService")
    refused(
        fleet.scaling.terminate_instance_in_auto_scaling_group,
        "ValidationError",
        r"desiredSize equals minSize \(1\)",
        InstanceId=instance,
        ShouldDecrementDesiredCapacity=True,
    )
    fleet.scaling.update_auto_scaling_group(AutoScalingGroupName=name, MinSize=0, MaxSize=0)
    assert (fleet.group(name) or {})["DesiredCapacity"] == 0
    fleet.reach(name)


def test_a_policy_is_a_groups_own_and_goes_with_it(fleet: FleetStage, groups: Groups, template: str) -> None:
    one, other = (groups(template, MinSize=0, DesiredCapacity=0) for _ in range(2))
    put = fleet.scaling.put_scaling_policy
    wanted = {"PolicyName": "cpu", "PolicyType": "TargetTrackingScaling", "TargetTrackingConfiguration": TRACKING}
    for name in (one, other):
        put(AutoScalingGroupName=name, **wanted)
    (told,) = fleet.scaling.describe_policies(AutoScalingGroupName=one)["ScalingPolicies"]
    assert told["TargetTrackingConfiguration"]["TargetValue"] == 60
    assert told["Enabled"]
    fleet.scaling.delete_policy(AutoScalingGroupName=one, PolicyName="cpu")
    refused(fleet.scaling.delete_policy, "ValidationError", "policy cpu", AutoScalingGroupName=one, PolicyName="cpu")
    fleet.remove(other)
    assert fleet.scaling.describe_policies(AutoScalingGroupName=other)["ScalingPolicies"] == []
    refused(put, "NotImplemented", "StepScaling", AutoScalingGroupName=one, PolicyName="p", PolicyType="StepScaling")


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        ("enter_standby", {"ShouldDecrementDesiredCapacity": True}),
        ("put_warm_pool", {}),
        ("execute_policy", {"PolicyName": "cpu"}),
    ],
)
def test_what_is_not_emulated_is_refused_by_name(fleet: FleetStage, call: str, request_: dict[str, Any]) -> None:
    name = "".join(map(str.capitalize, call.split("_")))
    refused(
        getattr(fleet.scaling, call),
        "NotImplemented",
        f"does not implement {name} of autoscaling",
        AutoScalingGroupName="any",
        **request_,
    )


def test_a_parameter_that_is_not_emulated_is_refused_by_name(groups: Groups, template: str) -> None:
    refused(groups, "NotImplemented", "MaxInstanceLifetime", template=template, MaxInstanceLifetime=86400)
