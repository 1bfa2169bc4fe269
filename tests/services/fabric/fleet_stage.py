"""A fleet of seeds in the emulated account, and machines that carry out what SSM tells them on the cluster's model.

The account, its secrets, buckets, groups and instances are the sandbox's; the gateway is the sandbox's too, over TLS
with the certificate that the nodes' secret has. What stands for the machines is here: `Machines` answers as SSM does.
"""

import contextlib
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from envs.sandbox.fabric import microsoft
from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.gateway import Gateway, TlsFiles
from envs.sandbox.fabric.model import Cluster
from envs.sandbox.fabric.timings import Timings
from services.fabric import domains
from services.fabric.bootstrap import Clients
from services.fabric.fleet import Fleet, described
from services.fabric.waiting import Limits
from tests.envs.sandbox.aws.emulated import Aws

VERSION = "10.1.2493.9590"
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
QUICK = Limits(
    *(20 for _ in range(7)),
    upgrade_s=20,
    pause_s=0.02,
)
PACE = Timings(
    forming=0.1,
    joining=0.05,
    lease=0.05,
    safety_check=0.02,
    replica=0.02,
    deactivate=0.02,
    activate=0.02,
    replica_restart_wait=60,
    upgrade_domain=0.02,
    health_retry=5,
)
_LINE = re.compile(
    r"& \(Join-Path \$env:ProgramData 'fleetstream\\form\.ps1'\) -Step '(\w+)' -Key '([^']*)' -Version '([^']*)'"
)
_numbers = itertools.count(1)


