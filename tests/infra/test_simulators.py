"""Hosts that make load: off unless asked for, empty unless a load runs, and with no more rights than they need."""

import base64
import json
import re
import subprocess
from typing import Any

import pytest
from declared import ACCOUNT, Declaration, declare

from infra import rules, settings
from infra.differences import stack_config
from infra.sections import Simulators
from services import contract
from services.simulator import hosts


@pytest.fixture(scope="module")
def staging() -> Declaration:
    """An environment that asks for them with defaults only."""
    return declare("staging", lambda values: values.update(simulators={}))


def rights(declaration: Declaration) -> dict[str, dict[str, Any]]:
    document = json.loads(declaration.one("RolePolicy", "simulators").properties["policy"])
    return {each["Sid"]: each for each in document["Statement"]}


def script(declaration: Declaration) -> str:
    return base64.b64decode(declaration.one("LaunchTemplate", "simulators").properties["userData"]).decode()


def test_an_environment_that_does_not_ask_has_none(prod: Declaration) -> None:
    assert prod.outputs["simulators"] is None
    assert not [each.name for each in prod.resources if each.name.startswith("simulators")]


def test_they_break_no_rule(staging: Declaration) -> None:
    own = [each for each in staging.resources if each.name.startswith("simulators")]
    assert own
    assert [finding for each in own for finding in rules.judge(each.type, each.properties, ())] == []


def test_the_group_is_empty_until_a_load_runs_and_each_evening(staging: Declaration) -> None:
    group = staging.one("Group", "simulators").properties
    assert (group["minSize"], group["desiredCapacity"], group["maxSize"]) == (0, 0, 10)
    assert group["name"] == "fleetstream-staging-simulators"
    assert group["forceDelete"] is True, "a host that stands keeps no environment up"
    evening = staging.one("Schedule").properties
    assert evening["recurrence"] == "0 20 * * *"
    # The most stays as it is.
    assert (evening["minSize"], evening["desiredCapacity"], evening["maxSize"]) == (0, 0, -1)


def test_hosts_are_linux_with_encrypted_disks_and_closed_metadata(staging: Declaration) -> None:
    template = staging.one("LaunchTemplate", "simulators").properties
    assert template["imageId"].endswith("/al2023-ami-kernel-default-x86_64")
    assert template["instanceType"] == "r6i.2xlarge"
    (disk,) = template["blockDeviceMappings"]
    assert (disk["ebs"]["volumeType"], disk["ebs"]["encrypted"]) == ("gp3", "true")
    assert template["metadataOptions"]["httpTokens"] == "required"
    assert template["vpcSecurityGroupIds"] == ["simulators-id", "streaming-clients-id", "filesystem-clients-id"]


def test_nobody_is_let_in(staging: Declaration) -> None:
    entrances = staging.all("SecurityGroupIngressRule")
    assert not [each.name for each in entrances if each.properties["securityGroupId"] == "simulators-id"]


def test_the_host_may_send_read_and_report_and_nothing_else(staging: Declaration) -> None:
    found = rights(staging)
    assert {sid: each["Action"] for sid, each in found.items() if sid not in ("BeManaged", "OpenChannels")} == {
        "FetchSimulator": ["s3:GetObject"],
        "TaskAndReport": ["s3:GetObject", "s3:PutObject"],
        "SeeWhatIsThere": ["s3:ListBucket"],
        "OpenObjects": ["kms:Decrypt", "kms:GenerateDataKey"],
        "ShareFiles": ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
        "SignInToKafka": ["kafka-cluster:Connect"],
        "ReadTopic": ["kafka-cluster:DescribeTopic", "kafka-cluster:ReadData"],
        "KeepOffsets": ["kafka-cluster:AlterGroup", "kafka-cluster:DescribeGroup"],
        "WriteOnce": ["kafka-cluster:WriteDataIdempotently"],
        "WriteTopics": ["kafka-cluster:DescribeTopic", "kafka-cluster:WriteData"],
    }
    assert found["TaskAndReport"]["Resource"] == [
        f"arn:aws:x:eu-central-1:{ACCOUNT}:simulators-runs-bucket/{hosts.PREFIX}*"
    ]
    (groups,) = found["KeepOffsets"]["Resource"]
    assert groups.endswith(f"/{contract.RUN_GROUP}*")
    assert found["ShareFiles"]["Condition"] == {
        "StringEquals": {
            "elasticfilesystem:AccessPointArn": f"arn:aws:x:eu-central-1:{ACCOUNT}:filesystem-access",
        }
    }


def test_the_user_data_is_a_script_that_fetches_what_was_published(staging: Declaration) -> None:
    text = script(staging)
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    assert "{{" not in text
    published = staging.one("BucketObjectv2", "simulators-artifact").properties
    assert f"s3://simulators-runs-bucket/{published['key']} opt/fleetstream/simulator.zip" in text
    (digest,) = re.findall(r"echo '([0-9a-f]{64})  opt", text)
    assert digest == published["sourceHash"]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"hosts_max": 0}, "simulators.hosts_max"),
        ({"instance_type": "m6i.large"}, "simulators.instance_type"),
        ({"instance_type": "r7g.large"}, "simulators.instance_type"),
        ({"emptied_at": "20 h"}, "simulators.emptied_at"),
        ({"hosts": 3}, "simulators.hosts"),
    ],
)
def test_a_wrong_setting_is_named(given: dict[str, Any], path: str) -> None:
    config = stack_config("dev")
    values = json.loads(config[settings.KEY])
    with pytest.raises(settings.SettingsError) as refused:
        settings.load({**config, settings.KEY: json.dumps({**values, "simulators": given})})
    (problem,) = refused.value.problems
    assert problem.startswith(f"{settings.KEY}.{path}: ")


def test_settings_say_what_they_mean() -> None:
    assert settings.section_at(["simulators"]) is Simulators
