"""The functions' boto3 sides against an emulated account: hooks, machines, disks, interfaces, and the queue."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from envs.sandbox import account
from services.fabric import leavings
from services.fabric.account import AutoScaling, Ec2, InstanceRefusedError
from services.fabric.launch import Launches, Outcome, serve
from services.fabric.lifecycle import (
    ABANDON,
    CONTINUE,
    LAUNCHING,
    RETAINED,
    TERMINATING,
    WAITS,
    Action,
    ActionOverError,
    Hook,
    Member,
    stray,
)
from services.fabric.scale_in.aws import Continuations
from services.fabric.scale_in.core import HOOK, advance
from services.fabric.scale_in.messages import read
from services.fabric.second_address import core as second_address
from services.fabric.second_address.aws import Ec2Interfaces
from services.fabric.seed_launch import core as seed_launch
from services.fabric.seed_launch.aws import EbsDisks
from tests.envs.sandbox.aws.emulated import Aws, running
from tests.envs.sandbox.aws.fleet_stage import ZONE, FleetStage, eventually, made_groups, open_fleet
from tests.envs.sandbox.fabric.clusters import VERSION
from tests.services.fabric.fleet import CLUSTER, Fleet
from tests.services.fabric.samples import batch, event

pytestmark = pytest.mark.xdist_group("fleet-on-aws")  # one AWS process for all of them

CONTEXT = SimpleNamespace(
    function_name="f",
    memory_limit_in_mb=256,
    invoked_function_arn="arn",
    aws_request_id="request",
    get_remaining_time_in_millis=lambda: 60_000,
)
SEED_TAGS = {"cluster": CLUSTER, "role": "seed", "node": "seed-0"}
DISK_TAGS = {**SEED_TAGS, "role": "seed-data"}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with running(tmp_path_factory.mktemp("aws")) as found:
        yield found


@pytest.fixture(scope="module")
def stage(aws: Aws) -> FleetStage:
    return open_fleet(aws)


@pytest.fixture
def make(stage: FleetStage) -> Iterator[Any]:
    yield from made_groups(stage)


@pytest.fixture
def groups(stage: FleetStage) -> AutoScaling:
    return AutoScaling(stage.scaling)


@pytest.fixture
def machines(stage: FleetStage) -> Ec2:
    return Ec2(stage.ec2)


def tagged(kind: str, **tags: str) -> dict[str, Any]:
    return {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def group_of(stage: FleetStage, make: Any, transition: str, hook: str, **tags: str) -> tuple[str, str]:
    """A group of one whose machine waits in the hook's state or serves; its name and the machine."""
    name = make(
        stage.template(TagSpecifications=[tagged("instance", cluster=CLUSTER, **tags)]),
        Tags=[{"Key": "cluster", "Value": CLUSTER, "PropagateAtLaunch": False}],
        LifecycleHookSpecificationList=[
            {"LifecycleHookName": hook, "LifecycleTransition": transition, "HeartbeatTimeout": 300}
        ],
        InstanceLifecyclePolicy={"RetentionTriggers": {"TerminateHookAbandon": "retain"}},
        MinSize=0,
        DesiredCapacity=1,
    )
    instance = stage.reach(name, "InService" if transition == TERMINATING else WAITS[LAUNCHING])[0]
    eventually(lambda: stage.state(instance) == "running")
    return name, instance


def leaving(stage: FleetStage, make: Any, **tags: str) -> Action:
    """A worker that its group lets go."""
    name, instance = group_of(stage, make, TERMINATING, HOOK, role="worker", **tags)
    stage.scaling.terminate_instance_in_auto_scaling_group(InstanceId=instance, ShouldDecrementDesiredCapacity=True)
    stage.reach(name, WAITS[TERMINATING])
    return Action(name, HOOK, instance, 0.0)


def launching(stage: FleetStage, make: Any, **tags: str) -> Action:
    name, instance = group_of(stage, make, LAUNCHING, "launch", **tags)
    return Action(name, "launch", instance, 0.0)


