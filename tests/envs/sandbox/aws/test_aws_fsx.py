"""Windows file systems as the provider makes and reads them, and what AWS refuses."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.fleet_stage import eventually
from tests.envs.sandbox.aws.network import Network, make_network

pytestmark = pytest.mark.xdist_group("aws-fsx")  # one AWS process for all of them
NOWHERE = "0" * 17


class Stage:
    """A network, a directory in it, and requests for file systems."""

    def __init__(self, aws: Aws) -> None:
        self.aws, self.fsx, self.ec2 = aws, aws.client("fsx"), aws.client("ec2")
        self.network: Network = make_network(self.ec2)
        self.place = {"VpcId": self.network.vpc, "SubnetIds": self.network.subnets[:2]}
        ds = aws.client("ds")
        self.directory = ds.create_microsoft_ad(
            Name="corp.example.com", Password="Passw0rd-1", VpcSettings=self.place
        )["DirectoryId"]
        self.simple = ds.create_directory(
            Name="simple.example.com", Password="Passw0rd-1", Size="Small", VpcSettings=self.place
        )["DirectoryId"]

    def request(self, windows: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        """A CreateFileSystem request as the program makes it."""
        configuration = {
            "ActiveDirectoryId": self.directory,
            "DeploymentType": "MULTI_AZ_1",
            "PreferredSubnetId": self.network.subnets[1],
            "ThroughputCapacity": 32,
            **(windows or {}),
        }
        return {
            "FileSystemType": "WINDOWS",
            "StorageCapacity": 32,
            "SubnetIds": self.network.subnets[:2],
            "SecurityGroupIds": [self.network.group],
            "WindowsConfiguration": {name: value for name, value in configuration.items() if value is not None},
            **changes,
        }

    def told(self, identifier: str) -> dict[str, Any]:
        return self.fsx.describe_file_systems(FileSystemIds=[identifier])["FileSystems"][0]


@pytest.fixture(scope="module")
def stage(aws: Aws) -> Stage:
    return Stage(aws)


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return error.value.response["Error"]["Code"]


def test_a_file_system_becomes_available_changes_and_goes(stage: Stage) -> None:
    made = stage.fsx.create_file_system(**stage.request())["FileSystem"]
    identifier = made["FileSystemId"]
    assert made["Lifecycle"] == "CREATING"
    change = {"FileSystemId": identifier, "WindowsConfiguration": {"ThroughputCapacity": 64}}
    assert refusal(stage.fsx.update_file_system, **change) == "BadRequest"
    eventually(lambda: stage.told(identifier)["Lifecycle"] == "AVAILABLE")
    interfaces = stage.ec2.describe_network_interfaces(NetworkInterfaceIds=made["NetworkInterfaceIds"])
    places = {each["SubnetId"]: each["PrivateIpAddress"] for each in interfaces["NetworkInterfaces"]}
    assert places.keys() == set(stage.network.subnets[:2])
    assert made["WindowsConfiguration"]["PreferredFileServerIp"] == places[stage.network.subnets[1]]

    updated = stage.fsx.update_file_system(**change, StorageCapacity=40)["FileSystem"]
    assert updated["AdministrativeActions"][0]["Status"] == "IN_PROGRESS"
    eventually(lambda: stage.told(identifier)["AdministrativeActions"][0]["Status"] == "COMPLETED")
    found = stage.told(identifier)
    assert (found["StorageCapacity"], found["WindowsConfiguration"]["ThroughputCapacity"]) == (40, 64)
    for capacity in (40, 43, 30, 70000):
        assert (
            refusal(stage.fsx.update_file_system, FileSystemId=identifier, StorageCapacity=capacity) == "BadRequest"
        )

    stage.fsx.delete_file_system(FileSystemId=identifier, WindowsConfiguration={"SkipFinalBackup": True})
    eventually(lambda: not stage.fsx.describe_file_systems()["FileSystems"])
    assert refusal(stage.fsx.describe_file_systems, FileSystemIds=[identifier]) == "FileSystemNotFound"
    assert stage.fsx.describe_backups()["Backups"] == []


def test_a_backup_stays_unless_it_is_skipped(stage: Stage) -> None:
    identifier = stage.fsx.create_file_system(**stage.request())["FileSystem"]["FileSystemId"]
    told = stage.fsx.delete_file_system(FileSystemId=identifier)["WindowsResponse"]
    (backup,) = stage.fsx.describe_backups()["Backups"]
    assert backup["BackupId"] == told["FinalBackupId"]
    eventually(lambda: not stage.fsx.describe_file_systems()["FileSystems"])
    stage.fsx.delete_backup(BackupId=backup["BackupId"])


@pytest.mark.parametrize(
    ("windows", "changes", "code"),
    [
        ({"ActiveDirectoryId": "d-0000000000"}, {}, "ActiveDirectoryError"),
        ({"ActiveDirectoryId": None}, {}, "ActiveDirectoryError"),
        ({"DeploymentType": "SINGLE_AZ_2"}, {}, "BadRequest"),
        ({"PreferredSubnetId": None}, {}, "BadRequest"),
        ({"PreferredSubnetId": f"subnet-{NOWHERE}"}, {}, "BadRequest"),
        ({"ThroughputCapacity": 16}, {}, "BadRequest"),
        ({"ThroughputCapacity": 48}, {}, "BadRequest"),
        ({"ThroughputCapacity": 4096}, {}, "BadRequest"),
        ({"AutomaticBackupRetentionDays": 91}, {}, "BadRequest"),
        ({"WeeklyMaintenanceStartTime": "8:05:00"}, {}, "BadRequest"),
        ({}, {"StorageCapacity": 31}, "BadRequest"),
        ({}, {"StorageCapacity": 65537}, "BadRequest"),
        ({}, {"StorageType": "HDD"}, "BadRequest"),
        ({}, {"KmsKeyId": "arn:aws:kms:us-east-1:123456789012:key/none"}, "BadRequest"),
        ({}, {"SecurityGroupIds": [f"sg-{NOWHERE}"]}, "InvalidNetworkSettings"),
        ({}, {"SubnetIds": [f"subnet-{NOWHERE}", f"subnet-{NOWHERE}"]}, "InvalidNetworkSettings"),
        ({"Aliases": ["files.example.com"]}, {}, "NotImplemented"),
        ({}, {"FileSystemType": "LUSTRE"}, "NotImplemented"),
    ],
)
def test_what_does_not_fit_is_refused(
    stage: Stage, windows: dict[str, Any], changes: dict[str, Any], code: str
) -> None:
    assert refusal(stage.fsx.create_file_system, **stage.request(windows, **changes)) == code
    assert stage.fsx.describe_file_systems()["FileSystems"] == []


def test_as_many_subnets_as_the_deployment_type_stands_in(stage: Stage) -> None:
    one, two, three = stage.network.subnets
    for subnets in ([two], [one, two, three]):
        assert refusal(stage.fsx.create_file_system, **stage.request(SubnetIds=subnets)) == "BadRequest"
    beside = stage.ec2.create_subnet(VpcId=stage.network.vpc, CidrBlock="10.0.9.0/24", AvailabilityZone="us-east-1b")
    same_zone = [two, beside["Subnet"]["SubnetId"]]
    assert refusal(stage.fsx.create_file_system, **stage.request(SubnetIds=same_zone)) == "BadRequest"


def test_a_directory_of_another_kind_is_not_joined(stage: Stage) -> None:
    wanted = stage.request({"ActiveDirectoryId": stage.simple})
    assert refusal(stage.fsx.create_file_system, **wanted) == "ActiveDirectoryError"
