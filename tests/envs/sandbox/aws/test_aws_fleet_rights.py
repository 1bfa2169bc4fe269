"""What functions do to machines, disks and groups is held against their roles, tags and keys included."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from envs.sandbox import account
from envs.sandbox.aws import sts_client
from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.fleet_stage import ZONE, FleetStage, eventually

pytestmark = pytest.mark.xdist_group("aws-machines")  # the AWS process of the other tests of machines

OURS = {"StringEquals": {"aws:ResourceTag/cluster": "ours"}}
Statement = dict[str, Any]


def document(*statements: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(*actions: str, **more: Any) -> Statement:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*", **more}


@pytest.fixture(autouse=True)
def inside(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as one of the sandbox's."""
    for name, value in account.environment(aws.state_dir).items():
        monkeypatch.setenv(name, value)


class Function:
    """A function's role, and clients that carry it."""

    def __init__(self, aws: Aws, name: str) -> None:
        self.iam, self.name = aws.client("iam"), name
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        role = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]
        self.session = sts_client.service_session(role["Arn"], "lambda.amazonaws.com")

    def may(self, *statements: Statement) -> None:
        self.iam.put_role_policy(RoleName=self.name, PolicyName="own", PolicyDocument=document(*statements))

    def client(self, service: str) -> Any:
        return self.session.client(service, config=Config(retries={"total_max_attempts": 1}))  # type: ignore[call-overload]


@pytest.fixture
def function(aws: Aws, request: pytest.FixtureRequest) -> Function:
    return Function(aws, request.node.name[:60])


@contextmanager
def denied(action: str) -> Iterator[None]:
    with pytest.raises(ClientError, match=f"not authorized to perform: {action}"):
        yield


