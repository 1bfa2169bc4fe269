"""Machines come and go: who is told, who answers, and that everything is there before the first machine is."""

import json
from typing import Any

import pytest
from declared import ACCOUNT, Declaration, declare, known

from services.fabric import rules
from services.fabric.bootstrap import compiled
from services.fabric.configuration import Certificates
from services.fabric.fleet import described

CLUSTER = "fleetstream-sandbox-fleet"
WORKERS = "fleetstream-sandbox-workers"


def statements(declaration: Declaration, type_: str, name: str) -> dict[str, dict[str, Any]]:
    document = json.loads(declaration.one(type_, name).properties["policy"])
    return {each["Sid"]: each for each in document["Statement"]}


def pattern(declaration: Declaration, name: str) -> dict[str, Any]:
    return json.loads(declaration.one("EventRule", name).properties["eventPattern"])


def groups(declaration: Declaration) -> dict[str, dict[str, Any]]:
    """The cluster's: hosts that make load have no part in it."""
    found = declaration.all("autoscaling/group:Group")
    return {each.name: each.properties for each in found if each.name.startswith("fleet-")}


# Hooks


def test_hooks_are_in_the_group_and_beside_it_alike(sandbox: Declaration) -> None:
    kept: dict[str, list[dict[str, Any]]] = {}
    for each in sandbox.all("LifecycleHook"):
        hook = dict(each.properties)
        kept.setdefault(hook.pop("autoscalingGroupName"), []).append(hook)
    for group in groups(sandbox).values():
        assert kept.pop(group["name"]) == group["initialLifecycleHooks"]
    assert kept == {}


def test_nobody_answers_means_no(sandbox: Declaration) -> None:
    hooks = [hook for group in groups(sandbox).values() for hook in group["initialLifecycleHooks"]]
    assert {hook["defaultResult"] for hook in hooks} == {"ABANDON"}
    waits = {
        (hook["name"], hook["lifecycleTransition"].rpartition("_")[2], hook["heartbeatTimeout"]) for hook in hooks
    }
    assert waits == {
        ("seed-launch", "LAUNCHING", 120),
        ("worker-launch", "LAUNCHING", 300),
        ("worker-terminate", "TERMINATING", 120),
    }


def test_a_worker_that_could_not_leave_is_kept(sandbox: Declaration) -> None:
    policy = groups(sandbox)["fleet-workers"]["instanceLifecyclePolicy"]
    assert policy == {"retentionTriggers": {"terminateHookAbandon": "retain"}}


def test_seeds_are_protected_and_no_group_keeps_an_environment_up(sandbox: Declaration) -> None:
    for name, group in groups(sandbox).items():
        assert group["forceDelete"] is True
        assert group.get("protectFromScaleIn", False) is (name != "fleet-workers")


def test_workers_follow_their_load(sandbox: Declaration) -> None:
    policy = sandbox.one("autoscaling/policy:Policy").properties
    assert (policy["autoscalingGroupName"], policy["policyType"]) == (WORKERS, "TargetTrackingScaling")
    target = policy["targetTrackingConfiguration"]
    assert target["targetValue"] == 60
    assert target["predefinedMetricSpecification"] == {"predefinedMetricType": "ASGAverageCPUUtilization"}


# Workers that leave


def test_only_the_workers_group_is_listened_to(sandbox: Declaration) -> None:
    assert pattern(sandbox, "scale-in-leaving") == {
        "source": ["aws.autoscaling"],
        "detail-type": ["EC2 Instance-terminate Lifecycle Action"],
        "detail": {"AutoScalingGroupName": [WORKERS]},
    }
    assert groups(sandbox)["fleet-workers"]["name"] == WORKERS


