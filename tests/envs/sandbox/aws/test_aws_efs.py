"""File systems as the provider makes and reads them, and what AWS refuses."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.network import Network, make_network

pytestmark = pytest.mark.xdist_group("aws-efs")  # one AWS process for all of them


@pytest.fixture(scope="module")
def efs(aws: Aws) -> Any:
    return aws.client("efs")


@pytest.fixture(scope="module")
def network(aws: Aws) -> Network:
    return make_network(aws.client("ec2"))


@pytest.fixture
def files(efs: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """A new file system with elastic throughput, which goes with its mount targets."""
    made = efs.create_file_system(CreationToken=request.node.name[:64], ThroughputMode="elastic")["FileSystemId"]
    yield made
    for target in efs.describe_mount_targets(FileSystemId=made)["MountTargets"]:
        efs.delete_mount_target(MountTargetId=target["MountTargetId"])
    efs.delete_file_system(FileSystemId=made)


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return error.value.response["Error"]["Code"]


def policy(efs: Any, files: str, **changes: Any) -> str:
    arn = efs.describe_file_systems(FileSystemId=files)["FileSystems"][0]["FileSystemArn"]
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "elasticfilesystem:*",
        "Resource": arn,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [{**statement, **changes}]})


@pytest.mark.parametrize(
    "wanted",
    [
        {"ThroughputMode": "provisioned"},
        {"ThroughputMode": "elastic", "ProvisionedThroughputInMibps": 10},
        {"ThroughputMode": "provisioned", "ProvisionedThroughputInMibps": 5000},
        {"ThroughputMode": "elastic", "PerformanceMode": "maxIO"},
        {"PerformanceMode": "maxIO", "AvailabilityZoneName": "us-east-1a"},
        {"Encrypted": True, "KmsKeyId": "arn:aws:kms:us-east-1:123456789012:key/none"},
    ],
    ids=["no-figure", "figure-without-mode", "figure-too-large", "elastic-max-io", "one-zone-max-io", "no-key"],
)
def test_what_does_not_fit_together_is_refused(efs: Any, wanted: dict[str, Any]) -> None:
    assert refusal(efs.create_file_system, CreationToken="wrong", **wanted) == "BadRequest"


def test_throughput_changes_once_a_day(efs: Any, files: str) -> None:
    told = efs.update_file_system(FileSystemId=files, ThroughputMode="provisioned", ProvisionedThroughputInMibps=20)
    assert (told["ThroughputMode"], told["ProvisionedThroughputInMibps"]) == ("provisioned", 20)
    efs.update_file_system(FileSystemId=files, ProvisionedThroughputInMibps=40)
    assert refusal(efs.update_file_system, FileSystemId=files, ProvisionedThroughputInMibps=10) == "TooManyRequests"
    assert refusal(efs.update_file_system, FileSystemId=files, ThroughputMode="elastic") == "TooManyRequests"


@pytest.mark.parametrize(
    "policies",
    [
        [{"TransitionToIA": "AFTER_30_DAYS", "TransitionToArchive": "AFTER_90_DAYS"}],
        [{"TransitionToIA": "AFTER_30_DAYS"}, {"TransitionToIA": "AFTER_60_DAYS"}],
        [{"TransitionToIA": "AFTER_90_DAYS"}, {"TransitionToArchive": "AFTER_90_DAYS"}],
        [{"TransitionToIA": "AFTER_31_DAYS"}],
    ],
    ids=["two-in-one", "twice", "archive-too-early", "no-such-step"],
)
def test_a_lifecycle_that_efs_does_not_take_is_refused(efs: Any, files: str, policies: list[dict[str, str]]) -> None:
    put = efs.put_lifecycle_configuration
    assert refusal(put, FileSystemId=files, LifecyclePolicies=policies) == "BadRequest"


def test_archive_goes_with_elastic_throughput_only(efs: Any, files: str) -> None:
    archive = [{"TransitionToIA": "AFTER_1_DAY"}, {"TransitionToArchive": "AFTER_7_DAYS"}]
    efs.put_lifecycle_configuration(FileSystemId=files, LifecyclePolicies=archive)
    assert efs.describe_lifecycle_configuration(FileSystemId=files)["LifecyclePolicies"] == archive
    assert refusal(efs.update_file_system, FileSystemId=files, ThroughputMode="bursting") == "BadRequest"


def test_backups_are_switched_on_and_off(efs: Any, files: str) -> None:
    assert refusal(efs.describe_backup_policy, FileSystemId=files) == "PolicyNotFound"
    for status in ("ENABLED", "DISABLED"):
        efs.put_backup_policy(FileSystemId=files, BackupPolicy={"Status": status})
        assert efs.describe_backup_policy(FileSystemId=files)["BackupPolicy"] == {"Status": status}
    assert refusal(efs.describe_backup_policy, FileSystemId="fs-0123456789abcdef0") == "FileSystemNotFound"


def test_a_policy_comes_and_goes(efs: Any, files: str) -> None:
    efs.put_file_system_policy(FileSystemId=files, Policy=policy(efs, files))
    assert "SecureTransport" in efs.describe_file_system_policy(FileSystemId=files)["Policy"]
    efs.delete_file_system_policy(FileSystemId=files)
    assert refusal(efs.describe_file_system_policy, FileSystemId=files) == "PolicyNotFound"


@pytest.mark.parametrize(
    "changes",
    [{"Principal": None}, {"Action": "s3:GetObject"}, {"Resource": "arn:aws:s3:::other"}, {"Effect": "Maybe"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_policy_that_speaks_of_something_else_is_refused(efs: Any, files: str, changes: dict[str, Any]) -> None:
    document = policy(efs, files, **changes)
    put = efs.put_file_system_policy
    assert refusal(put, FileSystemId=files, Policy=document) == "InvalidPolicyException"


def test_access_points_are_of_a_file_system_and_of_a_path_that_can_be_made(efs: Any, files: str) -> None:
    make = efs.create_access_point
    deep = {"Path": "/a/b/c/d/e"}
    loose = {"Path": "/a", "CreationInfo": {"OwnerUid": 1, "OwnerGid": 1, "Permissions": "999"}}
    assert refusal(make, ClientToken="a", FileSystemId="fs-0123456789abcdef0") == "FileSystemNotFound"
    assert refusal(make, ClientToken="b", FileSystemId=files, RootDirectory=deep) == "BadRequest"
    assert refusal(make, ClientToken="c", FileSystemId=files, RootDirectory=loose) == "BadRequest"
    made = make(ClientToken="d", FileSystemId=files, RootDirectory={"Path": "/a"})["AccessPointId"]
    efs.delete_access_point(AccessPointId=made)
    assert refusal(efs.delete_access_point, AccessPointId=made) == "AccessPointNotFound"


def test_a_zone_has_one_mount_target(aws: Aws, efs: Any, files: str, network: Network) -> None:
    first, second, _ = network.subnets
    efs.create_mount_target(FileSystemId=files, SubnetId=first)
    assert refusal(efs.create_mount_target, FileSystemId=files, SubnetId=first) == "MountTargetConflict"
    efs.create_mount_target(FileSystemId=files, SubnetId=second)
    assert refusal(efs.delete_file_system, FileSystemId=files) == "FileSystemInUse"


def test_a_mount_target_has_groups_of_its_own_network(aws: Aws, efs: Any, files: str, network: Network) -> None:
    ec2 = aws.client("ec2")
    other = make_network(ec2, "10.77")
    first, *_ = network.subnets
    wanted = {"FileSystemId": files, "SubnetId": first}
    assert refusal(efs.create_mount_target, **wanted, SecurityGroups=[other.group]) == "SecurityGroupNotFound"
    target = efs.create_mount_target(**wanted, SecurityGroups=[network.group])
    change = efs.modify_mount_target_security_groups
    assert (
        refusal(change, MountTargetId=target["MountTargetId"], SecurityGroups=[other.group])
        == "SecurityGroupNotFound"
    )
    assert refusal(ec2.delete_security_group, GroupId=network.group) == "DependencyViolation"
    elsewhere = {"FileSystemId": files, "SubnetId": other.subnets[1]}
    assert refusal(efs.create_mount_target, **elsewhere) == "MountTargetConflict"


def test_without_a_group_a_mount_target_has_the_default_one(aws: Aws, efs: Any, files: str, network: Network) -> None:
    made = efs.create_mount_target(FileSystemId=files, SubnetId=network.subnets[2])["MountTargetId"]
    (group,) = efs.describe_mount_target_security_groups(MountTargetId=made)["SecurityGroups"]
    told = aws.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    assert (told["GroupName"], told["VpcId"]) == ("default", network.vpc)


def test_a_file_system_of_one_zone_is_mounted_there(efs: Any, network: Network) -> None:
    made = efs.create_file_system(CreationToken="one-zone", AvailabilityZoneName="us-east-1a")["FileSystemId"]
    wanted = {"FileSystemId": made, "SubnetId": network.subnets[1]}
    assert refusal(efs.create_mount_target, **wanted) == "AvailabilityZonesMismatch"
    assert efs.describe_backup_policy(FileSystemId=made)["BackupPolicy"] == {"Status": "ENABLED"}
    efs.delete_file_system(FileSystemId=made)


def test_an_address_is_given_once(efs: Any, files: str, network: Network) -> None:
    address = "10.0.0.77"
    efs.create_mount_target(FileSystemId=files, SubnetId=network.subnets[0], IpAddress=address)
    other = efs.create_file_system(CreationToken="other")["FileSystemId"]
    wanted = {"FileSystemId": other, "SubnetId": network.subnets[0], "IpAddress": address}
    assert refusal(efs.create_mount_target, **wanted) == "IpAddressInUse"
    efs.delete_file_system(FileSystemId=other)