def test_a_worker_leaves_its_group_and_its_cluster(
    stage: FleetStage, make: Any, groups: AutoScaling, machines: Ec2
) -> None:
    action = leaving(stage, make, node="worker-77")
    address = stage.machine(action.instance)["PrivateIpAddress"]
    fleet = Fleet(workers=0)
    fleet.model.prepare(address)
    fleet.model.add_node("worker-77", "Worker", address, "UD0", "fd:/zone0/0", VERSION)
    fleet.clock.passes(60)
    sqs = stage.aws.client("sqs")
    url = sqs.create_queue(QueueName="scale-in")["QueueUrl"]
    send = Continuations(sqs, url).send
    world = fleet.process(groups=groups, machines=machines, send=lambda action, _: send(action, 0))

    advance(world, action)
    eventually(lambda: _next_delivery(fleet, sqs, url, world, stage, address))
    assert [call for call in fleet.calls if call in ("deactivate", "remove_state")] == ["deactivate", "remove_state"]
    assert fleet.node("worker-77") is None
    eventually(lambda: stage.state(action.instance) == "terminated")
    eventually(lambda: groups.member(action.instance) is None)


def _next_delivery(fleet: Fleet, sqs: Any, url: str, world: Any, stage: FleetStage, address: str) -> bool:
    """Delivers what lies in the queue; true when that is nothing any more."""
    messages = sqs.receive_message(QueueUrl=url).get("Messages", [])
    for message in messages:
        asked = read(message["Body"])
        assert isinstance(asked, Action)
        if stage.state(asked.instance) == "stopped":
            fleet.model.lose(address)
        fleet.clock.passes(10)
        advance(world, asked)
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return not messages


def test_a_hook_is_answered_once_and_abandoned_means_retained(
    stage: FleetStage, make: Any, groups: AutoScaling
) -> None:
    action = leaving(stage, make)
    assert stray(groups, CLUSTER, action, TERMINATING) == ""
    groups.heartbeat(action)
    groups.complete(action, ABANDON)
    stage.reach(action.group, RETAINED)
    for answer in (lambda: groups.complete(action, CONTINUE), lambda: groups.heartbeat(action)):
        with pytest.raises(ActionOverError, match="No active Lifecycle Action"):
            answer()
    assert Member(action.instance, action.group, RETAINED) in groups.members(CLUSTER)
    assert groups.members("other") == []
    assert "is Terminating:Retained" in stray(groups, CLUSTER, action, TERMINATING)
    stage.scaling.terminate_instance_in_auto_scaling_group(
        InstanceId=action.instance, ShouldDecrementDesiredCapacity=False
    )


def test_a_group_tells_its_tags_and_hooks_and_what_is_gone_is_none(
    stage: FleetStage, make: Any, groups: AutoScaling
) -> None:
    action = launching(stage, make)
    found = groups.group(action.group)
    assert found is not None
    assert found.tags["cluster"] == CLUSTER
    assert found.hooks == {"launch": Hook("launch", LAUNCHING, 30_000)}
    assert groups.group("gone") is None
    assert groups.member("i-0123456789abcdef0") is None
    with pytest.raises(ActionOverError):
        groups.heartbeat(replace(action, hook="unknown"))
    groups.complete(action, CONTINUE)


def test_a_machine_stops_and_one_that_ended_refuses(stage: FleetStage, machines: Ec2) -> None:
    instance = stage.run(TagSpecifications=[tagged("instance", **SEED_TAGS)])
    found = machines.instance(instance)
    assert found is not None
    assert (found.state, found.node, found.zone, found.vpc) == ("running", "seed-0", ZONE, stage.network.vpc)
    assert instance in [machine.id for machine in machines.instances(CLUSTER)]
    machines.stop(instance)
    machines.stop(instance)
    eventually(lambda: stage.state(instance) == "stopped")
    stage.ec2.terminate_instances(InstanceIds=[instance])
    eventually(lambda: stage.state(instance) == "terminated")
    with pytest.raises(InstanceRefusedError, match="IncorrectInstanceState"):
        machines.stop(instance)
    assert instance not in [machine.id for machine in machines.instances(CLUSTER)]