class Quiet:
    """Steps that nobody watches; their titles and last details are kept."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.details: list[str] = []

    @contextlib.contextmanager
    def __call__(self, title: str) -> Iterator["Quiet"]:
        self.titles.append(title)
        yield self

    detail = ""

    def update(self, detail: str) -> None:
        self.details.append(detail)


class Interrupted(BaseException):
    """Ends a run in the middle, as Ctrl-C does."""


@dataclass
class _Command:
    id: str
    step: str
    comment: str
    instances: list[str]
    sent: datetime
    results: dict[str, tuple[str, str]]
    looks: int = 1
    """How often it is still under way when somebody asks."""


class _Pages:
    def __init__(self, pages: Callable[..., list[dict[str, Any]]]) -> None:
        self.paginate = pages


@dataclass
class Machines:
    """The machines' end of SSM: they know one line, and refuse every other one."""

    fleet: "Stage"
    commands: list[_Command] = field(default_factory=list)
    passwords: list[str] = field(default_factory=list)
    fail: dict[str, str] = field(default_factory=dict)
    """Steps that go wrong, with what the machine writes."""
    interrupt: str = ""
    """The step after whose sending the caller is interrupted."""
    asleep: set[str] = field(default_factory=set)

    class exceptions:  # noqa: N801 - botocore's spelling
        class InvocationDoesNotExist(Exception):  # noqa: N818 - SSM's name
            """There is nothing of it yet."""

    @property
    def steps(self) -> list[tuple[str, int]]:
        """What was sent so far, and to how many machines."""
        return [(command.step, len(command.instances)) for command in self.commands]

    def send_command(self, **request: Any) -> dict[str, Any]:
        assert request["DocumentName"] == "AWS-RunPowerShellScript"
        (line,) = request["Parameters"]["commands"]
        known = _LINE.fullmatch(line)
        assert known is not None, f"the machines do not know the command {line}"
        step, key, version = known.groups()
        results = {}
        for instance in request["InstanceIds"]:
            try:
                if step in self.fail:
                    raise FabricError("E_FAIL", self.fail[step])
                self._carry_out(step, instance, key, version)
                results[instance] = ("Success", "done")
            except FabricError as error:
                results[instance] = ("Failed", f"first line\n\nlast line: {error}")
        command = _Command(
            f"command-{len(self.commands)}",
            step,
            request["Comment"],
            request["InstanceIds"],
            datetime.now(UTC),
            results,
        )
        self.commands.append(command)
        if self.interrupt == step:
            self.interrupt = ""
            raise Interrupted
        return {"Command": {"CommandId": command.id}}

    def _carry_out(self, step: str, instance: str, key: str, version: str) -> None:
        stage = self.fleet
        if step == "prepare":
            assert (key, version) == ("", "")
            stage.cluster.prepare(stage.address_of(instance))
            self.passwords.append(json.loads(stage.secret("administrator"))["password"])
            return
        content = stage.aws.client("s3").get_object(Bucket=stage.fleet.bucket, Key=key, VersionId=version)
        document = json.loads(content["Body"].read())
        if step == "test":
            stage.cluster.test_configuration(document)
        else:
            assert step == "create"
            stage.form(document)

    def get_command_invocation(self, CommandId: str, InstanceId: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        command = next(each for each in self.commands if each.id == CommandId)
        if command.looks > 0:
            command.looks -= 1
            if command.looks % 2:
                return {"InstanceId": InstanceId, "Status": "InProgress"}
            raise self.exceptions.InvocationDoesNotExist
        status, output = command.results[InstanceId]
        code = 0 if status == "Success" else 1
        return {
            "InstanceId": InstanceId,
            "Status": status,
            "StatusDetails": status,
            "ResponseCode": code,
            "StandardOutputContent": output,
            "StandardErrorContent": "",
        }

    def get_paginator(self, name: str) -> _Pages:
        def commands() -> list[dict[str, Any]]:
            found = [
                {
                    "CommandId": each.id,
                    "Status": "InProgress" if each.looks > 0 else min(status for status, _ in each.results.values()),
                    "InstanceIds": each.instances,
                    "Comment": each.comment,
                    "RequestedDateTime": each.sent,
                }
                for each in self.commands
            ]
            return [{"Commands": found[:1]}, {"Commands": found[1:]}]

        def information(Filters: list[dict[str, Any]]) -> list[dict[str, Any]]:  # noqa: N803 - boto3's names
            awake = [each for each in Filters[0]["Values"] if each not in self.asleep]
            if self.asleep:
                self.asleep.pop()
            return [{"InstanceInformationList": [{"InstanceId": each, "PingStatus": "Online"} for each in awake]}]

        return _Pages({"list_commands": commands, "describe_instance_information": information}[name])


class _Workers:
    """The workers' group; its instances join the cluster when they are launched, as their user data has it."""

    def __init__(self, stage: "Stage") -> None:
        self._stage = stage
        self._client = stage.aws.client("autoscaling")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def set_desired_capacity(self, **request: Any) -> None:
        self._client.set_desired_capacity(**request)
        self._stage.join_workers()

    def get_paginator(self, name: str) -> Any:
        """The group's instances, those in the states that a test put them into."""

        def pages(**request: Any) -> list[dict[str, Any]]:
            found = list(self._client.get_paginator(name).paginate(**request))
            for page in found:
                for each in (each for group in page["AutoScalingGroups"] for each in group["Instances"]):
                    each["LifecycleState"] = self._stage.states.get(each["InstanceId"], each["LifecycleState"])
            return found

        return _Pages(pages)


@dataclass
class Stage:
    """One fleet and its cluster."""

    aws: Aws
    folder: Path
    fleet: Fleet
    outputs: dict[str, Any]
    cluster: Cluster
    subnets: dict[str, str]
    gateway: Gateway | None = None

    def __post_init__(self) -> None:
        self.machines = Machines(self)
        self.quiet = Quiet()
        self.packages = microsoft.offer(self.folder / "microsoft", self.fleet.version)
        self.states: dict[str, str] = {}
        self.ids = {node: self.launch(node) for node in self.fleet.seeds}
        self.settle(lambda: all(self.describe(each)["State"]["Name"] == "running" for each in self.ids.values()))

    @property
    def clients(self) -> Clients:
        return Clients(
            ec2=self.aws.client("ec2"),
            s3=self.aws.client("s3"),
            ssm=self.machines,
            secretsmanager=self.aws.client("secretsmanager"),
            autoscaling=_Workers(self),
        )

    def secret(self, role: str) -> Any:
        """A secret's value."""
        name = {
            "administrator": self.fleet.administrator_secret,
            "nodes": self.fleet.node_secret,
            "client": self.fleet.client_secret,
        }[role]
        answer = self.aws.client("secretsmanager").get_secret_value(SecretId=name)
        return answer.get("SecretString") or answer["SecretBinary"]

    def interface(self, node: str) -> str:
        """The persistent interface of a seed."""
        filters = [{"Name": "tag:cluster", "Values": [self.fleet.cluster]}, {"Name": "tag:node", "Values": [node]}]
        (found,) = self.aws.client("ec2").describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
        return found["NetworkInterfaceId"]

    def launch(self, node: str, **tags: str) -> str:
        """An instance on a seed's interface, tagged as its launch template does, apart from the node's name."""
        return self._run(
            {"role": "seed", **tags},
            NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": self.interface(node)}],
        )

    def _run(self, tags: dict[str, str], **where: Any) -> str:
        labels = [{"Key": key, "Value": value} for key, value in {"cluster": self.fleet.cluster, **tags}.items()]
        (instance,) = self.aws.client("ec2").run_instances(
            ImageId="ami-12c6146b",
            MinCount=1,
            MaxCount=1,
            InstanceType="m6i.large",
            TagSpecifications=[{"ResourceType": "instance", "Tags": labels}],
            **where,
        )["Instances"]
        return instance["InstanceId"]

    def describe(self, instance: str) -> dict[str, Any]:
        answer = self.aws.client("ec2").describe_instances(InstanceIds=[instance])
        return answer["Reservations"][0]["Instances"][0]

    def tags_of(self, instance: str) -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in self.describe(instance)["Tags"]}

    def address_of(self, instance: str) -> str:
        return self.describe(instance)["PrivateIpAddress"]

    def form(self, document: dict[str, Any]) -> None:
        """What CreateServiceFabricCluster.ps1 does; the gateway answers from then on."""
        self.cluster.form(document, VERSION)
        self.listen()

    def listen(self) -> None:
        """Begins to answer where the management load balancer is, with the nodes' certificate."""
        key, certificate, _ = pkcs12.load_key_and_certificates(self.secret("nodes"), None)
        assert key is not None
        assert certificate is not None
        pem = serialization.Encoding.PEM
        files = TlsFiles(*(self.folder / name for name in ("node.pem", "node.key", "authority.pem")))
        files.certificate.write_bytes(certificate.public_bytes(pem))
        files.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        files.authority.write_text(json.loads(self.secret("client"))["authority"])
        self.gateway = Gateway(self.cluster, self.fleet.management_address, 19080, files)
        self.gateway.start()

    def workers(self) -> list[str]:
        """The instances of the workers' group."""
        (group,) = self.aws.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[self.fleet.worker_group]
        )["AutoScalingGroups"]
        return [each["InstanceId"] for each in group["Instances"]]

    def in_service(self) -> list[str]:
        """Those that serve."""
        (group,) = self.aws.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[self.fleet.worker_group]
        )["AutoScalingGroups"]
        return [each["InstanceId"] for each in group["Instances"] if each["LifecycleState"] == "InService"]

    def node_of(self, instance: str) -> str:
        """The name that a worker's instance joins under."""
        return f"worker-{instance.removeprefix('i-')}"

    def end(self, instance: str) -> None:
        """An instance ends as a machine that breaks: nobody took its node out of the cluster before."""
        address = self.address_of(instance)
        self.aws.client("ec2").terminate_instances(InstanceIds=[instance])
        self.cluster.lose(address)

    def settle(self, condition: Callable[[], bool]) -> None:
        """Waits until the cluster has come to something."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "the cluster does not come to that"
            time.sleep(0.02)

    def join_workers(self) -> None:
        """Lets every worker join that has not."""
        for instance in self.workers():
            name = self.node_of(instance)
            if self.cluster.node(name) is not None:
                continue
            found = self.describe(instance)
            taken = [(node.fault_domain, node.upgrade_domain) for node in self.cluster.nodes()]
            fault, upgrade = domains.of_worker(found["Placement"]["AvailabilityZone"], taken)
            self.aws.client("ec2").create_tags(
                Resources=[instance],
                Tags=[
                    {"Key": "node", "Value": name},
                    {"Key": "cluster", "Value": self.fleet.cluster},
                    {"Key": "role", "Value": "worker"},
                ],
            )
            self.cluster.prepare(found["PrivateIpAddress"])
            self.cluster.add_node(name, "Worker", found["PrivateIpAddress"], upgrade, fault, VERSION)

    def close(self) -> None:
        if self.gateway is not None:
            self.gateway.stop()


@contextlib.contextmanager
def staged(aws: Aws, folder: Path, seeds: int = 3) -> Iterator[Stage]:
    """A fleet whose seed instances run, in a network of its own, with secrets that have no values."""
    number = next(_numbers)
    cluster = f"fleet{os.getpid()}x{number}"
    ec2, manager = aws.client("ec2"), aws.client("secretsmanager")
    vpc = ec2.create_vpc(CidrBlock="10.50.0.0/16")["Vpc"]["VpcId"]
    subnets = {
        zone: ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.50.{at}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for at, zone in enumerate(ZONES)
    }
    places = {}
    for at in range(seeds):
        node, zone = f"seed-{at}", ZONES[at % 3]
        labels = {"cluster": cluster, "role": "seed", "node": node}
        address = f"10.50.{at % 3}.{10 + at}"
        ec2.create_network_interface(
            SubnetId=subnets[zone],
            PrivateIpAddress=address,
            TagSpecifications=[
                {
                    "ResourceType": "network-interface",
                    "Tags": [{"Key": key, "Value": value} for key, value in labels.items()],
                }
            ],
        )
        places[node] = {"address": address, "zone": zone, "group": f"{cluster}-{node}"}
    bucket = f"{cluster}-scripts"
    aws.client("s3").create_bucket(Bucket=bucket)
    aws.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    secrets = {
        role: manager.create_secret(Name=f"{cluster}-{role}")["ARN"] for role in ("administrator", "nodes", "client")
    }
    group = _worker_group(aws, cluster, list(subnets.values()))
    outputs = {
        "region": "us-east-1",
        "fleet": {
            "cluster": cluster,
            "seeds": places,
            "worker_group": group,
            "configuration_bucket": bucket,
            "administrator_secret": secrets["administrator"],
            "node_certificate_secret": secrets["nodes"],
            "client_certificate_secret": secrets["client"],
            "management_address": f"127.{70 + os.getpid() % 40}.{os.getpid() // 40 % 250}.{number % 250 + 1}",
            "diagnostics_share": None,
            "service_fabric_version": VERSION,
        },
    }
    stage = Stage(aws, folder, described(outputs), outputs, Cluster(time.monotonic, PACE), subnets)
    try:
        yield stage
    finally:
        stage.close()


def _worker_group(aws: Aws, cluster: str, subnets: list[str]) -> str:
    name = f"{cluster}-workers"
    aws.client("ec2").create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData={
            "ImageId": "ami-12c6146b",
            "InstanceType": "m6i.large",
            "TagSpecifications": [
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": "cluster", "Value": cluster}, {"Key": "role", "Value": "worker"}],
                }
            ],
        },
    )
    aws.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=name,
        MinSize=0,
        MaxSize=4,
        DesiredCapacity=0,
        LaunchTemplate={"LaunchTemplateName": name, "Version": "$Latest"},
        VPCZoneIdentifier=",".join(subnets),
    )
    return name
