"""The real Pulumi engine on the provider and the emulated AWS, each in a process of its own."""

import base64
import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from provider_stage import REGION, Sandbox, Stack

from envs.sandbox import account
from envs.sandbox.aws.inventory import inventory
from envs.sandbox.provider.archives import zipped
from envs.sandbox.provider.codec import Archive, Asset

pytestmark = pytest.mark.xdist_group("provider-engine")


@pytest.fixture
def stack(sandbox: Sandbox, tmp_path: Path) -> Stack:
    """A new stack of the engine."""
    return Stack(sandbox, tmp_path)


@pytest.fixture
def broker(sandbox: Sandbox) -> Iterator[socket.socket]:
    """Something that answers where the sandbox's broker would: an MSK cluster is ACTIVE as long as it does."""
    with socket.create_server(("127.0.0.1", account.load(sandbox.state_dir).kafka_port)) as server:
        yield server


def _inventory(sandbox: Sandbox) -> list[str]:
    told = account.load(sandbox.state_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", told.endpoint)
        return inventory(boto3.Session(told.access_key, told.secret_key, region_name=REGION))


def test_every_type_lives_and_leaves_nothing(
    sandbox: Sandbox, stack: Stack, broker: socket.socket, tmp_path: Path
) -> None:
    before = _inventory(sandbox)
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "table.csv").write_text("a,b\n")

    stack.up("everything", folder=str(folder))
    stack.unchanged("everything", folder=str(folder))
    made = stack.ids()

    stack.up("everything", folder=str(folder), days=14, owner="two")
    stack.still()
    assert stack.ids() == made, "everything could be changed in place"
    queue = sandbox.client("sqs").list_queue_tags(QueueUrl=made["queue"])
    assert queue["Tags"] == {"Owner": "two"}

    broker.close()
    stack.destroy()
    assert _inventory(sandbox) == before


def test_drift_is_seen_and_put_right_and_what_cannot_change_is_replaced(sandbox: Sandbox, stack: Stack) -> None:
    ec2 = sandbox.client("ec2")
    stack.up("network")
    made = stack.ids()
    ec2.delete_subnet(SubnetId=made["lost"])
    ec2.create_tags(Resources=[made["net"]], Tags=[{"Key": "Name", "Value": "changed"}, {"Key": "New", "Value": "1"}])

    told = stack.drifted()
    assert made["lost"] in told
    assert made["net"] in told
    assert made["kept"] not in told
    stack.refresh()
    assert "lost" not in stack.resources()
    assert stack.resources()["net"]["inputs"]["tags"] == {"Name": "changed", "New": "1"}

    stack.up("network")
    again = stack.ids()
    assert again["net"] == made["net"]
    assert again["lost"] != made["lost"]
    assert ec2.describe_vpcs(VpcIds=[made["net"]])["Vpcs"][0]["Tags"] == [{"Key": "Name", "Value": "net"}]

    stack.up("network", cidr="10.1.2.0/24", about="two")
    moved = stack.ids()
    assert moved["lost"] != again["lost"]
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["fixed"]}])["SecurityGroups"]
    assert [group["GroupId"] for group in groups] == [moved["group"]] != [again["group"]]
    stack.still()
    stack.destroy()


def test_secrets_assets_and_default_tags_of_two_instances(sandbox: Sandbox, stack: Stack) -> None:
    stack.up("two_instances")
    assert "visible-text" in stack.state()
    assert "correct-horse" not in stack.state()
    assert "hidden-owner" not in stack.state()
    stack.unchanged("two_instances")

    made = stack.ids()
    role = sandbox.client("iam").get_role(RoleName=made["role"])["Role"]
    assert {tag["Key"]: tag["Value"] for tag in role["Tags"]} == {"Team": "blue", "Env": "mine"}
    function = sandbox.client("lambda").get_function(FunctionName=made["function"])
    assert function["Tags"] == {"Team": "red"}
    assert function["Configuration"]["Environment"]["Variables"]["PASSWORD"] == "correct-horse"
    code = zipped(Archive(assets={"main.py": Asset(text="def handler(event, _): return event\n")}))
    assert function["Configuration"]["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode()
    group = stack.resources()["logs"]["outputs"]["arn"]
    tags = sandbox.client("logs").list_tags_for_resource(resourceArn=group)["tags"]
    assert tags == {"Team": "red", "Owner": "hidden-owner"}
    stack.destroy()


def test_what_exists_can_be_imported(sandbox: Sandbox, stack: Stack) -> None:
    ec2, sqs = sandbox.client("ec2"), sandbox.client("sqs")
    vpc = ec2.create_vpc(CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    attributes = {"DelaySeconds": "7", "MaximumMessageSize": "262144"}
    url = sqs.create_queue(QueueName="existing", Attributes=attributes)["QueueUrl"]
    existing = {"vpc": vpc, "table": table, "gateway": gateway, "url": url}

    assert "delaySeconds: 7 => 3" in stack.preview("imported", importing=True, delay=3, **existing)
    stack.up("imported", importing=True, delay=7, **existing)
    stack.unchanged("imported", importing=False, delay=7, **existing)
    assert stack.ids()["net"] == vpc
    stack.destroy()
    assert vpc not in {each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]}


def test_what_did_not_become_ready_is_remembered_and_finished_later(sandbox: Sandbox, stack: Stack) -> None:
    told = stack.fails("up", "workers", timeout="soon")
    assert "workers was created but is not ready: waitForCapacityTimeout must be a duration" in told
    assert stack.ids()["workers"] == "workers"
    stack.up("workers", timeout="1m")
    stack.still()
    stack.destroy()
    assert sandbox.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("unknown_type", "does not emulate the resource type aws:dynamodb/table:Table"),
        ("unknown_property", "rules[0].filter.and is not emulated"),
        ("unknown_data", "does not emulate the data source aws:ssm/getParameter:getParameter"),
        ("another_account", "allowedAccountIds must be exactly ['123456789012']"),
    ],
)
def test_what_is_not_emulated_fails_the_preview_by_its_name(stack: Stack, program: str, words: str) -> None:
    assert words in stack.fails("preview", program)
