"""The cluster's machines: what outlives them, what they may do, and that they start from what was published."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import tree_sitter_powershell
from declared import ACCOUNT, ROOT, Declaration
from tree_sitter import Language, Node, Parser

from infra import fleet
from services.fabric import configuration

WORKERS = "fleetstream-sandbox-workers"
SCRIPTS = ROOT / "infra" / "user_data"


def template(declaration: Declaration, name: str) -> dict[str, Any]:
    return declaration.one("LaunchTemplate", name).properties


def user_data(declaration: Declaration, name: str) -> tuple[str, dict[str, Any]]:
    """The script, and the settings in it."""
    script = base64.b64decode(template(declaration, name)["userData"]).decode()
    (line,) = [line for line in script.splitlines() if line.startswith("$settings = ")]
    return script, json.loads(line.split("'")[1])


def statements(declaration: Declaration, name: str) -> dict[str, dict[str, Any]]:
    document = json.loads(declaration.one("RolePolicy", name).properties["policy"])
    return {statement["Sid"]: statement for statement in document["Statement"]}


@pytest.mark.parametrize(("name", "seeds"), [("sandbox", 5), ("prod", 7)])
def test_each_seed_is_a_group_of_one_with_an_address_and_a_disk(
    name: str, seeds: int, request: pytest.FixtureRequest
) -> None:
    declared = request.getfixturevalue(name)
    for number in range(seeds):
        node = f"fleet-seed-{number}"
        group = declared.one("Group", node).properties
        assert (group["minSize"], group["maxSize"], group["desiredCapacity"]) == (1, 1, 1)
        assert "vpcZoneIdentifiers" not in group
        (interface,) = template(declared, node)["networkInterfaces"]
        assert interface == {"deviceIndex": 0, "networkInterfaceId": f"{node}-id"}
        (zone,) = group["availabilityZones"]
        assert declared.one("NetworkInterface", node).properties["subnetId"] == f"network-private-{zone}-id"
        disk = declared.one("Volume", f"{node}-data").properties
        assert (disk["availabilityZone"], disk["encrypted"], disk["type"]) == (zone, True, "gp3")
    assert len(declared.all("Volume")) == len(declared.all("NetworkInterface")) == seeds


def test_seeds_are_spread_over_the_zones(prod: Declaration) -> None:
    zones = [each.properties["availabilityZone"] for each in prod.all("Volume")]
    assert sorted(zones.count(zone) for zone in set(zones)) == [2, 2, 3]


def test_workers_wait_for_the_cluster(sandbox: Declaration) -> None:
    group = sandbox.one("Group", "fleet-workers").properties
    assert (group["minSize"], group["maxSize"], group["desiredCapacity"]) == (0, 8, 0)
    assert group["vpcZoneIdentifiers"] == [f"network-private-eu-central-1{zone}-id" for zone in "abc"]


@pytest.mark.parametrize(("name", "role"), [("fleet-seed-1", "seed"), ("fleet-workers", "worker")])
def test_machines_are_found_by_their_tags(sandbox: Declaration, name: str, role: str) -> None:
    told = {each["resourceType"]: each["tags"] for each in template(sandbox, name)["tagSpecifications"]}
    assert told["instance"]["role"] == role
    assert told["instance"]["cluster"] == "fleetstream-sandbox-fleet"
    assert told["instance"].get("node") == ("seed-1" if role == "seed" else None)
    assert told["instance"]["owner"] == "sandbox"
    assert told["volume"]["role"] == f"{role}-disk", "only the persistent disk may be found as seed-data"


def test_machines_have_no_key_pair_and_the_newest_image(sandbox: Declaration) -> None:
    for each in sandbox.all("LaunchTemplate"):
        assert "keyName" not in each.properties
        system = "amazon-linux" if each.name == "simulators" else "windows"
        assert each.properties["imageId"].startswith(f"resolve:ssm:/aws/service/ami-{system}-latest/")


@pytest.mark.parametrize(
    ("name", "scripts"),
    [
        ("fleet-seed-0", ["common.ps1", "fabric.ps1", "elevated.ps1", "form.ps1", "seed.ps1"]),
        ("fleet-workers", ["common.ps1", "fabric.ps1", "worker.ps1"]),
    ],
)
def test_what_starts_is_what_was_published(sandbox: Declaration, name: str, scripts: list[str]) -> None:
    script, settings = user_data(sandbox, name)
    assert script.startswith("<powershell>\n")
    assert script.endswith("</powershell>\n")
    assert len(script) < 16 * 1024
    assert [each["name"] for each in settings["scripts"]] == scripts
    assert settings["start"] == scripts[-1]
    for each in settings["scripts"]:
        published = sandbox.one("BucketObjectv2", f"fleet-boot-{each['name']}").properties
        assert (published["key"], published["bucket"]) == (each["key"], settings["bucket"])
        assert hashlib.sha256(published["content"].encode()).hexdigest() == each["sha256"]


def test_scripts_are_fetched_with_all_that_they_load() -> None:
    for start, loaded in (("seed", fleet._SCRIPTS["seed"]), ("worker", fleet._SCRIPTS["worker"])):
        named = set()
        for name in loaded:
            named |= set(re.findall(r"Join-Path \$PSScriptRoot '([\w.]+)'", (SCRIPTS / name).read_text()))
        assert named <= set(loaded), start


def test_a_worker_is_told_which_hook_waits_for_it_and_a_seed_is_not(sandbox: Declaration) -> None:
    _, worker = user_data(sandbox, "fleet-workers")
    _, seed = user_data(sandbox, "fleet-seed-3")
    assert (worker["group"], worker["hook"], worker["node"]) == (WORKERS, "worker-launch", "")
    assert (seed["group"], seed["hook"], seed["node"]) == ("", "", "seed-3")
    for told in (worker, seed):
        assert told["administrator"].endswith(":credentials-administrator")
        assert told["certificate"].endswith(":credentials-node-certificate")
        assert (told["version"], told["packages"]) == ("10.1.2175.9590", "packages/")


def test_a_node_may_do_what_its_scripts_do_and_no_more(sandbox: Declaration) -> None:
    seed, worker = statements(sandbox, "fleet-nodes-seed"), statements(sandbox, "fleet-nodes-worker")
    both = {"BeManaged", "OpenChannels", "FindNodes", "FetchScripts", "ReadScripts", "FetchSecrets", "OpenSecrets"}
    assert set(seed) - set(worker) == {"FindDisk", "FetchConfiguration"}
    services = {"SignInToKafka", "ReadTopic", "KeepOffsets"}
    assert set(worker) - set(seed) == {"AnswerHook", "NameItself", *services}
    assert {action for each in services for action in worker[each]["Action"]} == {
        f"kafka-cluster:{action}"
        for action in ("Connect", "DescribeTopic", "ReadData", "DescribeGroup", "AlterGroup")
    }
    assert worker["ReadTopic"]["Resource"] == [f"arn:aws:x:eu-central-1:{ACCOUNT}:streaming-telemetry"]
    assert worker["KeepOffsets"]["Resource"][0].endswith("/fleetstream-consumer")
    assert set(seed) & set(worker) == both
    bucket = f"arn:aws:x:eu-central-1:{ACCOUNT}:fleet-boot-scripts-bucket"
    assert worker["FetchScripts"]["Resource"] == [f"{bucket}/boot/*", f"{bucket}/packages/*"]
    assert seed["FetchConfiguration"]["Resource"] == [f"{bucket}/cluster/*"]
    secrets = [arn.rpartition(":")[2] for arn in worker["FetchSecrets"]["Resource"]]
    assert secrets == ["credentials-administrator", "credentials-node-certificate"]
    assert worker["AnswerHook"]["Resource"] == [
        f"arn:aws:autoscaling:eu-central-1:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/{WORKERS}"
    ]


def test_a_worker_names_itself_and_no_other_and_says_nothing_else_of_itself(sandbox: Declaration) -> None:
    condition = statements(sandbox, "fleet-nodes-worker")["NameItself"]["Condition"]
    assert condition == {
        "StringEquals": {
            "aws:ResourceTag/cluster": "fleetstream-sandbox-fleet",
            "aws:ResourceTag/role": "worker",
        },
        "ArnEquals": {
            "ec2:SourceInstanceARN": f"arn:aws:ec2:eu-central-1:{ACCOUNT}:instance/${{ec2:InstanceID}}",
        },
        "ForAllValues:StringEquals": {"aws:TagKeys": ["node"]},
    }


def test_no_node_attaches_disks(sandbox: Declaration) -> None:
    for kind in ("seed", "worker"):
        actions = [one for each in statements(sandbox, f"fleet-nodes-{kind}").values() for one in each["Action"]]
        assert not [action for action in actions if "Attach" in action or "CreateVolume" in action]


def test_nodes_are_reached_by_nodes_and_load_balancers_only(sandbox: Declaration) -> None:
    ports: dict[str, set[tuple[int, int]]] = {}
    for each in sandbox.all("SecurityGroupIngressRule"):
        rule = each.properties
        if rule["securityGroupId"] == "fleet-nodes-id" and rule["ipProtocol"] == "tcp":
            ports.setdefault(rule["referencedSecurityGroupId"], set()).add((rule["fromPort"], rule["toPort"]))
    assert {(445, 445), (19000, 19003), (19080, 19081)} <= ports.pop("fleet-nodes-id")
    assert ports == {
        "ingress-traffic-id": {(8443, 8443)},
        "ingress-management-id": {(19000, 19000), (19080, 19080)},
    }


def test_seeds_answer_for_the_cluster_and_workers_serve(sandbox: Declaration) -> None:
    seed, workers = (sandbox.one("Group", name).properties for name in ("fleet-seed-0", "fleet-workers"))
    assert len(seed["targetGroupArns"]) == 2
    assert len(workers["targetGroupArns"]) == 1
    assert not set(seed["targetGroupArns"]) & set(workers["targetGroupArns"])


def test_auto_scaling_may_use_the_disks_key_before_a_seed_starts(sandbox: Declaration) -> None:
    grant = sandbox.one("Grant", "fleet-launches").properties
    assert grant["keyId"] == sandbox.one("Volume", "fleet-seed-0-data").properties["kmsKeyId"]
    assert grant["granteePrincipal"].endswith(
        f"::{ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    )
    assert "CreateGrant" in grant["operations"]


def test_scripts_are_kept_and_leave_with_the_sandbox(sandbox: Declaration, prod: Declaration) -> None:
    name = "fleet-boot-scripts"
    (rule,) = sandbox.one("BucketLifecycleConfiguration", f"{name}-lifecycle").properties["rules"]
    assert "expiration" not in rule
    assert sandbox.one("Bucket", f"{name}-bucket").properties["forceDestroy"] is True
    assert prod.one("Bucket", f"{name}-bucket").properties["forceDestroy"] is False


def faults(node: Node) -> list[str]:
    here = [f"line {node.start_point.row + 1}: {node.type}"] if node.is_error or node.is_missing else []
    return here + [fault for child in node.children for fault in faults(child)]


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.ps1")), ids=lambda path: path.name)
def test_scripts_are_powershell(path: Path) -> None:
    parser = Parser(Language(tree_sitter_powershell.language()))
    assert faults(parser.parse(path.read_bytes()).root_node) == []
    assert faults(parser.parse(path.read_bytes() + b"\nif ($x) {").root_node), "the parser finds what is open"


def test_scripts_carry_no_secret() -> None:
    for path in SCRIPTS.glob("*.ps1"):
        assert not re.search(r"AKIA|-----BEGIN|ConvertTo-SecureString[^\n]*-AsPlainText", path.read_text())


def test_no_password_goes_where_others_read() -> None:
    """Transcripts have what is written out; what is handed to a process is in its command line."""
    for path in SCRIPTS.glob("*.ps1"):
        for line in path.read_text().splitlines():
            if re.search(r"(?i)\.password|SecretString", line):
                assert not re.search(r"(?i)Write-|Out-|Set-Content|Start-Process|-Argument\\b", line), line


def test_machines_and_configuration_agree_on_the_data_root() -> None:
    script = (SCRIPTS / "fabric.ps1").read_text()
    assert f"$script:DataRoot = '{configuration.DATA_ROOT}'" in script
    assert f"$script:LogRoot = '{configuration.LOG_ROOT}'" in script


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.ps1")), ids=lambda path: path.name)
def test_scripts_are_plain_ascii(path: Path) -> None:
    """Windows PowerShell takes a file without a byte order mark for the system's code page."""
    assert path.read_text().isascii()
