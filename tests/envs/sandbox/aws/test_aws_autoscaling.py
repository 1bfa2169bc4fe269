"""Groups whose launches follow their template, and what is told when they cannot."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from envs.sandbox.aws.images import IMAGE_ID
from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.fleet_stage import ZONE, FleetStage, eventually

pytestmark = pytest.mark.xdist_group("aws-autoscaling")  # one AWS process for all of them

Groups = Callable[..., str]
ALONE: dict[str, Any] = {"VPCZoneIdentifier": None, "AvailabilityZones": [ZONE]}
"""A group whose machines bring their interface, and with it their subnet."""


@pytest.fixture
def interface(fleet: FleetStage) -> dict[str, Any]:
    network = fleet.network
    return fleet.ec2.create_network_interface(SubnetId=network.subnets[0], Groups=[network.group])["NetworkInterface"]


def at(interface: dict[str, Any]) -> dict[str, Any]:
    return {"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": interface["NetworkInterfaceId"]}]}


def failure(fleet: FleetStage, name: str) -> str:
    newest = fleet.activity(name)
    assert (newest["StatusCode"], newest["Progress"]) == ("Failed", 100)
    return newest["StatusMessage"]


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]


def test_a_machine_takes_the_interface_and_leaves_it_with_its_address(
    fleet: FleetStage, groups: Groups, interface: dict[str, Any]
) -> None:
    name = groups(fleet.template(**at(interface)), **ALONE)
    (first,) = fleet.reach(name, "InService")
    told = fleet.machine(first)
    assert (told["PrivateIpAddress"], told["SubnetId"], told["ImageId"]) == (
        interface["PrivateIpAddress"],
        interface["SubnetId"],
        IMAGE_ID,
    )
    fleet.ec2.terminate_instances(InstanceIds=[first])

    (second,) = eventually(lambda: set(fleet.states(name)) - {first})
    assert fleet.machine(second)["PrivateIpAddress"] == interface["PrivateIpAddress"]
    fleet.reach(name, "InService")
    told = fleet.scaling.describe_scaling_activities(AutoScalingGroupName=name)["Activities"]
    # The replacement comes before the ended machine has let go of the interface, and is tried again.
    assert f"Interface: [{interface['NetworkInterfaceId']}] in use. Launching EC2 instance failed." in {
        each.get("StatusMessage") for each in told
    }
    fleet.scaling.update_auto_scaling_group(AutoScalingGroupName=name, MinSize=0, DesiredCapacity=0)
    fleet.reach(name)
    identifier = interface["NetworkInterfaceId"]
    free = fleet.ec2.describe_network_interfaces(NetworkInterfaceIds=[identifier])["NetworkInterfaces"][0]
    assert (free["Status"], "Attachment" in free) == ("available", False)
    fleet.ec2.delete_network_interface(NetworkInterfaceId=identifier)


def test_an_interface_in_use_fails_the_launch_until_it_is_free(
    fleet: FleetStage, groups: Groups, interface: dict[str, Any]
) -> None:
    shared = fleet.template(**at(interface))
    owner, waiting = groups(shared, **ALONE), groups(shared, **ALONE)
    assert fleet.states(waiting) == {}
    identifier = interface["NetworkInterfaceId"]
    assert failure(fleet, waiting) == f"Interface: [{identifier}] in use. Launching EC2 instance failed."
    with pytest.raises(ClientError, match="currently in use") as error:
        fleet.ec2.delete_network_interface(NetworkInterfaceId=identifier)
    assert code(error) == "InvalidParameterValue"

    fleet.scaling.update_auto_scaling_group(AutoScalingGroupName=owner, MinSize=0, MaxSize=0, DesiredCapacity=0)
    fleet.reach(waiting, "InService")
    assert fleet.activity(waiting)["StatusCode"] == "Successful"


def test_an_interface_of_another_zone_fails_the_launch(
    fleet: FleetStage, groups: Groups, interface: dict[str, Any]
) -> None:
    name = groups(fleet.template(**at(interface)), **{**ALONE, "AvailabilityZones": ["us-east-1b"]})
    assert "Value (us-east-1b) for parameter availabilityZone is invalid" in failure(fleet, name)


def test_an_interface_brings_its_subnet(fleet: FleetStage, groups: Groups, interface: dict[str, Any]) -> None:
    assert "may not be specified on the same request" in failure(fleet, groups(fleet.template(**at(interface))))


def test_a_zone_alone_needs_a_default_vpc(fleet: FleetStage, groups: Groups) -> None:
    assert "default VPC" in failure(fleet, groups(fleet.template(), **ALONE))


def test_machines_are_spread_and_made_as_the_version_says(aws: Aws, fleet: FleetStage, groups: Groups) -> None:
    iam = aws.client("iam")
    iam.create_instance_profile(InstanceProfileName="nodes")
    script = base64.b64encode(b"<powershell></powershell>").decode()
    disk = {"VolumeSize": 60, "Encrypted": True, "VolumeType": "gp3", "DeleteOnTermination": True}
    ec2, network = fleet.ec2, fleet.network
    made = fleet.template()
    ec2.create_launch_template_version(
        LaunchTemplateId=made,
        LaunchTemplateData={
            "ImageId": IMAGE_ID,
            "InstanceType": "m5.xlarge",
            "UserData": script,
            "IamInstanceProfile": {"Name": "nodes"},
            "MetadataOptions": {"HttpTokens": "required"},
            "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": disk}],
            "SecurityGroupIds": [network.group],
            "TagSpecifications": [
                {"ResourceType": "instance", "Tags": [{"Key": "role", "Value": "worker"}]},
                {"ResourceType": "volume", "Tags": [{"Key": "role", "Value": "worker-disk"}]},
            ],
        },
    )
    name = groups(
        made,
        version="2",
        MaxSize=3,
        DesiredCapacity=3,
        VPCZoneIdentifier=",".join(network.subnets),
    )
    told = [
        instance
        for reservation in ec2.describe_instances(InstanceIds=list(fleet.states(name)))["Reservations"]
        for instance in reservation["Instances"]
    ]
    assert {each["SubnetId"] for each in told} == set(network.subnets)
    assert {(each["InstanceType"], each["MetadataOptions"]["HttpTokens"]) for each in told} == {
        ("m5.xlarge", "required")
    }
    assert all(each["IamInstanceProfile"]["Arn"].endswith("/nodes") for each in told)
    assert all({"Key": "role", "Value": "worker"} in each["Tags"] for each in told)
    disks = [mapping["Ebs"]["VolumeId"] for each in told for mapping in each["BlockDeviceMappings"]]
    volumes = ec2.describe_volumes(VolumeIds=disks)["Volumes"]
    assert [(each["Size"], each["Encrypted"]) for each in volumes] == [(60, True)] * 3
    assert all(each["Tags"] == [{"Key": "role", "Value": "worker-disk"}] for each in volumes)
    with pytest.raises(ClientError) as error:
        fleet.scaling.delete_auto_scaling_group(AutoScalingGroupName=name)
    assert code(error) == "ResourceInUse"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"ImageId": "ami-0123456789abcdef0"}, r"The image id '\[ami-0123456789abcdef0\]' does not exist"),
        ({"ImageId": "resolve:ssm:/aws/service/none"}, "/aws/service/none could not be found"),
        ({"IamInstanceProfile": {"Name": "none"}}, "Invalid IAM Instance Profile name"),
        (
            {"NetworkInterfaces": [{"DeviceIndex": 0}], "SecurityGroupIds": ["sg-0123456789abcdef0"]},
            "instance-level security groups",
        ),
    ],
)
def test_a_template_that_cannot_launch_is_refused(
    fleet: FleetStage, groups: Groups, data: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClientError, match=words) as error:
        groups(fleet.template(**data))
    assert code(error) == "ValidationError"


def test_user_data_has_a_limit(fleet: FleetStage) -> None:
    with pytest.raises(ClientError, match="limited to 16384 bytes"):
        fleet.template(UserData=base64.b64encode(b"x" * (16 * 1024 + 1)).decode())
    fleet.template(UserData=base64.b64encode(b"x" * 16 * 1024).decode())


def test_a_templates_own_tags_stay_out_of_its_data(fleet: FleetStage) -> None:
    ec2 = fleet.ec2
    tags = [{"ResourceType": "launch-template", "Tags": [{"Key": "a", "Value": "b"}]}]
    made = ec2.create_launch_template(
        LaunchTemplateName="tagged", LaunchTemplateData={"InstanceType": "m5.large"}, TagSpecifications=tags
    )["LaunchTemplate"]
    assert made["Tags"] == tags[0]["Tags"]
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=made["LaunchTemplateId"], Versions=["1"])
    assert not versions["LaunchTemplateVersions"][0]["LaunchTemplateData"].get("TagSpecifications")


def test_a_key_of_ones_own_needs_a_grant_for_auto_scaling(aws: Aws, fleet: FleetStage, groups: Groups) -> None:
    kms = aws.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    disk = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 50, "Encrypted": True, "KmsKeyId": key}}
    made = fleet.template(BlockDeviceMappings=[disk])
    name = groups(made)
    assert "Client.InternalError: Client error on launch" in failure(fleet, name)
    role = (fleet.group(name) or {})["ServiceLinkedRoleARN"]
    kms.create_grant(KeyId=key, GranteePrincipal=role, Operations=["CreateGrant", "Decrypt"])
    fleet.reach(name, "InService")


def test_a_grant_is_for_a_role_that_exists(aws: Aws) -> None:
    kms = aws.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    role = f"arn:aws:iam::{aws.account.account_id}:role/none"
    with pytest.raises(ClientError) as error:
        kms.create_grant(KeyId=key, GranteePrincipal=role, Operations=["Decrypt"])
    assert code(error) == "InvalidArnException"
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    made = aws.client("iam").create_role(RoleName="some", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    kms.create_grant(KeyId=key, GranteePrincipal=made["Role"]["Arn"], Operations=["Decrypt"])


def test_machines_come_to_a_target_group_and_leave_it(aws: Aws, fleet: FleetStage, groups: Groups) -> None:
    elb = aws.client("elbv2")
    target = elb.create_target_group(Name="nodes", Protocol="TCP", Port=8443, VpcId=fleet.network.vpc)
    arn = target["TargetGroups"][0]["TargetGroupArn"]

    def registered() -> set[str]:
        told = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        return {each["Target"]["Id"] for each in told}

    name = groups(fleet.template(), MinSize=0, MaxSize=2, DesiredCapacity=2, TargetGroupARNs=[arn])
    assert registered() == set()
    both = fleet.reach(name, "InService", "InService")
    assert registered() == set(both)
    fleet.scaling.update_auto_scaling_group(AutoScalingGroupName=name, DesiredCapacity=1)
    (left,) = registered()
    assert fleet.reach(name, "InService") == [left]
    fleet.ec2.terminate_instances(InstanceIds=[left])
    replaced = eventually(lambda: registered() - {left})
    assert set(fleet.reach(name, "InService")) == replaced


@pytest.mark.parametrize("operation", ["create_grant", "list_grants", "revoke_grant"])
def test_grants_of_a_key_that_is_not_there_are_refused(aws: Aws, operation: str) -> None:
    kms = aws.client("kms")
    more = {
        "create_grant": {"GranteePrincipal": "arn:aws:iam::123456789012:root", "Operations": ["Decrypt"]},
        "list_grants": {"GrantId": "0" * 64},
        "revoke_grant": {"GrantId": "0" * 64},
    }
    with pytest.raises(
        kms.exceptions.NotFoundException, match="b5b01dfe-a333-4cee-821e-0a4134fc6fbb' does not exist"
    ):
        getattr(kms, operation)(KeyId="b5b01dfe-a333-4cee-821e-0a4134fc6fbb", **more[operation])


def test_a_scheduled_action_changes_the_group_when_its_minute_comes(fleet: FleetStage, groups: Groups) -> None:
    name = groups(fleet.template(), MinSize=0, MaxSize=3, DesiredCapacity=1)
    fleet.reach(name, "InService")
    wanted = {"AutoScalingGroupName": name, "ScheduledActionName": f"{name}-evening"}
    fleet.scaling.put_scheduled_update_group_action(**wanted, Recurrence="0 20 * * *", MinSize=0, DesiredCapacity=0)
    fleet.advance(24 * 3600)
    fleet.reach(name)
    told = fleet.group(name)
    assert told is not None
    assert (told["MinSize"], told["DesiredCapacity"], told["MaxSize"]) == (0, 0, 3)
    fleet.scaling.delete_scheduled_action(**wanted)
    assert not fleet.scaling.describe_scheduled_actions(AutoScalingGroupName=name)["ScheduledUpdateGroupActions"]


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"Recurrence": "20 * *", "MinSize": 0}, "ValidationError"),
        ({"Recurrence": "0 25 * * *", "MinSize": 0}, "ValidationError"),
        ({"Recurrence": "0 20 * * *"}, "ValidationError"),
        ({"Recurrence": "0 20 * * 5", "MinSize": 0}, "NotImplemented"),
        ({"Recurrence": "0 20 * * *", "MinSize": 0, "TimeZone": "Etc/GMT+9"}, "NotImplemented"),
        ({"MinSize": 0}, "NotImplemented"),
    ],
)
def test_a_schedule_that_would_not_be_kept_is_refused(
    fleet: FleetStage, groups: Groups, about: dict[str, Any], expected: str
) -> None:
    name = groups(fleet.template(), MinSize=0, MaxSize=1, DesiredCapacity=0)
    with pytest.raises(ClientError) as refused:
        fleet.scaling.put_scheduled_update_group_action(
            AutoScalingGroupName=name, ScheduledActionName="evening", **about
        )
    assert code(refused) == expected
