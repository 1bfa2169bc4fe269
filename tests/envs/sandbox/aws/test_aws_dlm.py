"""Snapshot policies: kept as they are said, run at their time or by hand, with the rights of their role."""

import json
from typing import Any
from urllib.error import HTTPError

import pytest
from botocore.exceptions import ClientError

from envs.sandbox.aws.inventory import inventory
from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.fleet_stage import ZONE, FleetStage, eventually

pytestmark = pytest.mark.xdist_group("aws-dlm")  # one AWS process for all of them

TAKES = ("ec2:CreateSnapshot", "ec2:CreateTags", "ec2:DeleteSnapshot", "ec2:DescribeVolumes")


@pytest.fixture(scope="module")
def role(aws: Aws) -> str:
    return make_role(aws, "snapshots", *TAKES)


def document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def make_role(aws: Aws, name: str, *actions: str) -> str:
    trust = {"Effect": "Allow", "Principal": {"Service": "dlm.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam = aws.client("iam")
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))
    allow = document({"Effect": "Allow", "Action": list(actions), "Resource": "*"})
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=allow)
    return made["Role"]["Arn"]


def details(value: str, count: int = 2, **schedule: Any) -> dict[str, Any]:
    return {
        "PolicyType": "EBS_SNAPSHOT_MANAGEMENT",
        "ResourceTypes": ["VOLUME"],
        "TargetTags": [{"Key": "role", "Value": value}],
        "Schedules": [
            {
                "Name": "daily",
                "CopyTags": True,
                "TagsToAdd": [{"Key": "by", "Value": "schedule"}],
                "CreateRule": {"Interval": 24, "IntervalUnit": "HOURS", "Times": ["03:00"]},
                "RetainRule": {"Count": count},
                **schedule,
            }
        ],
    }


def make(aws: Aws, role: str, about: dict[str, Any], **more: Any) -> str:
    request = {"ExecutionRoleArn": role, "Description": "seed data", "State": "ENABLED", "PolicyDetails": about}
    return aws.client("dlm").create_lifecycle_policy(**{**request, **more})["PolicyId"]


def disk(fleet: FleetStage, value: str) -> str:
    tags = [{"Key": "role", "Value": value}, {"Key": "node", "Value": "seed-0"}]
    return fleet.ec2.create_volume(
        AvailabilityZone=ZONE, Size=4, TagSpecifications=[{"ResourceType": "volume", "Tags": tags}]
    )["VolumeId"]


def snapshots(fleet: FleetStage, volume: str) -> list[dict[str, Any]]:
    told = fleet.ec2.describe_snapshots(OwnerIds=["self"], Filters=[{"Name": "volume-id", "Values": [volume]}])
    return told["Snapshots"]


def test_a_policy_is_kept_changed_tagged_and_removed(aws: Aws, role: str) -> None:
    dlm = aws.client("dlm")
    about = details("kept")
    made = make(aws, role, about, Tags={"Owner": "one"})
    told = dlm.get_lifecycle_policy(PolicyId=made)["Policy"]
    arn = f"arn:aws:dlm:us-east-1:123456789012:policy/{made}"
    assert (told["PolicyArn"], told["State"], told["Tags"]) == (arn, "ENABLED", {"Owner": "one"})
    assert told["PolicyDetails"] == about
    dlm.update_lifecycle_policy(PolicyId=made, Description="other words", State="DISABLED")
    dlm.tag_resource(ResourceArn=arn, Tags={"Team": "blue"})
    dlm.untag_resource(ResourceArn=arn, TagKeys=["Owner"])
    assert dlm.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"Team": "blue"}
    (summary,) = dlm.get_lifecycle_policies(State="DISABLED")["Policies"]
    assert (summary["PolicyId"], summary["Description"]) == (made, "other words")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", aws.account.endpoint)
        assert f"dlm policy {made}" in inventory(aws.session)
    dlm.delete_lifecycle_policy(PolicyId=made)
    with pytest.raises(dlm.exceptions.ResourceNotFoundException, match=made):
        dlm.get_lifecycle_policy(PolicyId=made)


def test_a_policy_takes_snapshots_by_hand_and_keeps_so_many(aws: Aws, fleet: FleetStage, role: str) -> None:
    volume = disk(fleet, "by-hand")
    made = make(aws, role, details("by-hand"))
    taken = [fleet.call(f"dlm/run?policy={made}")["snapshots"][0] for _ in range(3)]
    eventually(lambda: all(each["State"] == "completed" for each in snapshots(fleet, volume)))
    told = snapshots(fleet, volume)
    assert {each["SnapshotId"] for each in told} == set(taken[1:])
    tags = {tag["Key"]: tag["Value"] for tag in told[0]["Tags"]}
    assert tags == {
        "role": "by-hand",
        "node": "seed-0",
        "by": "schedule",
        "aws:dlm:lifecycle-policy-id": made,
        "aws:dlm:lifecycle-schedule-name": "daily",
        "dlm:managed": "true",
    }
    aws.client("dlm").delete_lifecycle_policy(PolicyId=made)
    assert len(snapshots(fleet, volume)) == 2
    with pytest.raises(HTTPError, match="404"):
        fleet.call(f"dlm/run?policy={made}")


