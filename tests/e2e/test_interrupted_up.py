"""An `up` that is killed at any point: `recover` and `up` complete it, and nothing is there that nobody knows of."""

import contextlib
import json
import os
import random
import re
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from envs.sandbox import account
from envs.sandbox.aws.inventory import inventory
from envs.sandbox.aws.session import emulated_session
from tests.e2e.conftest import SANDBOXES, Background, assert_nothing_left, fleetstream

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CHAINS, KILLS = 2, 10
"""Twenty kills: two sandboxes, each killed ten times on its way up."""
VICTIMS = ("command", "engine", "both")


@pytest.mark.parametrize(
    "chain", [pytest.param(number, marks=pytest.mark.xdist_group(f"e2e-kills-{number}")) for number in range(CHAINS)]
)
def test_an_up_killed_at_random_points_recovers_without_an_orphan(
    background: Callable[..., Background], name: str, chain: int
) -> None:
    seed = int(os.environ.get("FLEETSTREAM_TEST_SEED", secrets.randbelow(2**32)))
    print(f"FLEETSTREAM_TEST_SEED={seed}")
    chance = random.Random(seed + chain)  # noqa: S311
    planned = fleetstream("preview", "--name", name)
    [total] = re.findall(r"preview, stack sandbox: (\d+) created", planned.stderr)
    for left in range(KILLS, 0, -1):
        # Somewhere on the way that is left, so that all kills together are spread over the whole of it.
        there = len(state(name))
        point = there + int(chance.random() * 2 * (int(total) - there) / (left + 1))
        victim, patience = chance.choice(VICTIMS), chance.uniform(0, 1)
        print(f"{left} kills left: {victim}, {patience:.2f} s after {point} resources")
        while not kill(background("up", "--name", name), name, point, patience, victim):
            point = 0
        recovered = fleetstream("recover", "--name", name)
        assert recovered.returncode == 0, recovered.stderr
        print(recovered.stderr)
        assert "Nothing in the account was lost" in recovered.stderr
        assert orphans(name) == []

    for verb in (("up",), ("preview", "--expect-no-changes"), ("refresh", "--expect-no-changes")):
        done = fleetstream(*verb, "--name", name)
        assert done.returncode == 0, done.stderr
    assert orphans(name) == []
    gone = fleetstream("down", "--name", name)
    assert gone.returncode == 0, gone.stderr
    assert "inventory of the emulated account: empty" in gone.stderr
    assert_nothing_left(name)


def kill(running: Background, name: str, point: int, patience: float, victim: str) -> bool:
    """Kills the command, its engine with all that it started, or both, some time after the state has so much in it.

    False when the command ended before.
    """
    while running.process.poll() is None and len(state(name)) < point:
        time.sleep(0.05)
    time.sleep(patience)
    if running.process.poll() is not None:
        return False
    engines = []
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(running.process.pid).children()
        engines = [child.pid for child in children if child.name() == "pulumi"]
    if victim != "engine" or not engines:
        running.process.kill()
    if victim != "command":
        for pid in engines:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
    running.process.wait(60)
    return True


def state(name: str) -> list[dict[str, Any]]:
    """The resources that the engine has noted so far."""
    try:
        path = SANDBOXES / name / "pulumi" / ".pulumi" / "stacks" / "fleetstream" / "sandbox.json"
        return (json.loads(path.read_bytes())["checkpoint"].get("latest") or {}).get("resources") or []
    except FileNotFoundError:
        return []


def orphans(name: str) -> list[str]:
    """What is in the account and neither in the state nor made by AWS for something that is."""
    session = emulated_session(account.load(SANDBOXES / name))
    known = set(strings([[each.get("id"), each.get("outputs")] for each in state(name)]))
    ec2 = session.client("ec2")
    for reservation in ec2.describe_instances()["Reservations"]:
        for instance in reservation["Instances"]:
            tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
            if tags.get("aws:autoscaling:groupName") in known:
                disks = [disk["Ebs"]["VolumeId"] for disk in instance["BlockDeviceMappings"]]
                known.update([instance["InstanceId"], *disks])
    for interface in ec2.describe_network_interfaces()["NetworkInterfaces"]:
        if interface["Description"].removeprefix("ELB ") in {arn.rpartition("loadbalancer/")[2] for arn in known}:
            known.add(interface["NetworkInterfaceId"])
    found = [*inventory(session), *parts(session)]
    return [item for item in found if item.split(" ", 2)[2] not in known]


def parts(session: Any) -> Iterator[str]:
    """What belongs to something in the inventory, has an id of its own, and could be there twice."""
    ec2, balancers, files = session.client("ec2"), session.client("elbv2"), session.client("efs")
    for group in ec2.describe_security_groups()["SecurityGroups"]:
        if group["GroupName"] != "default":
            mine = [{"Name": "group-id", "Values": [group["GroupId"]]}]
            for rule in ec2.describe_security_group_rules(Filters=mine)["SecurityGroupRules"]:
                yield f"ec2 rule {rule['SecurityGroupRuleId']}"
    for balancer in balancers.describe_load_balancers()["LoadBalancers"]:
        for listener in balancers.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]:
            yield f"elbv2 listener {listener['ListenerArn']}"
    for system in files.describe_file_systems()["FileSystems"]:
        for target in files.describe_mount_targets(FileSystemId=system["FileSystemId"])["MountTargets"]:
            yield f"efs target {target['MountTargetId']}"


def strings(value: Any) -> Iterator[str]:
    """Every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)
