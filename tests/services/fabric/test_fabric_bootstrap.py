"""Forming a cluster: whole, twice, interrupted at every step, and refused where it would go wrong."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from envs.sandbox.fabric import microsoft
from services.fabric import authority, packages, rules
from services.fabric.authority import Issued, issue
from services.fabric.bootstrap import Bootstrap, Outcome
from services.fabric.credentials import Credentials
from services.fabric.errors import FabricServiceError
from services.fabric.fleet import described
from services.fabric.remote import StepFailedError
from services.fabric.store import CONFIGURATION_KEY, FORMED_KEY
from services.fabric.waiting import Limits
from tests.envs.sandbox.aws.emulated import Aws
from tests.services.fabric.fleet_stage import QUICK, Interrupted, Stage, staged

BRIEF = replace(QUICK, seeds_s=0.1, health_s=0.3, workers_s=0.1, agents_s=0.1)


def form(stage: Stage, workers: int | None = 2, limits: Limits = QUICK) -> Outcome:
    return Bootstrap(stage.fleet, stage.clients, stage.quiet, limits).run(workers, stage.packages)


def test_without_microsofts_packages_nothing_is_installed(five: Stage) -> None:
    with pytest.raises(FabricServiceError) as refused:
        Bootstrap(five.fleet, five.clients, five.quiet, QUICK).run(2)
    for name in packages.NAMES:
        assert name.format(five.fleet.version) in str(refused.value)
    assert "--packages" in str(refused.value)

    cabinet = five.packages / packages.NAMES[1].format(five.fleet.version)
    cabinet.unlink()
    with pytest.raises(FabricServiceError, match=cabinet.name) as refused:
        form(five)
    assert packages.NAMES[0].format(five.fleet.version) not in str(refused.value)
    assert five.machines.steps == []

    microsoft.offer(five.packages, five.fleet.version)
    form(five)
    kept = five.aws.client("s3").list_objects_v2(Bucket=five.fleet.bucket, Prefix=packages.PREFIX)["Contents"]
    assert {each["Key"] for each in kept} == {
        f"{packages.PREFIX}{name.format(five.fleet.version)}" for name in packages.NAMES
    }


def versions(stage: Stage, key: str) -> int:
    found = stage.aws.client("s3").list_object_versions(Bucket=stage.fleet.bucket, Prefix=key)
    return len(found.get("Versions", ()))


@pytest.fixture
def five(aws: Aws, tmp_path: Path) -> Iterator[Stage]:
    with staged(aws, tmp_path, seeds=5) as found:
        yield found


def test_a_cluster_is_formed_once(five: Stage) -> None:
    outcome = form(five)
    assert [(outcome.seeds, outcome.workers)] == [(5, 2)]
    assert five.machines.steps == [("prepare", 5), ("test", 1), ("create", 1), ("prepare", 5)]
    assert {node.name for node in five.cluster.nodes() if node.up} >= set(five.fleet.seeds)
    assert {node: five.tags_of(instance)["node"] for node, instance in five.ids.items()} == {
        node: node for node in five.fleet.seeds
    }
    stored = five.aws.client("s3").get_object(Bucket=five.fleet.bucket, Key=CONFIGURATION_KEY)
    configuration = json.loads(stored["Body"].read())
    assert rules.check(configuration) == []
    assert len({node["faultDomain"] for node in configuration["nodes"]}) == 5
    before, after = five.machines.passwords[:5], five.machines.passwords[5:]
    assert len(set(before)) == len(set(after)) == 1
    assert before[0] != after[0], "the password that the installation used is still in use"
    sent = len(five.machines.commands)

    again = form(five)

    assert again == Outcome([], 5, 2)
    assert len(five.machines.commands) == sent
    assert versions(five, CONFIGURATION_KEY) == versions(five, FORMED_KEY) == 1
    assert json.loads(five.secret("administrator"))["password"] == after[0]


def test_the_password_of_the_installation_is_gone(stage: Stage) -> None:
    form(stage, workers=0)
    found = stage.aws.client("secretsmanager").describe_secret(SecretId=stage.fleet.administrator_secret)
    labels = [stages for stages in found["VersionIdsToStages"].values() if stages]
    assert labels == [["AWSCURRENT"]]


def test_workers_are_raised_and_never_lowered(stage: Stage) -> None:
    assert form(stage, workers=1).workers == 1
    assert form(stage).changes == ["the workers' group is raised from 1 to 2"]
    assert form(stage, workers=1) == Outcome([], 3, 2)
    with pytest.raises(FabricServiceError, match="5 workers: the group takes 0 to 4"):
        form(stage, workers=5)


def test_without_a_number_the_workers_are_the_environments(stage: Stage) -> None:
    stage.fleet = replace(stage.fleet, workers=9)
    assert form(stage, workers=None).workers == 4, "as many as the group takes"


@pytest.mark.parametrize(
    ("step", "before"), [("prepare", ["prepare"]), ("test", ["prepare", "test"]), ("create", [])]
)
def test_an_interrupted_run_goes_on_where_it_was(stage: Stage, step: str, before: list[str]) -> None:
    stage.machines.interrupt = step
    with pytest.raises(Interrupted):
        form(stage)
    form(stage)
    assert [name for name, _ in stage.machines.steps] == [*before, "prepare", "test", "create", "prepare"]
    assert form(stage).changes == []


def test_an_interruption_before_the_password_was_changed_everywhere(stage: Stage) -> None:
    original = stage.machines.send_command

    def interrupt_second_prepare(**request: object) -> object:
        answer = original(**request)
        if [name for name, _ in stage.machines.steps].count("prepare") == 2:
            raise Interrupted
        return answer

    stage.machines.send_command = interrupt_second_prepare  # type: ignore[method-assign, assignment]
    with pytest.raises(Interrupted):
        form(stage)
    stage.machines.send_command = original  # type: ignore[method-assign]
    form(stage)
    assert stage.machines.passwords[-1] == json.loads(stage.secret("administrator"))["password"]
    assert [name for name, _ in stage.machines.steps].count("create") == 1


@pytest.mark.parametrize("half", ["nodes", "client"])
def test_certificates_that_were_half_stored_are_made_again(stage: Stage, half: str) -> None:
    issued = issue(stage.fleet.cluster)
    if half == "nodes":
        put(stage, nodes=issued.nodes)
    else:
        put(stage, client=issued.client)
    assert form(stage, workers=0).seeds == 3


def of_a_team(monkeypatch: pytest.MonkeyPatch, cluster: str) -> Issued:
    """Certificates for the cluster from an authority that is not made here."""
    with monkeypatch.context() as patched:
        patched.setattr(authority, "authority_name", lambda _cluster: "the team's root")
        return issue(cluster)


def put(stage: Stage, nodes: bytes | None = None, client: Credentials | None = None) -> None:
    manager = stage.aws.client("secretsmanager")
    if nodes is not None:
        manager.put_secret_value(SecretId=stage.fleet.node_secret, SecretBinary=nodes)
    if client is not None:
        manager.put_secret_value(SecretId=stage.fleet.client_secret, SecretString=json.dumps(vars(client)))


def test_a_teams_own_certificates_are_left_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = of_a_team(monkeypatch, stage.fleet.cluster)
    put(stage, nodes=issued.nodes)
    with pytest.raises(FabricServiceError, match="put in both"):
        form(stage)
    put(stage, client=issued.client)
    form(stage, workers=0)
    assert stage.secret("nodes") == issued.nodes
    root = authority.facts(authority.read_pem(issued.client.authority, "it")).thumbprint
    assert {each.lower() for client in stage.cluster.configuration.clients for each in client.issuers} == {
        root.lower()
    }


def test_certificates_that_do_not_belong_together_are_refused(stage: Stage) -> None:
    name = stage.fleet.cluster
    put(stage, issue(name).nodes, issue(name).client)
    with pytest.raises(FabricServiceError, match=f"{name}-node is not issued by the authority"):
        form(stage)
    put(stage, nodes=issue("other").nodes)
    with pytest.raises(FabricServiceError, match=f"is other-node's, not {name}-node's"):
        form(stage)
    put(stage, nodes=b"no PFX")
    with pytest.raises(FabricServiceError, match="holds no PFX"):
        form(stage)
    put(stage, nodes=issue("other").nodes, client=issue("other").client)
    with pytest.raises(FabricServiceError, match="have one issued to that name"):
        form(stage)
    ended = issue(name, datetime(2016, 1, 1, tzinfo=UTC))
    put(stage, ended.nodes, ended.client)
    with pytest.raises(FabricServiceError, match=f"the certificate of {name}-node ended on 20"):
        form(stage)
    assert stage.machines.commands == []


def test_a_step_that_fails_says_where_and_why(stage: Stage) -> None:
    stage.machines.fail["test"] = "SMB to 10.50.1.11 is closed"
    with pytest.raises(StepFailedError) as raised:
        form(stage)
    told = str(raised.value)
    assert told.startswith("step test failed on 1 of 1 machines:\n  seed-0 (i-")
    assert "exit code 1" in told
    assert told.endswith("last line: E_FAIL: SMB to 10.50.1.11 is closed")
    stage.machines.fail.clear()
    form(stage, workers=0)


def test_fewer_seeds_than_configured_are_refused(stage: Stage) -> None:
    stage.aws.client("ec2").stop_instances(InstanceIds=[stage.ids["seed-1"]])
    with pytest.raises(FabricServiceError, match="2 of 3 run, missing: seed-1"):
        form(stage, limits=BRIEF)
    assert stage.machines.commands == []


def test_an_address_that_changed_is_refused(stage: Stage) -> None:
    places = {**stage.outputs["fleet"]["seeds"]}
    places["seed-2"] = {**places["seed-2"], "address": "10.50.2.99"}
    stage.fleet = described({"fleet": {**stage.outputs["fleet"], "seeds": places}})
    with pytest.raises(FabricServiceError, match=r"the address of seed-2 changed: the stack knows 10\.50\.2\.99"):
        form(stage)


def test_a_seed_on_another_interface_is_refused(stage: Stage) -> None:
    stage.aws.client("ec2").terminate_instances(InstanceIds=[stage.ids["seed-0"]])
    stage._run({"role": "seed", "node": "seed-0"}, SubnetId=next(iter(stage.subnets.values())))
    with pytest.raises(FabricServiceError, match=r"its primary interface .* is that of no seed"):
        form(stage)


def test_a_cluster_of_other_seeds_is_refused(stage: Stage) -> None:
    form(stage, workers=0)
    stage.aws.client("s3").delete_object(Bucket=stage.fleet.bucket, Key=FORMED_KEY)
    for node in stage.cluster.nodes():
        node.address = node.address.replace("10.50", "10.60")
    with pytest.raises(FabricServiceError, match=r"formed with other seeds: seed-0 \(10\.60\.0\.10\)"):
        form(stage)


def test_a_cluster_that_stands_is_not_formed_again_when_it_does_not_answer(stage: Stage) -> None:
    form(stage, workers=0)
    sent = len(stage.machines.commands)
    stage.close()
    stage.gateway = None
    with pytest.raises(FabricServiceError, match=r"a healthy cluster: not within .* does not answer yet"):
        form(stage, limits=BRIEF)
    assert len(stage.machines.commands) == sent


def test_a_cluster_that_cannot_tell_its_nodes_is_not_formed_again(stage: Stage) -> None:
    form(stage, workers=0)
    stage.aws.client("s3").delete_object(Bucket=stage.fleet.bucket, Key=FORMED_KEY)
    stage.machines.commands.clear()
    for place in list(stage.fleet.seeds.values())[:2]:
        stage.cluster.lose(place.address)
    stage.settle(lambda: stage.cluster.lost)
    with pytest.raises(FabricServiceError, match="a healthy cluster: not within"):
        form(stage, limits=BRIEF)
    assert stage.machines.commands == []


def test_machines_that_are_late_are_waited_for(stage: Stage) -> None:
    stage.machines.asleep = set(stage.ids.values())
    form(stage, workers=0)
    assert any(detail.startswith("SSM does not see seed-") for detail in stage.quiet.details)


def test_a_sick_cluster_gets_no_workers(stage: Stage) -> None:
    form(stage, workers=0)
    stage.cluster.lose(stage.fleet.seeds["seed-1"].address)
    with pytest.raises(FabricServiceError, match="2 seeds Up; seed-1 Down"):
        form(stage, workers=2, limits=BRIEF)
    assert stage.workers() == []


def test_outputs_without_a_fleet_say_what_to_do() -> None:
    with pytest.raises(FabricServiceError, match="`fleetstream up` the environment first"):
        described({"region": "us-east-1"})


def test_a_bucket_without_versions_is_refused(stage: Stage) -> None:
    bucket = f"{stage.fleet.bucket}-plain"
    stage.aws.client("s3").create_bucket(Bucket=bucket)
    stage.fleet = replace(stage.fleet, bucket=bucket)
    with pytest.raises(FabricServiceError, match="switch its versioning on"):
        form(stage)