def tagged(kind: str, **tags: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


def test_machines_of_others_are_left_alone(fleet: FleetStage, function: Function) -> None:
    ours, other = (fleet.run(TagSpecifications=tagged("instance", cluster=cluster)) for cluster in ("ours", "other"))
    function.may(allow("ec2:StopInstances", "ec2:TerminateInstances", Condition=OURS), allow("ec2:DescribeInstances"))
    ec2 = function.client("ec2")
    ec2.stop_instances(InstanceIds=[ours])
    with denied("ec2:StopInstances"):
        ec2.stop_instances(InstanceIds=[other])
    with denied("ec2:TerminateInstances"):
        ec2.terminate_instances(InstanceIds=[ours, other])
    ec2.terminate_instances(InstanceIds=[ours])
    with denied("ec2:DescribeVolumes"):
        ec2.describe_volumes()
    fleet.ec2.terminate_instances(InstanceIds=[other])


def test_a_disk_is_restored_tagged_and_attached_with_its_key(aws: Aws, fleet: FleetStage, function: Function) -> None:
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    machine = fleet.run(TagSpecifications=tagged("instance", cluster="ours"))
    source = fleet.ec2.create_volume(AvailabilityZone=ZONE, Size=4, Encrypted=True, KmsKeyId=key)["VolumeId"]
    snapshot = fleet.ec2.create_snapshot(VolumeId=source)["SnapshotId"]
    eventually(lambda: fleet.ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["State"] == "completed")
    ec2 = function.client("ec2")
    tags = tagged("volume", cluster="ours")

    def restore() -> str:
        made = ec2.create_volume(SnapshotId=snapshot, AvailabilityZone=ZONE, TagSpecifications=tags)
        return made["VolumeId"]

    through = {"StringEquals": {"kms:ViaService": "ec2.us-east-1.amazonaws.com"}}
    uses = ("kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:Decrypt")
    rights = [
        ("ec2:CreateVolume", allow("ec2:CreateVolume")),
        ("ec2:CreateTags", allow("ec2:CreateTags", Condition={"StringEquals": {"ec2:CreateAction": "CreateVolume"}})),
        ("kms:CreateGrant", allow("kms:CreateGrant", Condition={"Bool": {"kms:GrantIsForAWSResource": "true"}})),
        ("kms:DescribeKey", allow(*uses, Condition=through)),
    ]
    for count, (missing, _) in enumerate(rights):
        function.may(allow("ec2:DescribeVolumes"), *(statement for _, statement in rights[:count]))
        with denied(missing):
            restore()
    function.may(*(statement for _, statement in rights))
    volume = restore()
    with denied("ec2:CreateTags"):
        ec2.create_tags(Resources=[volume], Tags=[{"Key": "cluster", "Value": "other"}])
    eventually(lambda: fleet.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available")

    place = {"VolumeId": volume, "InstanceId": machine, "Device": "xvdf"}
    with denied("ec2:AttachVolume"):
        ec2.attach_volume(**place)
    function.may(allow("ec2:AttachVolume", Condition=OURS))
    with denied("kms:CreateGrant"):
        ec2.attach_volume(**place)
    function.may(allow("ec2:AttachVolume", Condition=OURS), rights[2][1])
    ec2.attach_volume(**place)
    fleet.ec2.terminate_instances(InstanceIds=[machine])


def test_an_interface_is_attached_to_machines_of_ours(fleet: FleetStage, function: Function) -> None:
    machine = fleet.run(TagSpecifications=tagged("instance", cluster="ours"))
    interface = fleet.ec2.create_network_interface(SubnetId=fleet.network.subnets[0])["NetworkInterface"]
    identifier = interface["NetworkInterfaceId"]
    place = {"NetworkInterfaceId": identifier, "InstanceId": machine, "DeviceIndex": 1}
    function.may(allow("ec2:AttachNetworkInterface", Condition=OURS))
    with denied("ec2:AttachNetworkInterface"):
        function.client("ec2").attach_network_interface(**place)
    fleet.ec2.create_tags(Resources=[identifier], Tags=[{"Key": "cluster", "Value": "ours"}])
    function.client("ec2").attach_network_interface(**place)
    fleet.ec2.terminate_instances(InstanceIds=[machine])


def test_a_machine_tags_itself_and_not_its_neighbour(aws: Aws, fleet: FleetStage) -> None:
    iam, name = aws.client("iam"), "self-naming"
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    itself = {"ArnEquals": {"ec2:SourceInstanceARN": "arn:aws:ec2:us-east-1:123456789012:instance/${ec2:InstanceID}"}}
    iam.put_role_policy(
        RoleName=name, PolicyName="own", PolicyDocument=document(allow("ec2:CreateTags", Condition=itself))
    )
    profile = iam.create_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Arn"]
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    own, neighbour = (fleet.run(IamInstanceProfile={"Arn": profile}) for _ in range(2))
    stranger = fleet.run()
    tags = [{"Key": "node", "Value": "worker-1"}]

    ec2 = sts_client.service_session(role, "ec2.amazonaws.com", own).client("ec2")
    ec2.create_tags(Resources=[own], Tags=tags)
    for resources in ([neighbour], [own, neighbour]):
        with denied("ec2:CreateTags"):
            ec2.create_tags(Resources=resources, Tags=tags)
    told = fleet.ec2.describe_tags(Filters=[{"Name": "key", "Values": ["node"]}])["Tags"]
    assert [each["ResourceId"] for each in told] == [own]

    # The same role in other hands says of no machine that it is it.
    service = sts_client.service_session(role, "ec2.amazonaws.com").client("ec2")
    with denied("ec2:CreateTags"):
        service.create_tags(Resources=[own], Tags=tags)
    with pytest.raises(sts_client.AssumeRoleError, match="no instance profile with that role"):
        sts_client.assume(role, "ec2.amazonaws.com", stranger)
    fleet.ec2.terminate_instances(InstanceIds=[own, neighbour, stranger])


def test_actions_of_other_groups_are_not_completed(
    fleet: FleetStage, groups: Callable[..., str], function: Function
) -> None:
    hook = {"LifecycleHookName": "wait", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
    ours, other = (
        groups(
            fleet.template(),
            LifecycleHookSpecificationList=[hook],
            Tags=[{"Key": "cluster", "Value": cluster, "PropagateAtLaunch": True}],
        )
        for cluster in ("ours", "other")
    )
    function.may(
        allow("autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat", Condition=OURS),
        allow("autoscaling:TerminateInstanceInAutoScalingGroup", "autoscaling:SetDesiredCapacity", Condition=OURS),
    )
    scaling = function.client("autoscaling")
    for name in (ours, other):
        (instance,) = fleet.reach(name, "Pending:Wait")
        action = {"AutoScalingGroupName": name, "LifecycleHookName": "wait", "InstanceId": instance}
        if name == other:
            with denied("autoscaling:CompleteLifecycleAction"):
                scaling.complete_lifecycle_action(**action, LifecycleActionResult="CONTINUE")
            with denied("autoscaling:TerminateInstanceInAutoScalingGroup"):
                scaling.terminate_instance_in_auto_scaling_group(
                    InstanceId=instance, ShouldDecrementDesiredCapacity=False
                )
            continue
        scaling.record_lifecycle_action_heartbeat(**action)
        scaling.complete_lifecycle_action(**action, LifecycleActionResult="CONTINUE")
    with denied("autoscaling:SetDesiredCapacity"):
        scaling.set_desired_capacity(AutoScalingGroupName=other, DesiredCapacity=1)
    with denied("autoscaling:DescribeAutoScalingInstances"):
        scaling.describe_auto_scaling_instances()
