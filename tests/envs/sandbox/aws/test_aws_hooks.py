"""Instances that wait: for launch hooks and for terminate hooks, until somebody answers or the time is over."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.fleet_stage import FleetStage, eventually

pytestmark = pytest.mark.xdist_group("aws-hooks")  # one AWS process for all of them

Groups = Callable[..., str]
Events = Callable[..., list[dict[str, Any]]]

LAUNCH = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATE = "autoscaling:EC2_INSTANCE_TERMINATING"
ON_LAUNCH = "EC2 Instance-launch Lifecycle Action"
ON_TERMINATE = "EC2 Instance-terminate Lifecycle Action"
RETAIN = {"RetentionTriggers": {"TerminateHookAbandon": "retain"}}


def hook(transition: str, **about: Any) -> dict[str, Any]:
    return {"LifecycleHookName": "wait", "LifecycleTransition": transition, **about}


@pytest.fixture(scope="module")
def template(fleet: FleetStage) -> str:
    return fleet.template()


@pytest.fixture(scope="module")
def queue(aws: Aws) -> str:
    """Where all that groups report arrives."""
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": "*",
            }
        ],
    }
    sqs, rules = aws.client("sqs"), aws.client("events")
    url = sqs.create_queue(QueueName="reports", Attributes={"Policy": json.dumps(policy)})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rules.put_rule(Name="reports", EventPattern=json.dumps({"source": ["aws.autoscaling"]}))
    rules.put_targets(Rule="reports", Targets=[{"Id": "queue", "Arn": arn}])
    return url


@pytest.fixture(scope="module")
def events(aws: Aws, queue: str) -> Events:
    """The events of a group of one type, once there are so many."""
    known: list[dict[str, Any]] = []

    def of(group: str, detail_type: str, count: int = 1) -> list[dict[str, Any]]:
        def found() -> list[dict[str, Any]]:
            told = aws.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=0)
            for message in told.get("Messages", []):
                aws.client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                known.append(json.loads(message["Body"]))
            wanted = [
                each
                for each in known
                if each["detail"]["AutoScalingGroupName"] == group and each["detail-type"] == detail_type
            ]
            return wanted if len(wanted) == count else []

        return eventually(found)

    return of


def complete(fleet: FleetStage, group: str, instance: str, result: str = "CONTINUE") -> None:
    fleet.scaling.complete_lifecycle_action(
        AutoScalingGroupName=group, LifecycleHookName="wait", InstanceId=instance, LifecycleActionResult=result
    )


def scale(fleet: FleetStage, group: str, count: int) -> None:
    fleet.scaling.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=count)


def test_a_launch_waits_for_its_hook_and_reports_it(
    fleet: FleetStage, groups: Groups, template: str, events: Events
) -> None:
    name = groups(template, LifecycleHookSpecificationList=[hook(LAUNCH, NotificationMetadata="about")])
    (instance,) = fleet.reach(name, "Pending:Wait")
    assert fleet.state(instance) == "running"
    (event,) = events(name, ON_LAUNCH)
    arn = (fleet.group(name) or {})["AutoScalingGroupARN"]
    assert (event["source"], event["resources"]) == ("aws.autoscaling", [arn])
    token = event["detail"].pop("LifecycleActionToken")
    assert event["detail"] == {
        "AutoScalingGroupName": name,
        "LifecycleHookName": "wait",
        "EC2InstanceId": instance,
        "LifecycleTransition": LAUNCH,
        "NotificationMetadata": "about",
        "Origin": "EC2",
        "Destination": "AutoScalingGroup",
    }
    assert fleet.activity(name)["StatusCode"] == "MidLifecycleAction"

    wanted = {"AutoScalingGroupName": name, "LifecycleHookName": "wait", "LifecycleActionToken": token}
    fleet.scaling.record_lifecycle_action_heartbeat(**wanted)
    fleet.scaling.complete_lifecycle_action(**wanted, LifecycleActionResult="CONTINUE")
    assert list(fleet.states(name).values()) in (["Pending:Proceed"], ["InService"])
    fleet.reach(name, "InService")
    (event,) = events(name, "EC2 Instance Launch Successful")
    assert event["resources"] == [arn, f"arn:aws:ec2:us-east-1:123456789012:instance/{instance}"]
    assert event["detail"]["Details"] == {"Availability Zone": "us-east-1a", "Subnet ID": fleet.network.subnets[0]}
    with pytest.raises(ClientError, match=f"No active Lifecycle Action found with token {token}"):
        fleet.scaling.complete_lifecycle_action(**wanted, LifecycleActionResult="CONTINUE")
    with pytest.raises(ClientError, match=f"No active Lifecycle Action found with instance ID {instance}") as error:
        complete(fleet, name, instance)
    assert error.value.response["Error"]["Code"] == "ValidationError"


def test_a_launch_that_is_given_up_is_tried_again(
    fleet: FleetStage, groups: Groups, template: str, events: Events
) -> None:
    name = groups(
        template, LifecycleHookSpecificationList=[hook(LAUNCH), hook(TERMINATE) | {"LifecycleHookName": "b"}]
    )
    (first,) = fleet.reach(name, "Pending:Wait")
    complete(fleet, name, first, "ABANDON")
    (second,) = eventually(lambda: set(fleet.states(name)) - {first})
    fleet.reach(name, "Pending:Wait")
    assert fleet.state(first) == "terminated"
    told = fleet.scaling.describe_scaling_activities(AutoScalingGroupName=name)["Activities"]
    (cancelled,) = [each for each in told if each["StatusCode"] == "Cancelled"]
    assert cancelled["StatusMessage"].startswith("Instance failed to complete user's Lifecycle Action: ")
    (event,) = events(name, "EC2 Instance Launch Unsuccessful")
    assert event["detail"]["EC2InstanceId"] == first
    complete(fleet, name, second)
    fleet.reach(name, "InService")


def test_a_termination_waits_even_when_its_machine_stops(
    fleet: FleetStage, groups: Groups, template: str, events: Events
) -> None:
    name = groups(template, MinSize=0, DesiredCapacity=1, LifecycleHookSpecificationList=[hook(TERMINATE)])
    (instance,) = fleet.reach(name, "InService")
    scale(fleet, name, 0)
    assert fleet.states(name) == {instance: "Terminating:Wait"}
    (event,) = events(name, ON_TERMINATE)
    detail = event["detail"]
    assert (detail["EC2InstanceId"], detail["Origin"], detail["Destination"]) == (instance, "AutoScalingGroup", "EC2")
    assert "NotificationMetadata" not in detail

    fleet.ec2.stop_instances(InstanceIds=[instance])
    eventually(lambda: fleet.state(instance) == "stopped")
    told = fleet.scaling.describe_auto_scaling_instances(InstanceIds=[instance])["AutoScalingInstances"][0]
    assert (told["LifecycleState"], told["AutoScalingGroupName"]) == ("Terminating:Wait", name)
    complete(fleet, name, instance)
    fleet.reach(name)
    assert fleet.state(instance) == "terminated"
    events(name, "EC2 Instance Terminate Successful")
    assert len(events(name, ON_TERMINATE)) == 1
    newest = fleet.activity(name)
    assert (newest["Description"], newest["StatusCode"]) == (f"Terminating EC2 instance: {instance}", "Successful")


@pytest.mark.parametrize(("default", "ends"), [("CONTINUE", True), ("ABANDON", False)])
def test_the_time_that_is_over_brings_the_default_result(
    fleet: FleetStage, groups: Groups, template: str, default: str, ends: bool
) -> None:
    waits = hook(TERMINATE, HeartbeatTimeout=600, DefaultResult=default)
    name = groups(template, MinSize=0, DesiredCapacity=1, InstanceLifecyclePolicy=RETAIN)
    fleet.scaling.put_lifecycle_hook(AutoScalingGroupName=name, **waits)
    (instance,) = fleet.reach(name, "InService")
    scale(fleet, name, 0)
    fleet.advance(500)
    fleet.scaling.record_lifecycle_action_heartbeat(
        AutoScalingGroupName=name, LifecycleHookName="wait", InstanceId=instance
    )
    fleet.advance(500)
    assert fleet.states(name) == {instance: "Terminating:Wait"}
    fleet.advance(101)
    if ends:
        fleet.reach(name)
    else:
        fleet.reach(name, "Terminating:Retained")
        assert "was abandoned: Heartbeat Timeout" in fleet.activity(name)["StatusMessage"]


def test_what_is_given_up_is_ended_unless_the_group_retains_it(
    fleet: FleetStage, groups: Groups, template: str
) -> None:
    hooks = [hook(TERMINATE)]
    name = groups(template, MinSize=0, DesiredCapacity=1, LifecycleHookSpecificationList=hooks)
    (gone,) = fleet.reach(name, "InService")
    scale(fleet, name, 0)
    complete(fleet, name, gone, "ABANDON")
    fleet.reach(name)
    assert fleet.state(gone) == "terminated"

    fleet.scaling.update_auto_scaling_group(AutoScalingGroupName=name, InstanceLifecyclePolicy=RETAIN)
    assert (fleet.group(name) or {})["InstanceLifecyclePolicy"] == RETAIN
    scale(fleet, name, 1)
    (kept,) = fleet.reach(name, "InService")
    fleet.scaling.terminate_instance_in_auto_scaling_group(InstanceId=kept, ShouldDecrementDesiredCapacity=False)
    complete(fleet, name, kept, "ABANDON")
    # What is retained does not count: the group has its one.
    _, replacement = fleet.reach(name, "Terminating:Retained", "InService")
    assert fleet.state(kept) == "running"
    with pytest.raises(ClientError, match="instances still in the group") as error:
        fleet.scaling.delete_auto_scaling_group(AutoScalingGroupName=name)
    assert error.value.response["Error"]["Code"] == "ResourceInUse"

    fleet.ec2.terminate_instances(InstanceIds=[kept])
    assert fleet.reach(name, "InService") == [replacement]
    fleet.scaling.terminate_instance_in_auto_scaling_group(
        InstanceId=replacement, ShouldDecrementDesiredCapacity=True
    )
    complete(fleet, name, replacement, "ABANDON")
    fleet.reach(name, "Terminating:Retained")
    fleet.scaling.terminate_instance_in_auto_scaling_group(
        InstanceId=replacement, ShouldDecrementDesiredCapacity=True
    )
    fleet.reach(name)
    assert (fleet.group(name) or {})["DesiredCapacity"] == 0


@pytest.mark.parametrize("how", ["terminate_instances", "stop_instances"])
def test_what_ends_outside_is_replaced_and_waits_all_the_same(
    fleet: FleetStage, groups: Groups, template: str, events: Events, how: str
) -> None:
    name = groups(template, LifecycleHookSpecificationList=[hook(TERMINATE)])
    (first,) = fleet.reach(name, "InService")
    getattr(fleet.ec2, how)(InstanceIds=[first])
    _, second = fleet.reach(name, "Terminating:Wait", "InService")
    assert [each["detail"]["EC2InstanceId"] for each in events(name, ON_TERMINATE)] == [first]
    cause = "taken out of service in response to an EC2 health check indicating it has been terminated or stopped."
    told = fleet.scaling.describe_scaling_activities(AutoScalingGroupName=name)["Activities"]
    assert any(each["Cause"].endswith(cause) for each in told)
    complete(fleet, name, first)
    assert fleet.reach(name, "InService") == [second]
    assert fleet.state(first) == "terminated"


@pytest.mark.parametrize(("transition", "left"), [(LAUNCH, "Pending:Wait"), (TERMINATE, "Terminating:Wait")])
def test_a_forced_deletion_asks_nobody(fleet: FleetStage, template: str, transition: str, left: str) -> None:
    name = fleet.make_group(template, MinSize=0, DesiredCapacity=1, LifecycleHookSpecificationList=[hook(transition)])
    if transition == TERMINATE:
        fleet.reach(name, "InService")
        scale(fleet, name, 0)
    (instance,) = fleet.reach(name, left)
    fleet.scaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
    assert (fleet.group(name) or {})["Status"] == "Delete in progress"
    with pytest.raises(ClientError, match="pending delete"):
        scale(fleet, name, 1)
    eventually(lambda: fleet.group(name) is None)
    assert fleet.state(instance) == "terminated"


def test_a_group_of_which_machines_still_go_is_not_deleted_yet(
    fleet: FleetStage, groups: Groups, template: str
) -> None:
    name = groups(template, MinSize=0, DesiredCapacity=1, LifecycleHookSpecificationList=[hook(TERMINATE)])
    fleet.reach(name, "InService")
    scale(fleet, name, 0)
    with pytest.raises(ClientError, match="scaling activities in progress") as error:
        fleet.scaling.delete_auto_scaling_group(AutoScalingGroupName=name)
    assert error.value.response["Error"]["Code"] == "ScalingActivityInProgress"
    fleet.scaling.delete_lifecycle_hook(AutoScalingGroupName=name, LifecycleHookName="wait")
    fleet.reach(name)
    fleet.scaling.delete_auto_scaling_group(AutoScalingGroupName=name)
    assert fleet.group(name) is None


def test_hooks_are_described_changed_and_refused(fleet: FleetStage, groups: Groups, template: str) -> None:
    name = groups(template, MinSize=0, LifecycleHookSpecificationList=[hook(LAUNCH, HeartbeatTimeout=60)])
    put, describe = fleet.scaling.put_lifecycle_hook, fleet.scaling.describe_lifecycle_hooks
    put(AutoScalingGroupName=name, LifecycleHookName="wait", DefaultResult="CONTINUE")
    assert describe(AutoScalingGroupName=name)["LifecycleHooks"] == [
        {
            "LifecycleHookName": "wait",
            "AutoScalingGroupName": name,
            "LifecycleTransition": LAUNCH,
            "HeartbeatTimeout": 60,
            "GlobalTimeout": 6000,
            "DefaultResult": "CONTINUE",
        }
    ]
    with pytest.raises(ClientError, match="30 to 7200 seconds, not 29"):
        put(AutoScalingGroupName=name, LifecycleHookName="wait", HeartbeatTimeout=29)
    with pytest.raises(ClientError, match="NotificationTargetARN") as error:
        put(AutoScalingGroupName=name, **hook(LAUNCH, NotificationTargetARN="arn:aws:sqs:us-east-1:1:q"))
    assert error.value.response["Error"]["Code"] == "NotImplemented"
    with pytest.raises(ClientError, match="AutoScalingGroup 'none' not found"):
        put(AutoScalingGroupName="none", **hook(LAUNCH))
    with pytest.raises(ClientError, match="No Lifecycle Hook found with name other"):
        fleet.scaling.delete_lifecycle_hook(AutoScalingGroupName=name, LifecycleHookName="other")
    with pytest.raises(ClientError, match="30 to 7200 seconds, not 10"):
        groups(template, LifecycleHookSpecificationList=[hook(LAUNCH, HeartbeatTimeout=10)])
