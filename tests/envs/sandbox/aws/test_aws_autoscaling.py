"""Groups whose launches follow their template, and what is told when they cannot."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from envs.sandbox.aws.images import IMAGE_ID
from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.network import Network, make_network

pytestmark = pytest.mark.xdist_group("aws-autoscaling")  # one AWS process for all of them

WINDOWS = "/aws/service/ami-windows-latest/Windows_Server-2022-English-Full-Base"
ZONE = "us-east-1a"


@pytest.fixture(scope="module")
def ec2(aws: Aws) -> Any:
    return aws.client("ec2")


@pytest.fixture(scope="module")
def scaling(aws: Aws) -> Any:
    return aws.client("autoscaling")


@pytest.fixture(scope="module")
def network(ec2: Any) -> Network:
    return make_network(ec2)


@pytest.fixture
def interface(ec2: Any, network: Network) -> dict[str, Any]:
    return ec2.create_network_interface(SubnetId=network.subnets[0], Groups=[network.group])["NetworkInterface"]


@pytest.fixture
def groups(scaling: Any) -> Iterator[Any]:
    """Makes groups of one, and ends them."""
    names: list[str] = []

    def make(template: str, **about: Any) -> str:
        name = f"group-{time.monotonic_ns()}"
        wanted = {"MinSize": 1, "MaxSize": 1, "DesiredCapacity": 1, "AvailabilityZones": [ZONE]}
        scaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            LaunchTemplate={"LaunchTemplateId": template, "Version": about.pop("version", "$Latest")},
            **{key: value for key, value in {**wanted, **about}.items() if value is not None},
        )
        names.append(name)
        return name

    yield make
    for name in names:
        scaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)


def template(ec2: Any, **data: Any) -> str:
    wanted = {"ImageId": f"resolve:ssm:{WINDOWS}", "InstanceType": "m5.large", **data}
    made = ec2.create_launch_template(LaunchTemplateName=f"t-{time.monotonic_ns()}", LaunchTemplateData=wanted)
    return made["LaunchTemplate"]["LaunchTemplateId"]


def at(interface: dict[str, Any]) -> dict[str, Any]:
    return {"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": interface["NetworkInterfaceId"]}]}


def instances(scaling: Any, name: str) -> list[str]:
    group = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]
    return [each["InstanceId"] for each in group["Instances"]]


def failure(scaling: Any, name: str) -> str:
    newest = scaling.describe_scaling_activities(AutoScalingGroupName=name)["Activities"][0]
    assert (newest["StatusCode"], newest["Progress"]) == ("Failed", 100)
    return newest["StatusMessage"]


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]


def test_a_machine_takes_the_interface_and_leaves_it_with_its_address(
    ec2: Any, scaling: Any, groups: Any, interface: dict[str, Any]
) -> None:
    name = groups(template(ec2, **at(interface)))
    (first,) = instances(scaling, name)
    told = ec2.describe_instances(InstanceIds=[first])["Reservations"][0]["Instances"][0]
    assert (told["PrivateIpAddress"], told["SubnetId"], told["ImageId"]) == (
        interface["PrivateIpAddress"],
        interface["SubnetId"],
        IMAGE_ID,
    )
    volume = ec2.create_volume(AvailabilityZone=ZONE, Size=10, VolumeType="gp3")["VolumeId"]
    ec2.attach_volume(VolumeId=volume, InstanceId=first, Device="xvdf")

    ec2.terminate_instances(InstanceIds=[first])

    (second,) = instances(scaling, name)
    assert second != first
    told = ec2.describe_instances(InstanceIds=[second])["Reservations"][0]["Instances"][0]
    assert told["PrivateIpAddress"] == interface["PrivateIpAddress"]
    assert ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available"
    scaling.update_auto_scaling_group(AutoScalingGroupName=name, MinSize=0, DesiredCapacity=0)
    identifier = interface["NetworkInterfaceId"]
    free = ec2.describe_network_interfaces(NetworkInterfaceIds=[identifier])["NetworkInterfaces"][0]
    assert (free["Status"], "Attachment" in free) == ("available", False)
    ec2.delete_network_interface(NetworkInterfaceId=identifier)
    ec2.delete_volume(VolumeId=volume)


def test_an_interface_in_use_fails_the_launch_until_it_is_free(
    ec2: Any, scaling: Any, groups: Any, interface: dict[str, Any]
) -> None:
    shared = template(ec2, **at(interface))
    owner, waiting = groups(shared), groups(shared)
    assert instances(scaling, waiting) == []
    identifier = interface["NetworkInterfaceId"]
    assert failure(scaling, waiting) == f"Interface: [{identifier}] in use. Launching EC2 instance failed."
    with pytest.raises(ClientError, match="currently in use") as error:
        ec2.delete_network_interface(NetworkInterfaceId=identifier)
    assert code(error) == "InvalidParameterValue"
    with pytest.raises(ClientError) as error:
        ec2.attach_network_interface(
            NetworkInterfaceId=identifier, InstanceId=instances(scaling, owner)[0], DeviceIndex=1
        )
    assert code(error) == "InvalidNetworkInterface.InUse"

    scaling.update_auto_scaling_group(AutoScalingGroupName=owner, MinSize=0, MaxSize=0, DesiredCapacity=0)
    deadline = time.monotonic() + 30
    while not instances(scaling, waiting):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    activities = scaling.describe_scaling_activities(AutoScalingGroupName=waiting)["Activities"]
    assert activities[0]["StatusCode"] == "Successful"


def test_an_interface_of_another_zone_fails_the_launch(
    ec2: Any, scaling: Any, groups: Any, interface: dict[str, Any]
) -> None:
    name = groups(template(ec2, **at(interface)), AvailabilityZones=["us-east-1b"])
    assert "Value (us-east-1b) for parameter availabilityZone is invalid" in failure(scaling, name)


def test_an_interface_brings_its_subnet(
    ec2: Any, scaling: Any, groups: Any, interface: dict[str, Any], network: Network
) -> None:
    name = groups(template(ec2, **at(interface)), AvailabilityZones=None, VPCZoneIdentifier=network.subnets[0])
    assert "may not be specified on the same request" in failure(scaling, name)


def test_a_zone_alone_needs_a_default_vpc(ec2: Any, scaling: Any, groups: Any) -> None:
    assert "default VPC" in failure(scaling, groups(template(ec2)))


def test_machines_are_spread_and_made_as_the_version_says(
    aws: Aws, ec2: Any, scaling: Any, groups: Any, network: Network
) -> None:
    iam = aws.client("iam")
    iam.create_instance_profile(InstanceProfileName="nodes")
    script = base64.b64encode(b"<powershell></powershell>").decode()
    disk = {"VolumeSize": 60, "Encrypted": True, "VolumeType": "gp3", "DeleteOnTermination": True}
    made = template(ec2)
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
        AvailabilityZones=None,
        VPCZoneIdentifier=",".join(network.subnets),
    )
    told = [
        instance
        for reservation in ec2.describe_instances(InstanceIds=instances(scaling, name))["Reservations"]
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
        scaling.delete_auto_scaling_group(AutoScalingGroupName=name)
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
def test_a_template_that_cannot_launch_is_refused(ec2: Any, groups: Any, data: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words) as error:
        groups(template(ec2, **data))
    assert code(error) == "ValidationError"


def test_user_data_has_a_limit(ec2: Any) -> None:
    with pytest.raises(ClientError, match="limited to 16384 bytes"):
        template(ec2, UserData=base64.b64encode(b"x" * (16 * 1024 + 1)).decode())
    template(ec2, UserData=base64.b64encode(b"x" * 16 * 1024).decode())


def test_a_templates_own_tags_stay_out_of_its_data(ec2: Any) -> None:
    tags = [{"ResourceType": "launch-template", "Tags": [{"Key": "a", "Value": "b"}]}]
    made = ec2.create_launch_template(
        LaunchTemplateName="tagged", LaunchTemplateData={"InstanceType": "m5.large"}, TagSpecifications=tags
    )["LaunchTemplate"]
    assert made["Tags"] == tags[0]["Tags"]
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=made["LaunchTemplateId"], Versions=["1"])
    assert not versions["LaunchTemplateVersions"][0]["LaunchTemplateData"].get("TagSpecifications")


def test_a_key_of_ones_own_needs_a_grant_for_auto_scaling(
    aws: Aws, ec2: Any, scaling: Any, groups: Any, network: Network
) -> None:
    kms = aws.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    disk = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 50, "Encrypted": True, "KmsKeyId": key}}
    made = template(ec2, BlockDeviceMappings=[disk])
    name = groups(made, AvailabilityZones=None, VPCZoneIdentifier=network.subnets[0])
    assert "Client.InternalError: Client error on launch" in failure(scaling, name)
    group = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]
    kms.create_grant(KeyId=key, GranteePrincipal=group["ServiceLinkedRoleARN"], Operations=["CreateGrant", "Decrypt"])
    deadline = time.monotonic() + 30
    while not instances(scaling, name):
        assert time.monotonic() < deadline
        time.sleep(0.2)


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


def test_a_disk_is_attached_in_its_zone_and_once(ec2: Any, network: Network) -> None:
    here, there = (
        ec2.run_instances(ImageId=IMAGE_ID, InstanceType="m5.large", MinCount=1, MaxCount=1, SubnetId=subnet)[
            "Instances"
        ][0]["InstanceId"]
        for subnet in network.subnets[:2]
    )
    volume = ec2.create_volume(AvailabilityZone=ZONE, Size=10)["VolumeId"]
    with pytest.raises(ClientError) as error:
        ec2.attach_volume(VolumeId=volume, InstanceId=there, Device="xvdf")
    assert code(error) == "InvalidVolume.ZoneMismatch"
    ec2.attach_volume(VolumeId=volume, InstanceId=here, Device="xvdf")
    with pytest.raises(ClientError) as error:
        ec2.attach_volume(VolumeId=volume, InstanceId=here, Device="xvdg")
    assert code(error) == "VolumeInUse"
    ec2.terminate_instances(InstanceIds=[here, there])
    with pytest.raises(ClientError) as error:
        ec2.create_volume(AvailabilityZone="us-east-1x", Size=10)
    assert code(error) == "InvalidZone.NotFound"


def test_addresses_are_given_once(ec2: Any, network: Network) -> None:
    made = [ec2.create_network_interface(SubnetId=network.subnets[2])["NetworkInterface"] for _ in range(20)]
    assert len({each["PrivateIpAddress"] for each in made}) == 20
    for each in made:
        ec2.delete_network_interface(NetworkInterfaceId=each["NetworkInterfaceId"])


def test_machines_come_to_a_target_group_and_leave_it(
    aws: Aws, ec2: Any, scaling: Any, groups: Any, network: Network
) -> None:
    elb = aws.client("elbv2")
    target = elb.create_target_group(Name="nodes", Protocol="TCP", Port=8443, VpcId=network.vpc)["TargetGroups"][0]
    arn = target["TargetGroupArn"]

    def registered() -> set[str]:
        told = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        return {each["Target"]["Id"] for each in told}

    name = groups(
        template(ec2),
        MinSize=0,
        MaxSize=2,
        DesiredCapacity=2,
        AvailabilityZones=None,
        VPCZoneIdentifier=network.subnets[0],
        TargetGroupARNs=[arn],
    )
    assert registered() == set(instances(scaling, name))
    scaling.update_auto_scaling_group(AutoScalingGroupName=name, DesiredCapacity=1)
    assert len(registered()) == 1
    ec2.terminate_instances(InstanceIds=instances(scaling, name))
    assert registered() == set(instances(scaling, name))
    assert len(registered()) == 1


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
