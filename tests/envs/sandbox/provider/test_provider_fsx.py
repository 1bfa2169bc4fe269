"""A Windows share under the real engine: up, unchanged, changed in place, replaced where it must be, and gone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from provider_stage import Sandbox, Stack

pytestmark = pytest.mark.xdist_group("provider-engine")


@pytest.fixture
def directory(sandbox: Sandbox) -> Iterator[str]:
    """A directory in a network of its own, as a company has it before there is an environment."""
    ec2, ds = sandbox.client("ec2"), sandbox.client("ds")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{at}.0/24", AvailabilityZone=f"eu-central-1{zone}")["Subnet"]
        for at, zone in enumerate("ab")
    ]
    ids = [subnet["SubnetId"] for subnet in subnets]
    made = ds.create_microsoft_ad(
        Name="corp.example.com", Password="Passw0rd-1", VpcSettings={"VpcId": vpc, "SubnetIds": ids}
    )["DirectoryId"]
    yield made
    ds.delete_directory(DirectoryId=made)
    for subnet in ids:
        ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)


def test_a_share_lives_and_leaves_nothing(sandbox: Sandbox, tmp_path: Path, directory: str) -> None:
    stack, fsx, ec2 = Stack(sandbox, tmp_path), sandbox.client("fsx"), sandbox.client("ec2")

    def told() -> dict[str, Any]:
        return fsx.describe_file_systems(FileSystemIds=[stack.ids()["share"]])["FileSystems"][0]

    stack.up("share", directory=directory)
    stack.unchanged("share", directory=directory)
    made, state = stack.ids(), stack.resources()["share"]["outputs"]
    assert state["dnsName"].endswith(".corp.example.com")
    assert len(state["networkInterfaceIds"]) == 2
    first = ec2.describe_network_interfaces(NetworkInterfaceIds=state["networkInterfaceIds"])["NetworkInterfaces"]
    assert {each["SubnetId"] for each in first} == {made["subnet-a"], made["subnet-b"]}
    preferred = next(each for each in first if each["SubnetId"] == made["subnet-a"])
    assert state["preferredFileServerIp"] == preferred["PrivateIpAddress"]

    grown = {"directory": directory, "storage": 64, "throughput": 128, "days": 30, "owner": "two"}
    stack.up("share", **grown)
    stack.unchanged("share", **grown)
    assert stack.ids() == made, "everything could be changed in place"
    windows = told()["WindowsConfiguration"]
    assert (told()["StorageCapacity"], windows["ThroughputCapacity"]) == (64, 128)
    assert windows["AutomaticBackupRetentionDays"] == 30
    assert {"Key": "Owner", "Value": "two"} in told()["Tags"]

    assert "not at least 10 percent greater" in stack.fails("up", "share", **{**grown, "storage": 65})

    stack.up("share", **grown, server="two")
    again = stack.ids()
    assert {name for name in made if again[name] != made[name]} == {"share"}

    stack.up("share", **grown, server="two", backup=True)
    assert stack.ids() == again
    stack.destroy()
    assert fsx.describe_file_systems()["FileSystems"] == []
    left = ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert not [each for each in left if again["share"] in each["Description"]]
    (backup,) = fsx.describe_backups()["Backups"]
    fsx.delete_backup(BackupId=backup["BackupId"])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"directory": "d-0000000000"}, "d-0000000000 does not exist"),
        ({"zones": "abc"}, "takes exactly 2 subnets, not 3"),
        ({"throughput": 16}, "Throughput capacity 16 is not supported for MULTI_AZ_1"),
        ({"storage": 31}, "Storage capacity 31 is not between 32 and 65536"),
    ],
)
def test_what_aws_would_refuse_says_why(
    sandbox: Sandbox, tmp_path: Path, directory: str, wrong: dict[str, Any], reason: str
) -> None:
    stack = Stack(sandbox, tmp_path)
    assert reason in stack.fails("up", "share", **{"directory": directory, **wrong})
    stack.destroy()