def test_a_policy_runs_when_its_time_comes(aws: Aws, fleet: FleetStage, role: str) -> None:
    volume = disk(fleet, "in-time")
    made = make(aws, role, details("in-time"))
    idle = make(aws, role, details("in-time"), State="DISABLED")
    fleet.advance(24 * 3600)
    (taken,) = eventually(lambda: snapshots(fleet, volume))
    assert {"Key": "aws:dlm:lifecycle-policy-id", "Value": made} in taken["Tags"]
    for each in (made, idle):
        aws.client("dlm").delete_lifecycle_policy(PolicyId=each)


def test_a_roles_rights_may_hang_on_the_tags_of_disk_and_snapshot(aws: Aws, fleet: FleetStage) -> None:
    volume = disk(fleet, "tagged")
    role = make_role(aws, "narrow", "ec2:DescribeVolumes", "ec2:CreateTags")
    about = make(aws, role, details("tagged", 1))
    for value, taken in (("other", 0), ("tagged", 1), ("tagged", 1)):
        allow = {
            "Effect": "Allow",
            "Action": ["ec2:CreateSnapshot", "ec2:DeleteSnapshot"],
            "Resource": ["arn:aws:ec2:*:*:volume/*", "arn:aws:ec2:*::snapshot/*"],
            "Condition": {"StringEquals": {"aws:ResourceTag/role": value}},
        }
        made = {"Effect": "Allow", "Action": "ec2:CreateSnapshot", "Resource": "arn:aws:ec2:*::snapshot/*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow, made]})
        aws.client("iam").put_role_policy(RoleName="narrow", PolicyName="tagged", PolicyDocument=policy)
        assert len(fleet.call(f"dlm/run?policy={about}")["snapshots"]) == taken
    assert len(snapshots(fleet, volume)) == 1
    aws.client("dlm").delete_lifecycle_policy(PolicyId=about)


def test_a_policy_whose_role_may_not_says_so(aws: Aws, fleet: FleetStage) -> None:
    volume = disk(fleet, "denied")
    weak = make_role(aws, "weak", "ec2:DescribeVolumes", "ec2:CreateSnapshot")
    made = make(aws, weak, details("denied"))
    assert fleet.call(f"dlm/run?policy={made}")["snapshots"] == []
    told = aws.client("dlm").get_lifecycle_policy(PolicyId=made)["Policy"]
    assert told["State"] == "ERROR"
    assert "ec2:CreateTags" in told["StatusMessage"]
    assert snapshots(fleet, volume) == []


@pytest.mark.parametrize(
    ("schedule", "code", "words"),
    [
        ({"CreateRule": {"Interval": 5, "IntervalUnit": "HOURS"}}, "InvalidRequestException", "interval of schedule"),
        ({"CreateRule": {"Interval": 24, "Times": ["25:00"]}}, "InvalidRequestException", "'25:00'"),
        ({"RetainRule": {}}, "InvalidRequestException", "must retain by a count"),
        ({"CreateRule": {"CronExpression": "cron(0 3 * * ? *)"}}, "NotImplemented", "CronExpression"),
        ({"FastRestoreRule": {"Count": 1, "AvailabilityZones": [ZONE]}}, "NotImplemented", "FastRestoreRule"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(
    aws: Aws, role: str, schedule: dict[str, Any], code: str, words: str
) -> None:
    with pytest.raises(ClientError, match=words) as error:
        make(aws, role, details("refused", **schedule))
    assert error.value.response["Error"]["Code"] == code


def test_snapshots_are_kept_for_a_time(aws: Aws, fleet: FleetStage, role: str) -> None:
    volume = disk(fleet, "for-days")
    made = make(aws, role, details("for-days", RetainRule={"Interval": 2, "IntervalUnit": "DAYS"}), State="DISABLED")
    (old,) = fleet.call(f"dlm/run?policy={made}")["snapshots"]
    fleet.advance(3 * 24 * 3600)
    (new,) = fleet.call(f"dlm/run?policy={made}")["snapshots"]
    assert [each["SnapshotId"] for each in snapshots(fleet, volume)] == [new]
    assert old != new