@pytest.mark.parametrize(("minutes", "written"), [(1, "rate(1 minute)"), (5, "rate(5 minutes)")])
def test_the_sweep_has_a_schedule_that_eventbridge_takes(minutes: int, written: str) -> None:
    changed = declare("sandbox", lambda values: values["fleet"]["scale_in"].update(sweep_minutes=minutes))
    assert changed.one("EventRule", "scale-in-sweep").properties["scheduleExpression"] == written


def test_rules_put_messages_into_the_queue_and_nobody_else_does(sandbox: Declaration) -> None:
    rules = {each.properties["rule"]: each.properties["arn"] for each in sandbox.all("EventTarget")}
    queue = f"arn:aws:x:eu-central-1:{ACCOUNT}:scale-in-queue"
    assert rules.pop("scale-in-leaving") == rules.pop("scale-in-sweep") == queue
    assert rules == {"seed-launch-launches": f"arn:aws:x:eu-central-1:{ACCOUNT}:seed-launch-function"}
    policy = statements(sandbox, "QueuePolicy", "scale-in-queue-policy")
    assert set(policy) == {"TlsOnly", "Events"}
    assert policy["Events"]["Principal"] == {"Service": "events.amazonaws.com"}
    assert policy["Events"]["Condition"]["ArnEquals"]["aws:SourceArn"] == [
        f"arn:aws:x:eu-central-1:{ACCOUNT}:scale-in-{rule}" for rule in ("leaving", "sweep")
    ]
    assert set(statements(sandbox, "QueuePolicy", "scale-in-undone-policy")) == {"TlsOnly"}


def test_a_message_stays_hidden_for_six_calls_and_is_given_up_after_twenty(sandbox: Declaration) -> None:
    queue = sandbox.one("Queue", "scale-in-queue").properties
    function = sandbox.one("lambda/function:Function", "scale-in-function").properties
    assert queue["visibilityTimeoutSeconds"] == 6 * function["timeout"]
    assert json.loads(queue["redrivePolicy"]) == {
        "deadLetterTargetArn": f"arn:aws:x:eu-central-1:{ACCOUNT}:scale-in-undone",
        "maxReceiveCount": 20,
    }
    assert queue["sqsManagedSseEnabled"] is True