@pytest.mark.parametrize("instance", ["i-0123456789abcdef0", "worker-0"])
def test_a_machine_that_ec2_does_not_know(machines: Ec2, instance: str) -> None:
    assert machines.instance(instance) is None
    with pytest.raises(InstanceRefusedError):
        machines.stop(instance)


@pytest.fixture
def key(aws: Aws) -> str:
    return aws.client("kms").create_key()["KeyMetadata"]["Arn"]


def serve_seed(stage: FleetStage, groups: AutoScaling, machines: Ec2, action: Action, key: str) -> Outcome:
    disks = EbsDisks(stage.ec2, CLUSTER, key)
    launches = Launches(CLUSTER, groups, machines, record=lambda *_: None, sleep=lambda _: time.sleep(0.1))
    return serve(launches, action, lambda instance: seed_launch.look(disks, instance))


def disks_of(stage: FleetStage) -> list[dict[str, Any]]:
    return stage.ec2.describe_volumes(Filters=[{"Name": "tag:role", "Values": ["seed-data"]}])["Volumes"]


def test_a_seed_gets_its_disk_and_after_a_loss_one_from_the_newest_snapshot(
    stage: FleetStage, make: Any, groups: AutoScaling, machines: Ec2, key: str
) -> None:
    made = stage.ec2.create_volume(
        AvailabilityZone=ZONE,
        Size=8,
        Encrypted=True,
        KmsKeyId=key,
        TagSpecifications=[tagged("volume", **DISK_TAGS)],
    )["VolumeId"]
    first = launching(stage, make, role="seed", node="seed-0")
    assert serve_seed(stage, groups, machines, first, key) == Outcome.CONTINUED
    (disk,) = disks_of(stage)
    attachment = disk["Attachments"][0]
    assert (disk["VolumeId"], attachment["InstanceId"]) == (made, first.instance)
    assert (attachment["Device"], attachment["State"]) == ("xvdf", "attached")
    stage.reach(first.group, "InService")

    snapshots = []
    for _ in range(2):
        taken = stage.ec2.create_snapshot(VolumeId=made, TagSpecifications=[tagged("snapshot", **DISK_TAGS)])
        snapshots.append(taken["SnapshotId"])
        # Whole seconds are all that a snapshot's time has here.
        time.sleep(1.1)
    eventually(lambda: EbsDisks(stage.ec2, CLUSTER, key).newest_snapshot("seed-0") == snapshots[-1])
    stage.remove(first.group)
    eventually(lambda: disks_of(stage)[0]["State"] == "available")
    stage.ec2.delete_volume(VolumeId=made)

    second = launching(stage, make, role="seed", node="seed-0")
    assert serve_seed(stage, groups, machines, second, key) == Outcome.CONTINUED
    (disk,) = disks_of(stage)
    assert disk["VolumeId"] != made
    assert (disk["SnapshotId"], disk["KmsKeyId"], disk["VolumeType"]) == (snapshots[-1], key, "gp3")
    assert disk["Attachments"][0]["InstanceId"] == second.instance
    tags = {tag["Key"]: tag["Value"] for tag in disk["Tags"]}
    own = {"Name": f"{CLUSTER}-seed-0", "snapshots": CLUSTER, "restored-from": snapshots[-1]}
    assert tags == {**DISK_TAGS, **own}

    made_by_itself = leavings.find(stage.ec2, CLUSTER)
    assert made_by_itself.disks == (disk["VolumeId"],)
    assert sorted(made_by_itself.snapshots) == sorted(snapshots)
    assert not leavings.find(stage.ec2, "another")
    stage.remove(second.group)
    eventually(lambda: disks_of(stage)[0]["State"] == "available")
    leavings.delete(stage.ec2, made_by_itself)
    assert not leavings.find(stage.ec2, CLUSTER)


