"""Run Command: scripts wait for machines that reported, run there, time out and are taken back."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from envs.sandbox.aws.images import IMAGE_ID
from envs.sandbox.aws.ssm_commands import MOST_OUTPUT, Command, CommandError, threshold
from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.function_stage import allow, document

pytestmark = pytest.mark.xdist_group("aws-run-command")  # one AWS process for all of them

RIGHTS = (
    allow("ssm:UpdateInstanceInformation"),
    allow([f"ssmmessages:{call}{kind}Channel" for call in ("Create", "Open") for kind in ("Control", "Data")]),
)
SCRIPT = {"commands": ["Get-Service FabricHostSvc", "exit 0"]}


class Machines:
    """Instances that may or may not report, and their agents."""

    def __init__(self, aws: Aws) -> None:
        self.aws, self.ssm, ec2 = aws, aws.client("ssm"), aws.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
        for name, rights in (("managed", RIGHTS), ("mute", (RIGHTS[0],))):
            self._profile(name, rights)

    def _profile(self, name: str, rights: Any) -> None:
        iam = self.aws.client("iam")
        trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*rights))
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)

    def start(self, profile: str = "managed", role: str = "seed", registered: bool = True) -> str:
        settings: dict[str, Any] = {"IamInstanceProfile": {"Name": profile}} if profile else {}
        made = self.aws.client("ec2").run_instances(
            ImageId=IMAGE_ID,
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            SubnetId=self.subnet,
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "role", "Value": role}]}],
            **settings,
        )["Instances"][0]["InstanceId"]
        self.aws.client("ec2").get_waiter("instance_running").wait(InstanceIds=[made], WaiterConfig={"Delay": 1})
        if registered:
            assert self.ask("register", instance=made)[0] == 200
        return made

    def ask(self, route: str, **parameters: str) -> tuple[int, Any]:
        url = f"{self.aws.account.endpoint}/fleetstream/ssm/{route}"
        answer = urllib3.request("GET", url, fields=parameters)
        return answer.status, answer.json() if answer.data else None

    def report(self, **told: Any) -> tuple[int, Any]:
        url = f"{self.aws.account.endpoint}/fleetstream/ssm/result"
        answer = urllib3.request("POST", url, json={"exit_code": 0, "stdout": "", "stderr": "", **told})
        return answer.status, answer.json()

    def send(self, *instances: str, **more: Any) -> str:
        where = {"InstanceIds": list(instances)} if instances else {}
        request = {"DocumentName": "AWS-RunPowerShellScript", "Parameters": SCRIPT, **where, **more}
        return self.ssm.send_command(**request)["Command"]["CommandId"]

    def told(self, command: str, instance: str) -> dict[str, Any]:
        return self.ssm.get_command_invocation(CommandId=command, InstanceId=instance)

    def status(self, command: str) -> str:
        return self.ssm.list_commands(CommandId=command)["Commands"][0]["Status"]


@pytest.fixture(scope="module")
def machines(aws: Aws) -> Machines:
    return Machines(aws)


def test_a_script_runs_on_its_machine(machines: Machines) -> None:
    instance = machines.start()
    assert machines.ask("next", instance=instance) == (204, None)
    command = machines.send(instance, Comment="look")
    assert (machines.told(command, instance)["Status"], machines.status(command)) == ("Pending", "Pending")
    status, work = machines.ask("next", instance=instance)
    assert (status, work) == (
        200,
        {"command_id": command, "script": "Get-Service FabricHostSvc\nexit 0", "timeout_s": 3600},
    )
    assert machines.ask("next", instance=instance)[0] == 204, "it is given once"
    told = machines.told(command, instance)
    assert (told["Status"], told["ResponseCode"], machines.status(command)) == ("InProgress", -1, "InProgress")
    done = {"command_id": command, "instance": instance, "status": "Success"}
    assert machines.report(**done, stdout="x" * 30_000, stderr="warned")[0] == 200
    told = machines.told(command, instance)
    assert (told["Status"], told["ResponseCode"], told["StandardErrorContent"]) == ("Success", 0, "warned")
    assert len(told["StandardOutputContent"]) == 24_000
    assert (told["Comment"], told["DocumentName"]) == ("look", "AWS-RunPowerShellScript")
    assert machines.report(**done | {"status": "Failed"})[0] == 200, "too late, and nothing changes"
    assert machines.status(command) == "Success"
    (listed,) = machines.ssm.list_command_invocations(CommandId=command)["CommandInvocations"]
    assert (listed["InstanceId"], listed["Status"]) == (instance, "Success")


def test_targets_are_the_registered_machines_with_a_tag(machines: Machines) -> None:
    first, second = machines.start(role="node"), machines.start(role="node")
    machines.start(role="node", registered=False)
    machines.start(role="other")
    command = machines.send(Targets=[{"Key": "tag:role", "Values": ["node"]}])
    told = machines.ssm.list_command_invocations(CommandId=command)["CommandInvocations"]
    assert {each["InstanceId"] for each in told} == {first, second}
    for instance, status in ((first, "Success"), (second, "Failed")):
        machines.ask("next", instance=instance)
        machines.report(command_id=command, instance=instance, status=status, exit_code=1)
    (whole,) = machines.ssm.list_commands(CommandId=command)["Commands"]
    assert (whole["Status"], whole["CompletedCount"], whole["ErrorCount"]) == ("Failed", 2, 1)
    filters = [{"Key": "InstanceIds", "Values": [first]}]
    (known,) = machines.ssm.describe_instance_information(Filters=filters)["InstanceInformationList"]
    assert (known["InstanceId"], known["PingStatus"], known["PlatformType"]) == (first, "Online", "Windows")


def test_a_machine_that_did_not_report_or_does_not_run_takes_no_command(machines: Machines) -> None:
    silent = machines.start(registered=False)
    ended = machines.start()
    machines.aws.client("ec2").terminate_instances(InstanceIds=[ended])
    for instance in (silent, ended, "i-0123456789abcdef0"):
        with pytest.raises(machines.ssm.exceptions.InvalidInstanceId, match="not in a valid state for account"):
            machines.send(instance)
        assert machines.ask("next", instance=instance)[0] == 403
    assert machines.ask("register", instance=ended)[0] == 403
    for profile in ("", "mute"):
        instance = machines.start(profile=profile, registered=False)
        assert machines.ask("register", instance=instance)[0] == 403
    assert machines.ask("register")[0] == 400


def test_a_command_is_cancelled(machines: Machines) -> None:
    waiting, running = machines.start(), machines.start()
    command = machines.send(waiting, running)
    machines.ask("next", instance=running)
    machines.ssm.cancel_command(CommandId=command)
    assert machines.told(command, waiting)["Status"] == "Cancelled"
    assert machines.told(command, running)["Status"] == "Cancelling"
    assert machines.ask("next", instance=waiting)[0] == 204
    machines.report(command_id=command, instance=running, status="Cancelled", exit_code=-1)
    assert machines.status(command) == "Cancelled"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"DocumentName": "AWS-ApplyAnsiblePlaybooks"}, "AWS-RunPowerShellScript, AWS-RunShellScript only"),
        ({"MaxConcurrency": "some"}, "neither a number nor a percentage"),
        ({"MaxErrors": "-1"}, "neither a number nor a percentage"),
        ({"CloudWatchOutputConfig": {}}, "does not implement CloudWatchOutputConfig"),
        ({"Parameters": {}}, "needs this parameter"),
        ({"Parameters": {"commands": ["x"], "wrong": ["y"]}}, "wrong: no parameter"),
        ({"Targets": [{"Key": "tag:role", "Values": ["x"]}]}, "Exactly one of"),
        ({"InstanceIds": [], "Targets": [{"Key": "resource-groups:Name", "Values": ["x"]}]}, "by tag:... only"),
    ],
)
def test_a_command_with_a_mistake_is_refused(machines: Machines, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError, match=said):
        machines.send(**{"InstanceIds": ["i-0123456789abcdef0"], **change})


def test_reports_that_do_not_fit_are_refused(machines: Machines) -> None:
    instance = machines.start()
    command = machines.send(instance)
    done = {"command_id": command, "instance": instance, "status": "Success"}
    assert "was not given the command" in machines.report(**done)[1]["error"]
    machines.ask("next", instance=instance)
    assert "is no result" in machines.report(**done | {"status": "Fine"})[1]["error"]
    assert "InvalidCommandId" in machines.report(**done | {"command_id": "none"})[1]["error"]
    assert machines.report(command_id=command)[0] == 400
    assert machines.ask("result")[0] == 405
    assert machines.status(command) == "InProgress"
    with pytest.raises(machines.ssm.exceptions.InvocationDoesNotExist):
        machines.told(command, "i-0123456789abcdef0")


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["fetch", "report", "cancel", "wait"]), st.sampled_from(["a", "b"]), st.integers(0, 40)
    ),
    max_size=12,
)


@given(steps=_STEPS)
def test_an_invocation_that_ended_stays_as_it_is(steps: list[tuple[str, str, int]]) -> None:
    """Whatever happens afterwards; and a command ends exactly when all of its invocations did."""
    now = datetime(2026, 11, 25, tzinfo=UTC)
    command = Command("x", ["a", "b"], now, delivery_s=30, execution_s=60)
    ended: dict[str, tuple[str, str]] = {}
    for step, instance, seconds in steps:
        now += timedelta(seconds=seconds)
        command.settle(now)
        if step == "fetch":
            command.fetch(instance, now)
        elif step == "cancel":
            command.cancel([instance], now)
        elif step == "report" and command.invocations[instance].started:
            command.report(instance, "Failed" if seconds % 2 else "Success", seconds, "o", "e", now)
        for each in command.invocations.values():
            if each.instance_id in ended:
                assert ended[each.instance_id] == (each.status, each.details)
            elif not each.live:
                ended[each.instance_id] = (each.status, each.details)
        assert (command.status in ("Pending", "InProgress", "Cancelling")) == (len(ended) < 2)


def test_commands_time_out() -> None:
    now = datetime(2026, 11, 25, tzinfo=UTC)
    command = Command("x", ["fetched", "waiting"], now, delivery_s=30, execution_s=60)
    command.fetch("fetched", now)
    command.settle(now + timedelta(seconds=30))
    assert command.tell("waiting")["StatusDetails"] == "DeliveryTimedOut"
    assert command.tell("fetched")["Status"] == "InProgress"
    command.settle(now + timedelta(seconds=60))
    assert command.tell("fetched")["StatusDetails"] == "ExecutionTimedOut"
    assert command.describe()["DeliveryTimedOutCount"] == 1
    with pytest.raises(CommandError):
        command.report("waiting", "Success", 0, "", "", now)
    assert len(json.dumps("x" * MOST_OUTPUT)) == 24_002


def test_a_script_for_another_platform_is_not_sent(machines: Machines) -> None:
    instance = machines.start()
    command = machines.send(instance, DocumentName="AWS-RunShellScript")
    assert machines.ask("next", instance=instance)[0] == 204
    told = machines.told(command, instance)
    assert (told["Status"], told["StatusDetails"]) == ("Failed", "InvalidPlatform")


def test_a_machine_sees_that_its_command_is_cancelled(machines: Machines) -> None:
    instance = machines.start()
    command = machines.send(instance)
    machines.ask("next", instance=instance)
    asked = {"command_id": command, "instance": instance}
    assert machines.ask("status", **asked) == (200, {"status": "InProgress"})
    machines.ssm.cancel_command(CommandId=command)
    assert machines.ask("status", **asked) == (200, {"status": "Cancelling"})
    assert machines.ask("status", command_id="unknown", instance=instance)[0] == 400


@pytest.mark.parametrize(
    ("given", "targets", "up", "expected"),
    [("3", 10, True, 3), ("10%", 15, True, 2), ("10%", 15, False, 1), ("0", 4, False, 0), ("100%", 7, True, 7)],
)
def test_thresholds_are_numbers_or_percentages(given: str, targets: int, up: bool, expected: int) -> None:
    assert threshold(given, targets, up=up) == expected


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 6), st.lists(st.booleans(), min_size=6, max_size=6))
def test_no_more_machines_than_wanted_and_none_after_too_many_errors(
    count: int, at_once: int, errors: int, good: list[bool]
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    names = [f"i-{number}" for number in range(count)]
    command = Command(
        "x", names, now, delivery_s=30, execution_s=60, max_concurrency=str(at_once), max_errors=str(errors)
    )
    begun: list[str] = []
    failed = 0
    while not all(not each.live for each in command.invocations.values()):
        command.settle(now)
        taken = [name for name in names if name not in begun and command.fetch(name, now)]
        assert len(taken) <= at_once
        assert not taken or failed <= errors
        begun += taken
        for name in taken:
            fine = good[names.index(name)]
            failed += not fine
            command.report(name, "Success" if fine else "Failed", int(not fine), "", "", now)
        command.settle(now)
    terminated = [each for each in command.invocations.values() if each.details == "Terminated"]
    assert bool(terminated) == (failed > errors and len(begun) < count)
    assert command.status == ("Failed" if failed else "Success")
