"""A Linux instance of an emulated account: its user data and its commands really run, with its role's rights."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from envs.sandbox import account, processes
from envs.sandbox.linux import stand_ins
from envs.sandbox.linux.machine import folder
from tests.envs.sandbox.aws import emulated
from tests.envs.sandbox.aws.fleet_stage import eventually
from tests.envs.sandbox.aws.function_stage import allow, document
from tests.envs.sandbox.aws.network import make_network

pytestmark = [pytest.mark.xdist_group("linux"), pytest.mark.timeout(300)]

IMAGE = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
RIGHTS = (
    allow("ssm:UpdateInstanceInformation"),
    allow([f"ssmmessages:{call}{kind}Channel" for call in ("Create", "Open") for kind in ("Control", "Data")]),
    allow("s3:GetObject", "arn:aws:s3:::things/open/*"),
)
USER_DATA = """#!/bin/bash
set -e
dnf install --assumeyes --quiet python3.11
mkdir -p usr/local/bin mnt/files
mount -t efs -o tls,iam,accesspoint=fsap-0a fs-0b:/ mnt/files
aws s3 cp --only-show-errors --region us-east-1 s3://things/open/greeting usr/local/bin/greet
chmod 755 usr/local/bin/greet
"""


class Stage:
    """An account with a role, a bucket and machines."""

    def __init__(self, aws: emulated.Aws) -> None:
        self.aws, self.ssm = aws, aws.client("ssm")
        iam, s3 = aws.client("iam"), aws.client("s3")
        trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        iam.create_role(RoleName="host", AssumeRolePolicyDocument=document(trust))
        iam.put_role_policy(RoleName="host", PolicyName="own", PolicyDocument=document(*RIGHTS))
        iam.create_instance_profile(InstanceProfileName="host")
        iam.add_role_to_instance_profile(InstanceProfileName="host", RoleName="host")
        s3.create_bucket(Bucket="things")
        s3.put_object(Bucket="things", Key="open/greeting", Body=b"#!/bin/sh\necho hello from $AWS_SSM_INSTANCE_ID\n")
        s3.put_object(Bucket="things", Key="shut/secret", Body=b"x")
        self._subnet = make_network(aws.client("ec2")).subnets[0]

    def start(self, user_data: str = USER_DATA) -> str:
        """An instance that runs and is managed; a process of its own plays it."""
        made = self.aws.client("ec2").run_instances(
            ImageId=IMAGE,
            InstanceType="r6i.large",
            MinCount=1,
            MaxCount=1,
            SubnetId=self._subnet,
            UserData=user_data,
            IamInstanceProfile={"Name": "host"},
        )["Instances"][0]["InstanceId"]
        self.aws.client("ec2").get_waiter("instance_running").wait(InstanceIds=[made], WaiterConfig={"Delay": 1})
        argv = [sys.executable, "-m", "envs.sandbox.linux", "--state-dir", str(self.aws.state_dir), "--instance"]
        processes.spawn(self.aws.state_dir, made, [*argv, made], env=account.environment(self.aws.state_dir))
        eventually(lambda: self._managed(made))
        return made

    def _managed(self, instance: str) -> list[Any]:
        wanted = [{"Key": "InstanceIds", "Values": [instance]}]
        return self.ssm.describe_instance_information(Filters=wanted)["InstanceInformationList"]

    def send(self, instance: str, *script: str, seconds: int = 60) -> str:
        return self.ssm.send_command(
            InstanceIds=[instance],
            DocumentName="AWS-RunShellScript",
            Parameters={"commands": list(script), "executionTimeout": [str(seconds)]},
        )["Command"]["CommandId"]

    def told(self, command: str, instance: str) -> dict[str, Any]:
        return self.ssm.get_command_invocation(CommandId=command, InstanceId=instance)

    def ended(self, command: str, instance: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            told = self.told(command, instance)
            return None if told["Status"] in ("Pending", "InProgress", "Cancelling") else told

        found = eventually(look)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with emulated.running(tmp_path_factory.mktemp("sandbox")) as aws:
        try:
            yield Stage(aws)
        finally:
            processes.end([one for one in processes.strays(aws.state_dir) if one.pid != _pid(aws.state_dir)], grace=5)


def _pid(state_dir: Path) -> int:
    record = processes.find(state_dir, "aws")
    return record.pid if record else 0


@pytest.fixture(scope="module")
def host(stage: Stage) -> str:
    return stage.start()


def test_a_command_finds_what_the_user_data_made(stage: Stage, host: str) -> None:
    told = stage.ended(stage.send(host, "greet", "python3.11 -c 'import sys; print(sys.version_info[:2])'"), host)
    assert (told["Status"], told["ResponseCode"]) == ("Success", 0), told
    assert told["StandardOutputContent"] == f"hello from {host}\n(3, 11)\n"
    assert told["PluginName"] == "runShellScript"


def test_a_script_that_fails_says_how(stage: Stage, host: str) -> None:
    told = stage.ended(stage.send(host, "echo oh >&2", "exit 7"), host)
    assert (told["Status"], told["ResponseCode"]) == ("Failed", 7)
    assert told["StandardErrorContent"] == "oh\n"


def test_a_machine_may_what_its_role_may(stage: Stage, host: str) -> None:
    fetch = "aws s3 cp --only-show-errors --region us-east-1 s3://things/shut/secret secret"
    told = stage.ended(stage.send(host, fetch), host)
    assert told["Status"] == "Failed"
    assert "403" in told["StandardErrorContent"]


def test_machines_share_a_file_system(stage: Stage, host: str) -> None:
    stage.ended(stage.send(host, "echo shared > mnt/files/note"), host)
    other = stage.start()
    told = stage.ended(stage.send(other, "cat mnt/files/note"), other)
    assert told["StandardOutputContent"] == "shared\n"


@pytest.mark.parametrize("ends", ["cancelled", "times out"])
def test_a_script_is_ended_with_all_that_it_started(stage: Stage, host: str, ends: str) -> None:
    note = folder(stage.aws.state_dir, host) / f"note-{ends[:5]}"
    script = f"(sleep 300 & echo $! > {note}; wait)"
    command = stage.send(host, script, seconds=60 if ends == "cancelled" else 3)
    child = eventually(lambda: note.exists() and note.read_text().strip())
    if ends == "cancelled":
        stage.ssm.cancel_command(CommandId=command)
    told = stage.ended(command, host)
    assert told["Status"] == ("Cancelled" if ends == "cancelled" else "TimedOut")
    eventually(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text())


def test_user_data_that_fails_leaves_a_machine_that_says_so(stage: Stage) -> None:
    instance = stage.start("#!/bin/bash\nset -e\ndnf install --assumeyes --quiet nginx\n")
    told = stage.ended(stage.send(instance, "cat var/log/cloud-init-output.log"), instance)
    assert "no stand-in for the packages nginx" in told["StandardOutputContent"]


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    stand_ins.install(tmp_path / "tools", sys.executable, sys.executable, tmp_path)

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [str(tmp_path / "tools" / name), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, check=False)

    return run


@pytest.mark.parametrize(
    "argv",
    [
        ("dnf", "install", "--assumeyes", "--quiet", "nginx"),
        ("dnf", "remove", "python3.11"),
        ("aws", "s3", "ls"),
        ("aws", "s3", "cp", "--only-show-errors", "--region", "us-east-1", "file", "s3://things/open/greeting"),
        ("mount", "-t", "efs", "fs-0b:/", "mnt"),
        ("mount", "-t", "efs", "-o", "tls,iam,accesspoint=fsap-0a", "somewhere:/", "mnt"),
    ],
)
def test_a_stand_in_refuses_what_it_does_not_know(command: Command, argv: tuple[str, ...]) -> None:
    refused = command(*argv)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"{argv[0]}: ")
