"""What the scripts of infra/user_data do to a machine and its cluster, without Windows: read them side by side.

A script is known by its name, fetched and compared as the loader does it, with the rights of the machine's role. What
needs Windows itself (disks, services, the registry) is noted as done; what needs AWS or the cluster is really done.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from cryptography.hazmat.primitives.serialization import pkcs12

from envs.sandbox.aws.sts_client import AssumeRoleError
from envs.sandbox.fabric.errors import FabricError, MachineError
from envs.sandbox.fabric.model import Cluster
from envs.sandbox.fabric.nodes import Status
from envs.sandbox.fabric.world import DataRoot
from services.fabric import configuration, domains, packages
from services.fabric.rules.update import TO_BE_REMOVED

if TYPE_CHECKING:
    from envs.sandbox.fabric.machine import Machine

AWS_ERRORS: Final = (ClientError, BotoCoreError, AssumeRoleError)

_DISK_S: Final = 300.0
_JOIN_S: Final = 600.0
_SIGN_S: Final = 30.0
"""Between two signs of life while a worker waits, as the shortest life cycle hook takes them."""
_SCRIPTS_PACKAGE, _RUNTIME_CABINET, _RUNTIME_SETUP = packages.NAMES


def load(machine: "Machine") -> None:
    """loader.ps1: fetches the scripts, compares them with what was published, and runs the first."""
    settings, s3 = machine.installation.settings, machine.client("s3")
    for script in settings.scripts:
        body = s3.get_object(Bucket=settings.bucket, Key=script.key)["Body"].read()
        if (found := hashlib.sha256(body).hexdigest()) != script.sha256:
            raise MachineError(f"{script.name} is not what was published: SHA-256 {found} instead of {script.sha256}")
    try:
        start = _STARTS[settings.start]
    except KeyError:
        raise MachineError(f"there is no Windows here that could run {settings.start}") from None
    start(machine)


def prepare(machine: "Machine") -> bool:
    """Initialize-Node of common.ps1. Says whether the secrets had values; without them bootstrap does it again."""
    installation, settings = machine.installation, machine.installation.settings
    administrator = _secret(machine, settings.text("administrator"))
    certificate = _secret(machine, settings.text("certificate"))
    with machine.world.cluster.lock:
        installation.remote_registry = True
        if administrator is not None:
            account = json.loads(administrator["SecretString"])
            installation.administrator = account["username"], account["password"]
        if certificate is not None:
            pkcs12.load_pkcs12(certificate["SecretBinary"], None)
            installation.certificate = certificate["SecretBinary"]
        prepared = administrator is not None and certificate is not None
        if prepared:
            machine.world.cluster.prepare(machine.instance.address)
    return prepared


def fetch_package(machine: "Machine", name: str, version: str) -> None:
    """Get-Package of fabric.ps1: the file has to be in the bucket; what is in it cannot be run here."""
    settings = machine.installation.settings
    key = f"{settings.text('packages')}{name.format(version)}"
    try:
        machine.client("s3").get_object(Bucket=settings.bucket, Key=key)["Body"].read()
    except ClientError as error:
        raise MachineError(f"put Microsoft's file to s3://{settings.bucket}/{key}: {error}") from error


def fetch_scripts(machine: "Machine", version: str) -> None:
    """Get-Scripts and Get-Cabinet of fabric.ps1: what Microsoft's own scripts of a version need."""
    fetch_package(machine, _SCRIPTS_PACKAGE, version)
    fetch_package(machine, _RUNTIME_CABINET, version)


def start_runtime(machine: "Machine") -> None:
    """FabricHostSvc, which starts with Windows: the node that the data root holds comes up again."""
    world, address = machine.world, machine.instance.address
    with world.cluster.lock:
        if machine.installation.certificate:
            world.cluster.prepare(address)
        root = world.roots.get(machine.installation.data_volume)
        if root is not None and world.cluster.formed:
            world.cluster.start_node(root.node, address, root.version)


def seed(machine: "Machine") -> None:
    """seed.ps1: the data disk that was attached from outside, the preparations, and its node when it was one."""
    settings, world = machine.installation.settings, machine.world
    _know_tags(machine)
    volume = machine.wait(f"the disk of {settings.text('node')} is attached", _DISK_S, lambda: _data_volume(machine))
    identifier = volume["VolumeId"]
    stale = next((tag["Value"] for tag in volume.get("Tags", []) if tag["Key"] == "restored-from"), "")
    with world.cluster.lock:
        machine.installation.data_volume = identifier
        if identifier not in world.roots and (origin := world.snapshots.get(volume.get("SnapshotId", ""))):
            world.roots[identifier] = origin
        root = world.roots.get(identifier)
    prepared = prepare(machine)
    if root is None:
        return
    if not prepared:
        raise MachineError(f"{root.node} is of a cluster, and the secrets have no values: put them back")
    fetch_package(machine, _RUNTIME_SETUP, world.cluster.code_version)
    with world.cluster.lock:
        # What a snapshot holds of replicas is older than what the cluster knows of them: once, it starts without.
        empty = bool(stale) and root.emptied_after != stale
        world.roots[identifier] = replace(root, version=world.cluster.code_version, emptied_after=stale)
        world.cluster.start_node(root.node, machine.instance.address, world.cluster.code_version, empty=empty)
    machine.wait(f"{root.node} is Up", _JOIN_S, lambda: _is_up(machine, root.node))