def test_a_described_interface_becomes_the_second_one(
    stage: FleetStage, make: Any, groups: AutoScaling, machines: Ec2
) -> None:
    for description in ("broker * front", "broker of the front"):
        stage.ec2.create_network_interface(SubnetId=stage.network.subnets[0], Description=description)
    action = launching(stage, make, Eth1="broker * front")
    interfaces = Ec2Interfaces(stage.ec2)
    launches = Launches(CLUSTER, groups, machines, record=lambda *_: None, sleep=lambda _: time.sleep(0.1))
    outcome = serve(launches, action, lambda instance: second_address.look(interfaces, instance))
    assert outcome == Outcome.CONTINUED
    attached = stage.machine(action.instance)["NetworkInterfaces"]
    assert {item["Attachment"]["DeviceIndex"]: item["Description"] for item in attached}[1] == "broker * front"

    # The next machine wants the same one, which this one holds.
    again = launching(stage, make, Eth1="broker * front")
    outcome = serve(launches, again, lambda instance: second_address.look(interfaces, instance))
    assert outcome == Outcome.ABANDONED


class TestHandlers:
    """The functions as Lambda calls them, with their environment."""

    @pytest.fixture(autouse=True)
    def environment(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        variables = {
            **account.environment(aws.state_dir),
            "FLEETSTREAM_CLUSTER": CLUSTER,
            "FLEETSTREAM_KEY_ARN": "arn:aws:kms:us-east-1:123456789012:key/none",
            "FLEETSTREAM_GATEWAY": "https://127.0.0.1:1",
            "FLEETSTREAM_POLL_SECONDS": "1",
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    def test_a_launch_without_need_goes_on_and_its_double_is_stray(self, stage: FleetStage, make: Any) -> None:
        from services.fabric.second_address.handler import handle

        action = launching(stage, make)
        sent = event(
            "autoscaling_launch",
            AutoScalingGroupName=action.group,
            LifecycleHookName=action.hook,
            EC2InstanceId=action.instance,
        )
        assert handle(sent, CONTEXT) == {"outcome": "continued"}
        stage.reach(action.group, "InService")
        assert handle(sent, CONTEXT) == {"outcome": "stray"}

    def test_a_seed_without_disk_and_snapshot_ends(self, stage: FleetStage, make: Any) -> None:
        from services.fabric.seed_launch.handler import handle

        action = launching(stage, make, role="seed", node="seed-9")
        sent = event(
            "autoscaling_launch",
            AutoScalingGroupName=action.group,
            LifecycleHookName=action.hook,
            EC2InstanceId=action.instance,
        )
        assert handle(sent, CONTEXT) == {"outcome": "abandoned"}

    def test_an_event_that_no_launch_function_should_get_is_dropped(self, caplog: pytest.LogCaptureFixture) -> None:
        from services.fabric.seed_launch.handler import handle

        assert handle(event("autoscaling_terminate"), CONTEXT) == {"outcome": "malformed"}
        assert "EC2 Instance-terminate" in caplog.records[0].__dict__["reason"]

    def test_a_removal_before_there_is_a_certificate_waits(
        self, stage: FleetStage, make: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from services.fabric.scale_in import handler

        sqs = stage.aws.client("sqs")
        url = sqs.create_queue(QueueName="scale-in-handler")["QueueUrl"]
        secret = stage.aws.client("secretsmanager").create_secret(Name="client")["ARN"]
        monkeypatch.setenv("FLEETSTREAM_QUEUE_URL", url)
        monkeypatch.setenv("FLEETSTREAM_CLIENT_SECRET", secret)
        handler.connected.cache_clear()
        action = leaving(stage, make, node="worker-5")
        sent = event("autoscaling_terminate", AutoScalingGroupName=action.group, EC2InstanceId=action.instance)
        assert handler.handle(batch(json.dumps(sent)), CONTEXT) == {"batchItemFailures": []}
        assert "no client certificate yet" in caplog.records[0].__dict__["reason"]
        found = eventually(lambda: sqs.receive_message(QueueUrl=url).get("Messages"))
        left = read(found[0]["Body"])
        assert isinstance(left, Action)
        assert (left.instance, left.attempt) == (action.instance, 1)
        handler.connected.cache_clear()
