"""Commands for machines by way of Systems Manager: form.ps1, step by step; no other command is understood."""

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from envs.sandbox.fabric.errors import MachineError
from envs.sandbox.fabric.scripts import fetch_scripts, prepare
from envs.sandbox.fabric.upgrade import UpgradeState
from envs.sandbox.fabric.world import DataRoot, Installation

if TYPE_CHECKING:
    from envs.sandbox.fabric.machine import Machine

_FORM: Final = re.compile(
    r"& \(Join-Path \$env:ProgramData 'fleetstream\\form\.ps1'\)"
    r" -Step '(?P<step>[a-z]+)' -Key '(?P<key>[^']*)' -Version '(?P<version>[^']*)'"
)
_SCRIPT: Final = "form.ps1"
_UPGRADE_S: Final = 3600.0


def run(machine: "Machine", script: str) -> str:
    """Carries a command out and returns what it prints. Raises what its error stream would say."""
    found = _FORM.fullmatch(script.strip())
    if found is None:
        raise MachineError(f"there is no Windows here that could run: {script.strip()[:300]}")
    if _SCRIPT not in {each.name for each in machine.installation.settings.scripts}:
        raise MachineError(f"{_SCRIPT} was not fetched by the loader: this machine is no seed")
    try:
        step = _STEPS[found["step"]]
    except KeyError:
        raise MachineError(f"{_SCRIPT}: -Step '{found['step']}' is none of {', '.join(_STEPS)}") from None
    return step(machine, found["key"], found["version"])


def _prepare(machine: "Machine", _key: str, _version: str) -> str:
    if not prepare(machine):
        raise MachineError("the secrets have no values: run the bootstrap")
    return "step prepare is done"


def _test(machine: "Machine", key: str, version: str) -> str:
    """TestConfiguration.ps1: the rules, and every machine reached as the local administrator by its registry."""
    document = _configuration(machine, key, version)
    fetch_scripts(machine, machine.installation.settings.text("version"))
    with machine.world.cluster.lock:
        wanted = machine.world.cluster.test_configuration(document)
        own = machine.installation
        for entry in wanted.nodes.values():
            other = _installed(machine, entry.address)
            if not other.remote_registry:
                raise MachineError(f"{entry.address}: the service RemoteRegistry does not run")
            if own.administrator is None or other.administrator != own.administrator:
                raise MachineError(f"{entry.address}: access is denied for the local administrator")
            if wanted.secured and other.certificate != own.certificate:
                raise MachineError(f"{entry.address}: the cluster's certificate is not in its store")
    return "Passed : True\nstep test is done"


def _create(machine: "Machine", key: str, version: str) -> str:
    """CreateServiceFabricCluster.ps1, which does not make a cluster where there is one."""
    world, release = machine.world, machine.installation.settings.text("version")
    document = _configuration(machine, key, version)
    _test(machine, key, version)
    with world.cluster.lock:
        world.cluster.form(document, release)
        for entry in world.cluster.configuration.nodes.values():
            volume = _installed(machine, entry.address).data_volume
            world.roots[volume] = DataRoot(entry.name, world.cluster.configuration.name, release)
    return "Your cluster is successfully created!\nstep create is done"


def _upgrade(machine: "Machine", key: str, version: str) -> str:
    document = _configuration(machine, key, version)
    cluster = machine.world.cluster
    with cluster.lock:
        cluster.start_configuration_upgrade(document)
        upgrade = cluster.upgrade

    def ended() -> str | None:
        with cluster.lock:
            cluster.tick()
            return None if upgrade is None or upgrade.running else upgrade.state.value

    state = machine.wait("the configuration upgrade ends", _UPGRADE_S, ended)
    if upgrade is None or state != UpgradeState.DONE.value:
        raise MachineError(f"the configuration upgrade ended with {state}")
    return "step upgrade is done"


def _installed(machine: "Machine", address: str) -> Installation:
    """What is on the machine at an address, which the file shares of Windows let an administrator see."""
    return machine.neighbour(address).installation


def _configuration(machine: "Machine", key: str, version: str) -> dict[str, Any]:
    if not key:
        raise MachineError(f"{_SCRIPT}: -Key is empty: it names the configuration's object")
    bucket = machine.installation.settings.bucket
    which = {"VersionId": version} if version else {}
    body = machine.client("s3").get_object(Bucket=bucket, Key=key, **which)["Body"].read()
    try:
        document = json.loads(body)
    except ValueError as error:
        raise MachineError(f"s3://{bucket}/{key} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise MachineError(f"s3://{bucket}/{key} is no configuration")
    return document


_STEPS: Final[Mapping[str, Callable[["Machine", str, str], str]]] = {
    "prepare": _prepare,
    "test": _test,
    "create": _create,
    "upgrade": _upgrade,
}