def _data_volume(machine: "Machine") -> dict[str, Any] | None:
    settings = machine.installation.settings
    wanted = {
        "attachment.instance-id": machine.instance.id,
        "attachment.status": "attached",
        "tag:cluster": settings.text("cluster"),
        "tag:node": settings.text("node"),
        "tag:role": "seed-data",
    }
    filters = [{"Name": name, "Values": [value]} for name, value in wanted.items()]
    found = machine.client("ec2").describe_volumes(Filters=filters)["Volumes"]
    return found[0] if found else None


def _know_tags(machine: "Machine") -> None:
    machine.client("ec2").describe_tags(Filters=[{"Name": "resource-id", "Values": [machine.instance.id]}])


def worker(machine: "Machine") -> None:
    """worker.ps1: joins the cluster under a name of its own, and says that it is ready once its node is Up."""
    hook = {
        "AutoScalingGroupName": machine.installation.settings.text("group"),
        "LifecycleHookName": machine.installation.settings.text("hook"),
        "InstanceId": machine.instance.id,
    }
    scaling = machine.client("autoscaling")
    machine.while_waiting(_SIGN_S, lambda: scaling.record_lifecycle_action_heartbeat(**hook))
    with machine.world.cluster.lock:
        machine.installation.data_volume = f"local-{machine.instance.id}"
    try:
        if not prepare(machine):
            raise MachineError("the secrets have no values: form the cluster first")
        _join(machine)
    except (MachineError, FabricError, *AWS_ERRORS):
        scaling.complete_lifecycle_action(**hook, LifecycleActionResult="ABANDON")
        raise
    scaling.complete_lifecycle_action(**hook, LifecycleActionResult="CONTINUE")


def _join(machine: "Machine") -> None:
    world, instance = machine.world, machine.instance
    cluster = world.cluster
    name = f"worker-{instance.id.removeprefix('i-')}"
    machine.client("ec2").create_tags(Resources=[instance.id], Tags=[{"Key": "node", "Value": name}])
    _know_tags(machine)
    machine.wait("a seed answers", _JOIN_S, lambda: _seed_answers(machine))
    fetch_scripts(machine, cluster.code_version)

    def added() -> bool | None:
        with cluster.lock:
            if cluster.lost:
                return None
            if cluster.upgrade is not None and cluster.upgrade.running:
                return None
            taken = [(node.fault_domain, node.upgrade_domain) for node in cluster.nodes()]
            fault, upgrade = domains.of_worker(instance.zone, taken)
            cluster.add_node(name, configuration.WORKER, instance.address, upgrade, fault, cluster.code_version)
            return True

    machine.wait("no upgrade is under way, so that the node can join", _JOIN_S, added)
    machine.wait(f"{name} is Up", _JOIN_S, lambda: _is_up(machine, name))
    with cluster.lock:
        world.roots[machine.installation.data_volume] = DataRoot(
            name, cluster.configuration.name, cluster.code_version
        )
    machine.wait(f"the configuration names {name}", _JOIN_S, lambda: _listed(machine, name))


def _seed_answers(machine: "Machine") -> bool | None:
    """Find-Seed of fabric.ps1: running seeds of the cluster that answer to clients."""
    wanted = {
        "tag:cluster": machine.installation.settings.text("cluster"),
        "tag:role": "seed",
        "instance-state-name": "running",
    }
    filters = [{"Name": name, "Values": [value]} for name, value in wanted.items()]
    reservations = machine.client("ec2").describe_instances(Filters=filters)["Reservations"]
    addresses = {each.get("PrivateIpAddress") for found in reservations for each in found["Instances"]}
    with machine.world.cluster.lock:
        cluster = machine.world.cluster
        if not cluster.formed or cluster.lost:
            return None
        return True if any(node.up and node.address in addresses for node in cluster.nodes()) else None


def _is_up(machine: "Machine", name: str) -> bool | None:
    with machine.world.cluster.lock:
        node = machine.world.cluster.node(name)
        return True if node is not None and node.status is Status.UP else None


def _listed(machine: "Machine", name: str) -> bool | None:
    """Upgrades the configuration to the nodes there are, unless somebody else's upgrade does that already."""
    cluster = machine.world.cluster
    with cluster.lock:
        cluster.tick()
        if name in cluster.configuration.nodes:
            return True
        if cluster.lost or (cluster.upgrade is not None and cluster.upgrade.running):
            return None
        cluster.start_configuration_upgrade(catching_up(cluster))
        return None


def catching_up(cluster: Cluster) -> dict[str, Any]:
    """The next configuration: exactly the nodes there are, and those that are gone named as such."""
    wanted, live = configuration.following(cluster.current_configuration()), {node.name for node in cluster.nodes()}
    # The current configuration has left them out already; an upgrade compares with the one that was applied last.
    if gone := sorted(set(cluster.configuration.nodes) - live):
        return configuration.with_setting(wanted, "Setup", TO_BE_REMOVED, ",".join(gone))
    return wanted


def _secret(machine: "Machine", arn: str) -> dict[str, Any] | None:
    try:
        return machine.client("secretsmanager").get_secret_value(SecretId=arn)
    except ClientError as error:
        # A secret without a value: bootstrap puts one, and has the machine prepared again.
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise


_STARTS: Final[Mapping[str, Callable[["Machine"], None]]] = {"seed.ps1": seed, "worker.ps1": worker}
