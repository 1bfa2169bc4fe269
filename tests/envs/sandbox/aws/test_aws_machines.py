"""Machines, disks and interfaces: each state lasts a moment, and what EC2 refuses in it is refused."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.fleet_stage import ZONE, FleetStage, eventually

pytestmark = pytest.mark.xdist_group("aws-machines")  # one AWS process for all of them


@pytest.fixture(scope="module")
def machines(fleet: FleetStage) -> Iterator[list[str]]:
    """Two machines that run in the first two zones."""
    made = [fleet.run(subnet) for subnet in range(2)]
    yield made
    fleet.ec2.terminate_instances(InstanceIds=made)


def refused(call: Callable[..., Any], code: str, words: str | None = None, **request: Any) -> None:
    with pytest.raises(ClientError, match=words) as error:
        call(**request)
    assert error.value.response["Error"]["Code"] == code


def volume(fleet: FleetStage, **about: Any) -> str:
    """A volume that is available."""
    made = fleet.ec2.create_volume(**{"AvailabilityZone": ZONE, "Size": 10, **about})
    assert made["State"] == "creating"
    eventually(lambda: disk(fleet, made["VolumeId"])["State"] == "available")
    return made["VolumeId"]


def disk(fleet: FleetStage, identifier: str) -> dict[str, Any]:
    return fleet.ec2.describe_volumes(VolumeIds=[identifier])["Volumes"][0]


def snapshot(fleet: FleetStage, identifier: str) -> dict[str, Any]:
    return fleet.ec2.describe_snapshots(SnapshotIds=[identifier])["Snapshots"][0]


def test_a_machine_goes_through_its_states(fleet: FleetStage) -> None:
    ec2 = fleet.ec2
    made = ec2.run_instances(
        ImageId=fleet.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"],
        MinCount=1,
        MaxCount=1,
        SubnetId=fleet.network.subnets[0],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "role", "Value": "worker"}]}],
    )["Instances"][0]
    identifier = made["InstanceId"]
    assert (made["State"]["Name"], made["Tags"]) == ("pending", [{"Key": "role", "Value": "worker"}])
    refused(ec2.stop_instances, "IncorrectInstanceState", "from which it can be stopped", InstanceIds=[identifier])
    eventually(lambda: fleet.state(identifier) == "running")

    ec2.stop_instances(InstanceIds=[identifier])
    assert fleet.state(identifier) == "stopping"
    refused(ec2.start_instances, "IncorrectInstanceState", "from which it can be started", InstanceIds=[identifier])
    eventually(lambda: fleet.state(identifier) == "stopped")
    ec2.start_instances(InstanceIds=[identifier])
    assert fleet.state(identifier) == "pending"
    eventually(lambda: fleet.state(identifier) == "running")

    ec2.terminate_instances(InstanceIds=[identifier])
    assert fleet.state(identifier) == "shutting-down"
    eventually(lambda: fleet.state(identifier) == "terminated")
    refused(ec2.stop_instances, "IncorrectInstanceState", "it can be stopped", InstanceIds=[identifier])
    refused(ec2.terminate_instances, "InvalidInstanceID.NotFound", InstanceIds=["i-0123456789abcdef0"])


def test_a_disk_is_attached_in_its_zone_once_and_where_nothing_is(fleet: FleetStage, machines: list[str]) -> None:
    here, there = machines
    ec2, first = fleet.ec2, volume(fleet)
    refused(ec2.attach_volume, "InvalidVolume.ZoneMismatch", VolumeId=first, InstanceId=there, Device="xvdf")
    attached = ec2.attach_volume(VolumeId=first, InstanceId=here, Device="xvdf")
    assert attached["State"] == "attaching"
    eventually(lambda: disk(fleet, first)["Attachments"][0]["State"] == "attached")
    refused(ec2.attach_volume, "VolumeInUse", VolumeId=first, InstanceId=here, Device="xvdg")
    refused(ec2.delete_volume, "VolumeInUse", VolumeId=first)
    second = volume(fleet)
    refused(
        ec2.attach_volume, "InvalidParameterValue", "already in use", VolumeId=second, InstanceId=here, Device="xvdf"
    )
    root = fleet.machine(here)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    refused(ec2.detach_volume, "OperationNotPermitted", "Unable to detach root volume", VolumeId=root)

    assert ec2.detach_volume(VolumeId=first)["State"] == "detaching"
    assert disk(fleet, first)["State"] == "in-use"
    eventually(lambda: disk(fleet, first)["State"] == "available")
    refused(ec2.detach_volume, "IncorrectState", "is in the 'available' state", VolumeId=first)
    for each in (first, second):
        ec2.delete_volume(VolumeId=each)
    refused(ec2.create_volume, "InvalidZone.NotFound", AvailabilityZone="us-east-1x", Size=10)


def test_a_disk_that_is_not_there_yet_is_not_attached(fleet: FleetStage, machines: list[str]) -> None:
    made = fleet.ec2.create_volume(AvailabilityZone=ZONE, Size=10)["VolumeId"]
    refused(
        fleet.ec2.attach_volume,
        "IncorrectState",
        "is not 'available'",
        VolumeId=made,
        InstanceId=machines[0],
        Device="f",
    )
    eventually(lambda: disk(fleet, made)["State"] == "available")
    fleet.ec2.delete_volume(VolumeId=made)


def test_a_disk_outlives_its_machine(fleet: FleetStage) -> None:
    machine, kept = fleet.run(), volume(fleet)
    fleet.ec2.attach_volume(VolumeId=kept, InstanceId=machine, Device="xvdf")
    root = fleet.machine(machine)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    fleet.ec2.terminate_instances(InstanceIds=[machine])
    refused(
        fleet.ec2.attach_volume, "IncorrectState", "not 'running'", VolumeId=kept, InstanceId=machine, Device="xvdg"
    )
    assert disk(fleet, kept)["State"] == "in-use"
    eventually(lambda: disk(fleet, kept)["State"] == "available")
    refused(fleet.ec2.describe_volumes, "InvalidVolume.NotFound", VolumeIds=[root])
    fleet.ec2.delete_volume(VolumeId=kept)


def test_a_disk_comes_back_from_its_snapshot_under_its_key(aws: Aws, fleet: FleetStage) -> None:
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    source = volume(fleet, Encrypted=True, KmsKeyId=key)
    tags = [{"Key": "role", "Value": "seed-data"}]
    taken = fleet.ec2.create_snapshot(VolumeId=source, TagSpecifications=[{"ResourceType": "snapshot", "Tags": tags}])
    identifier = taken["SnapshotId"]
    assert (taken["State"], taken["Tags"]) == ("pending", tags)
    restore = {"SnapshotId": identifier, "AvailabilityZone": "us-east-1b"}
    refused(fleet.ec2.create_volume, "IncorrectState", "invalid state - pending", **restore)
    done = eventually(lambda: (found := snapshot(fleet, identifier))["State"] == "completed" and found)
    assert (done["Progress"], done["Encrypted"], done["KmsKeyId"]) == ("100%", True, key)
    refused(fleet.ec2.create_volume, "InvalidParameterValue", "expect size >= 10GiB", Size=5, **restore)

    fleet.ec2.delete_volume(VolumeId=source)
    wanted = [{"ResourceType": "volume", "Tags": tags}]
    restored = disk(fleet, volume(fleet, Size=12, TagSpecifications=wanted, **restore))
    assert (restored["Encrypted"], restored["KmsKeyId"], restored["Size"], restored["AvailabilityZone"]) == (
        True,
        key,
        12,
        "us-east-1b",
    )
    assert (restored["SnapshotId"], restored["Tags"]) == (identifier, tags)
    fleet.ec2.delete_volume(VolumeId=restored["VolumeId"])
    fleet.ec2.delete_snapshot(SnapshotId=identifier)


def test_a_second_interface_is_attached_in_its_zone_and_once(fleet: FleetStage, machines: list[str]) -> None:
    here, there = machines
    ec2 = fleet.ec2
    first, second = (
        ec2.create_network_interface(SubnetId=fleet.network.subnets[0])["NetworkInterface"]["NetworkInterfaceId"]
        for _ in range(2)
    )
    attach = ec2.attach_network_interface
    refused(
        attach,
        "InvalidParameterCombination",
        "same availability zone",
        NetworkInterfaceId=first,
        InstanceId=there,
        DeviceIndex=1,
    )
    attachment = attach(NetworkInterfaceId=first, InstanceId=here, DeviceIndex=1)["AttachmentId"]
    refused(attach, "InvalidNetworkInterface.InUse", NetworkInterfaceId=first, InstanceId=here, DeviceIndex=2)
    refused(
        attach,
        "InvalidParameterValue",
        "at device index '1'",
        NetworkInterfaceId=second,
        InstanceId=here,
        DeviceIndex=1,
    )
    told = fleet.machine(here)["NetworkInterfaces"]
    assert [each["Attachment"]["DeviceIndex"] for each in told] == [0, 1]
    primary = told[0]["Attachment"]["AttachmentId"]
    refused(ec2.detach_network_interface, "OperationNotPermitted", "device index 0", AttachmentId=primary)
    ec2.detach_network_interface(AttachmentId=attachment)
    for each in (first, second):
        ec2.delete_network_interface(NetworkInterfaceId=each)


def test_addresses_are_given_once(fleet: FleetStage) -> None:
    subnet = fleet.network.subnets[2]
    made = [fleet.ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"] for _ in range(20)]
    assert len({each["PrivateIpAddress"] for each in made}) == 20
    for each in made:
        fleet.ec2.delete_network_interface(NetworkInterfaceId=each["NetworkInterfaceId"])