def test_one_removal_at_a_time_with_failures_told_one_by_one(sandbox: Declaration) -> None:
    function = sandbox.one("lambda/function:Function", "scale-in-function").properties
    assert function["reservedConcurrentExecutions"] == 1
    mapping = sandbox.one("EventSourceMapping").properties
    assert mapping["functionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["eventSourceArn"].endswith(":scale-in-queue")


def test_the_function_knows_its_cluster_queue_and_gateway(sandbox: Declaration) -> None:
    told = sandbox.one("lambda/function:Function", "scale-in-function").properties["environment"]["variables"]
    assert told == {
        "FLEETSTREAM_CLUSTER": CLUSTER,
        "FLEETSTREAM_GATEWAY": "https://ingress-management.elb.amazonaws.com:19080",
        "FLEETSTREAM_CLIENT_SECRET": f"arn:aws:x:eu-central-1:{ACCOUNT}:credentials-client-certificate",
        "FLEETSTREAM_QUEUE_URL": "https://sqs/scale-in-queue",
        "FLEETSTREAM_POLL_SECONDS": "1",
        "POWERTOOLS_SERVICE_NAME": "scale-in",
        "POWERTOOLS_METRICS_NAMESPACE": CLUSTER,
    }


def test_the_function_stops_workers_of_its_cluster_and_answers_for_their_group_only(sandbox: Declaration) -> None:
    rights = statements(sandbox, "RolePolicy", "scale-in-rights")
    assert rights["StopWorkers"]["Condition"] == {
        "StringEquals": {"aws:ResourceTag/cluster": CLUSTER, "aws:ResourceTag/role": "worker"}
    }
    (group,) = rights["AnswerHook"]["Resource"]
    assert group.endswith(f":autoScalingGroupName/{WORKERS}")
    assert rights["OpenCertificate"]["Condition"]["StringEquals"] == {
        "kms:ViaService": "secretsmanager.eu-central-1.amazonaws.com"
    }


# Functions inside


@pytest.mark.parametrize("name", ["scale-in", "seed-launch"])
def test_functions_of_the_fleet_are_inside_and_let_nobody_in(sandbox: Declaration, name: str) -> None:
    place = sandbox.one("lambda/function:Function", f"{name}-function").properties["vpcConfig"]
    assert place["securityGroupIds"] == [f"{name}-id"]
    assert all("private" in subnet for subnet in place["subnetIds"])
    assert not [
        each for each in sandbox.all("SecurityGroupIngressRule") if each.properties["securityGroupId"] == f"{name}-id"
    ]


def ways_out(declaration: Declaration, name: str) -> set[str]:
    return {
        each.name.removeprefix(f"{name}-to-")
        for each in declaration.all("SecurityGroupEgressRule")
        if each.properties["securityGroupId"] == f"{name}-id"
    }


def test_functions_go_out_only_where_something_they_call_is_not_inside(
    sandbox: Declaration, prod: Declaration
) -> None:
    assert ways_out(sandbox, "scale-in") == {"endpoints", "s3", "internet", "management"}
    assert ways_out(prod, "scale-in") == {"endpoints", "s3", "management"}
    assert ways_out(prod, "seed-launch") == {"endpoints", "s3"}


def test_lambda_makes_interfaces_in_the_functions_subnets_and_group_only(sandbox: Declaration) -> None:
    made = statements(sandbox, "RolePolicy", "seed-launch-rights")["MakeInterfaces"]["Resource"]
    assert [arn.partition(f"{ACCOUNT}:")[2].partition("/")[0] for arn in made] == [
        "network-interface",
        "security-group",
        *["subnet"] * 3,
    ]
    assert made[1].endswith("/seed-launch-id")


# Seeds that stay


def test_every_seeds_launch_is_answered_by_a_function(sandbox: Declaration) -> None:
    wanted = pattern(sandbox, "seed-launch-launches")["detail"]
    seeds = [group["name"] for name, group in groups(sandbox).items() if name != "fleet-workers"]
    assert sorted(wanted["AutoScalingGroupName"]) == sorted(seeds)
    assert len(seeds) == 5
    assert wanted["LifecycleHookName"] == ["seed-launch"]
    permission = sandbox.one("Permission").properties
    assert permission["principal"] == "events.amazonaws.com"
    assert permission["sourceArn"] == f"arn:aws:x:eu-central-1:{ACCOUNT}:seed-launch-launches"


def test_disks_are_made_and_attached_within_the_cluster_only(sandbox: Declaration) -> None:
    rights = statements(sandbox, "RolePolicy", "seed-launch-rights")
    disk = {"aws:ResourceTag/cluster": CLUSTER, "aws:ResourceTag/role": "seed-data"}
    assert rights["AttachDisk"]["Condition"] == rights["FromSnapshot"]["Condition"] == {"StringEquals": disk}
    assert rights["AttachToSeed"]["Condition"]["StringEquals"] == {**disk, "aws:ResourceTag/role": "seed"}
    made = rights["MakeDisk"]["Condition"]
    assert made["StringEquals"] == {"aws:RequestTag/cluster": CLUSTER, "aws:RequestTag/role": "seed-data"}
    assert made["Bool"] == {"ec2:Encrypted": "true"}
    assert rights["TagDisk"]["Condition"]["StringEquals"]["ec2:CreateAction"] == "CreateVolume"


def test_snapshots_are_of_seeds_disks_and_found_again(sandbox: Declaration, prod: Declaration) -> None:
    details = sandbox.one("LifecyclePolicy").properties["policyDetails"]
    (schedule,) = details["schedules"]
    assert details["targetTags"] == {"snapshots": CLUSTER}
    assert schedule["copyTags"] is True
    for each in sandbox.all("Volume"):
        assert each.properties["tags"]["snapshots"] == CLUSTER
    for each in sandbox.all("LaunchTemplate"):
        assert not [told for told in each.properties["tagSpecifications"] if "snapshots" in told["tags"]]
    (often,) = prod.one("LifecyclePolicy").properties["policyDetails"]["schedules"]
    assert (often["createRule"]["interval"], often["retainRule"]["count"]) == (6, 56)


def test_secrets_have_the_fleets_key_and_no_value(sandbox: Declaration, prod: Declaration) -> None:
    key = sandbox.one("Volume", "fleet-seed-0-data").properties["kmsKeyId"]
    secrets = {each.name: each.properties for each in sandbox.all("Secret")}
    assert set(secrets) == {
        f"credentials-{name}" for name in ("administrator", "node-certificate", "client-certificate")
    }
    assert {each["kmsKeyId"] for each in secrets.values()} == {key}
    assert {each["recoveryWindowInDays"] for each in secrets.values()} == {0}
    assert prod.one("Secret", "credentials-administrator").properties["recoveryWindowInDays"] == 30
    assert not sandbox.all("SecretVersion")


# What is off unless asked for


def test_a_second_address_has_a_hook_and_a_function_of_its_own() -> None:
    asked = declare("sandbox", lambda values: values["fleet"].update(second_address=True))
    assert [hook["name"] for hook in groups(asked)["fleet-workers"]["initialLifecycleHooks"]] == [
        "worker-launch",
        "second-address",
        "worker-terminate",
    ]
    wanted = pattern(asked, "second-address-launches")["detail"]
    assert wanted == {"AutoScalingGroupName": [WORKERS], "LifecycleHookName": ["second-address"]}
    rights = statements(asked, "RolePolicy", "second-address-rights")
    assert rights["AttachToWorker"]["Condition"]["StringEquals"]["aws:ResourceTag/role"] == "worker"


def test_a_file_server_joins_the_directory_and_serves_nodes_only() -> None:
    asked = declare("sandbox", lambda values: values["fleet"].update(file_server={"directory_id": "d-0123456789"}))
    server = asked.one("WindowsFileSystem").properties
    assert (server["activeDirectoryId"], server["deploymentType"]) == ("d-0123456789", "MULTI_AZ_1")
    assert len(server["subnetIds"]) == 2
    assert server["preferredSubnetId"] == server["subnetIds"][0]
    (entrance,) = [
        each.properties
        for each in asked.all("SecurityGroupIngressRule")
        if each.properties["securityGroupId"] == "file-server-server-id"
    ]
    assert (entrance["fromPort"], entrance["referencedSecurityGroupId"]) == (445, "file-server-clients-id")
    assert "file-server-clients-id" in asked.one("NetworkInterface", "fleet-seed-0").properties["securityGroups"]


def test_the_cluster_of_an_environment_with_a_file_server_keeps_its_diagnostics_there() -> None:
    asked = declare("sandbox", lambda values: values["fleet"].update(file_server={"directory_id": "d-0123456789"}))
    place = described({"fleet": known(asked.outputs["fleet"])})
    found = compiled(place, Certificates("c-node", "c-client", "AB" * 20))
    assert found["properties"]["diagnosticsStore"] == {
        "metadata": "Traces of the nodes",
        "dataDeletionAgeInDays": 21,
        "storeType": "FileShare",
        "connectionstring": r"\\file-server.elb.amazonaws.com\share",
    }
    # The mocked seeds have no addresses, which other rules want.
    assert not [each for each in rules.check(found) if each.rule.startswith("diagnostics")]


def test_neither_is_there_unasked(sandbox: Declaration) -> None:
    assert not sandbox.all("WindowsFileSystem")
    assert "second-address-function" not in [each.name for each in sandbox.all("lambda/function:Function")]
    assert sandbox.outputs["fleet"]["diagnostics_share"] is None
