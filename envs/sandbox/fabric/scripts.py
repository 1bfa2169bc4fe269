"""What the scripts of infra/user_data do to a machine and its cluster, without Windows: read them side by side.

A script is known by its name, fetched and compared as the loader does it, with the rights of the machine's role. What
needs Windows itself (disks, services, the registry) is noted as done; what needs AWS or the cluster is really done.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from cryptography.hazmat.primitives.serialization import pkcs12

from envs.sandbox.aws.sts_client import AssumeRoleError
from envs.sandbox.fabric.errors import FabricError, MachineError
from envs.sandbox.fabric.model import Cluster
from envs.sandbox.fabric.nodes import Status
from envs.sandbox.fabric.world import DataRoot
from services.fabric import configuration, domains

if TYPE_CHECKING:
    from envs.sandbox.fabric.machine import Machine

AWS_ERRORS: Final = (ClientError, BotoCoreError, AssumeRoleError)

_DEVICE: Final = "xvdf"
_DISK_S: Final = 120.0
_JOIN_S: Final = 120.0


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


def prepare(machine: "Machine") -> None:
    """The preparations of common.ps1: administrator, certificate, remote registry; what has no value yet waits."""
    installation, settings = machine.installation, machine.installation.settings
    administrator = _secret(machine, settings.text("administrator"))
    certificate = _secret(machine, settings.text("certificate"))
    with machine.world.cluster.lock:
        if administrator is not None:
            account = json.loads(administrator["SecretString"])
            installation.administrator = account["username"], account["password"]
        if certificate is not None:
            pkcs12.load_pkcs12(certificate["SecretBinary"], None)
            installation.certificate = certificate["SecretBinary"]
        installation.remote_registry = True
        if administrator is not None and certificate is not None:
            machine.world.cluster.prepare(machine.instance.address)


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
    """seed.ps1: the data disk that the launch function attached, the preparations, and its node when it was one."""
    volume_id = machine.wait("the data disk", _DISK_S, lambda: machine.attached_volume(_DEVICE))
    volume, world = machine.volume(volume_id), machine.world
    restored = any(tag["Key"] == "restored-from" for tag in volume.get("Tags", []))
    with world.cluster.lock:
        machine.installation.data_volume = volume_id
        if volume_id not in world.roots and (origin := world.snapshots.get(volume.get("SnapshotId", ""))):
            world.roots[volume_id] = origin
        root = world.roots.get(volume_id)
    prepare(machine)
    if root is None or not world.cluster.formed:
        return
    with world.cluster.lock:
        # What a snapshot holds of replicas is older than what the cluster knows of them: it starts without.
        world.cluster.start_node(root.node, machine.instance.address, root.version, empty=restored)


def worker(machine: "Machine") -> None:
    """worker.ps1: joins the cluster under a name of its own, and says that it is ready once its node is Up."""
    settings = machine.installation.settings
    with machine.world.cluster.lock:
        machine.installation.data_volume = f"local-{machine.instance.id}"
    try:
        prepare(machine)
        _join(machine)
    except (MachineError, FabricError, *AWS_ERRORS):
        _complete(machine, settings.values, "ABANDON")
        raise
    _complete(machine, settings.values, "CONTINUE")


def _join(machine: "Machine") -> None:
    world, instance = machine.world, machine.instance
    cluster = world.cluster
    name = f"worker-{instance.id.removeprefix('i-')}"
    machine.client("ec2").create_tags(Resources=[instance.id], Tags=[{"Key": "node", "Value": name}])

    def added() -> bool | None:
        with cluster.lock:
            if not cluster.formed or cluster.lost:
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
        cluster.start_configuration_upgrade(_catching_up(cluster))
        return None


def _catching_up(cluster: Cluster) -> dict[str, Any]:
    """The next configuration: exactly the nodes there are, and those that are gone named as such."""
    current, live = cluster.current_configuration(), {node.name for node in cluster.nodes()}
    if gone := set(cluster.configuration.nodes) - live:
        return configuration.without(current, gone)
    return configuration.following(current)


def _complete(machine: "Machine", settings: Mapping[str, Any], result: str) -> None:
    machine.client("autoscaling").complete_lifecycle_action(
        AutoScalingGroupName=settings["group"],
        LifecycleHookName=settings["hook"],
        InstanceId=machine.instance.id,
        LifecycleActionResult=result,
    )


def _secret(machine: "Machine", arn: str) -> dict[str, Any] | None:
    try:
        return machine.client("secretsmanager").get_secret_value(SecretId=arn)
    except ClientError as error:
        # A secret without a value: bootstrap puts one, and has the machine prepared again.
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise


_STARTS: Final[Mapping[str, Callable[["Machine"], None]]] = {"seed.ps1": seed, "worker.ps1": worker}
