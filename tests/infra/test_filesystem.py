"""The shared file system: one way in, through one door in each zone, for clients that name themselves."""

import json
from typing import Any

import pytest
from declared import ACCOUNT, Declaration

POINT = f"arn:aws:x:eu-central-1:{ACCOUNT}:filesystem-access"


def statements(declaration: Declaration) -> dict[str, dict[str, Any]]:
    policy = json.loads(declaration.one("FileSystemPolicy").properties["policy"])
    return {each["Sid"]: each for each in policy["Statement"]}


def test_files_are_encrypted_with_a_key_of_ours_and_need_no_sizing(sandbox: Declaration) -> None:
    files = sandbox.one("FileSystem").properties
    assert files["encrypted"] is True
    assert files["kmsKeyId"].endswith(":filesystem-key")
    assert files["throughputMode"] == "elastic"


def test_unread_files_become_cheaper_step_by_step(sandbox: Declaration) -> None:
    assert sandbox.one("FileSystem").properties["lifecyclePolicies"] == [
        {"transitionToIa": "AFTER_30_DAYS"},
        {"transitionToArchive": "AFTER_90_DAYS"},
    ]


def test_nobody_comes_in_without_tls_or_past_the_access_point(sandbox: Declaration) -> None:
    found = statements(sandbox)
    assert {sid: each["Effect"] for sid, each in found.items()} == {"TlsOnly": "Deny", "AccessPointOnly": "Deny"}
    assert found["AccessPointOnly"]["Action"] == [
        "elasticfilesystem:ClientMount",
        "elasticfilesystem:ClientRootAccess",
        "elasticfilesystem:ClientWrite",
    ]
    assert found["AccessPointOnly"]["Condition"] == {"StringNotEquals": {"elasticfilesystem:AccessPointArn": POINT}}


def test_the_access_point_makes_everybody_the_same_user(sandbox: Declaration) -> None:
    point = sandbox.one("AccessPoint").properties
    assert point["posixUser"] == {"uid": 1000, "gid": 1000}
    assert point["rootDirectory"] == {
        "path": "/fleetstream",
        "creationInfo": {"ownerUid": 1000, "ownerGid": 1000, "permissions": "0750"},
    }


def test_every_zone_has_a_mount_target_in_its_private_subnet(sandbox: Declaration) -> None:
    targets = {each.name: each.properties for each in sandbox.all("MountTarget")}
    assert {name: target["subnetId"] for name, target in targets.items()} == {
        f"filesystem-eu-central-1{zone}": f"network-private-eu-central-1{zone}-id" for zone in "abc"
    }
    assert all(target["securityGroups"] == ["filesystem-targets-id"] for target in targets.values())


def test_mount_targets_listen_to_clients_only_and_clients_speak_to_nobody_else(sandbox: Declaration) -> None:
    ways = [
        (
            each.properties["securityGroupId"],
            each.properties["referencedSecurityGroupId"],
            each.properties["fromPort"],
        )
        for kind in ("SecurityGroupIngressRule", "SecurityGroupEgressRule")
        for each in sandbox.all(kind)
        if each.name.startswith("filesystem-")
    ]
    assert ways == [
        ("filesystem-targets-id", "filesystem-clients-id", 2049),
        ("filesystem-clients-id", "filesystem-targets-id", 2049),
    ]


@pytest.mark.parametrize(("name", "status"), [("sandbox", "DISABLED"), ("prod", "ENABLED")])
def test_backups_are_made_where_the_environment_asks(name: str, status: str, request: pytest.FixtureRequest) -> None:
    assert request.getfixturevalue(name).one("BackupPolicy").properties["backupPolicy"] == {"status": status}
