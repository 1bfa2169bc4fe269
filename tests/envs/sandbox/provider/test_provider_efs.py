"""A file system under the real engine: up, unchanged, changed in place, replaced where it must be, and gone."""

from pathlib import Path

import pytest
from provider_stage import Sandbox, Stack

pytestmark = pytest.mark.xdist_group("provider-engine")


def test_a_file_system_lives_and_leaves_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    stack, efs = Stack(sandbox, tmp_path), sandbox.client("efs")
    stack.up("files")
    stack.unchanged("files")
    made = stack.ids()
    system = stack.resources()["files"]["outputs"]
    assert system["dnsName"] == f"{made['files']}.efs.eu-central-1.amazonaws.com"
    target = stack.resources()["target-a"]["outputs"]
    assert target["mountTargetDnsName"] == f"eu-central-1a.{system['dnsName']}"

    stack.up("files", status="DISABLED", days=60, owner="two")
    stack.unchanged("files", status="DISABLED", days=60, owner="two")
    assert stack.ids() == made, "everything could be changed in place"
    told = efs.describe_file_systems(FileSystemId=made["files"])["FileSystems"][0]
    assert (told["Name"], told["ThroughputMode"], told["NumberOfMountTargets"]) == ("files-60", "elastic", 3)
    assert efs.describe_backup_policy(FileSystemId=made["files"])["BackupPolicy"] == {"Status": "DISABLED"}

    stack.up("files", status="DISABLED", days=60, owner="two", user=2000)
    again = stack.ids()
    assert {name for name in made if again[name] != made[name]} == {"access"}

    stack.destroy()
    assert efs.describe_file_systems()["FileSystems"] == []
    assert efs.describe_access_points()["AccessPoints"] == []
