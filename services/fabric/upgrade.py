"""Changes the cluster's configuration, always from the one it has now, and follows the change to its end."""

import difflib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.fabric import configuration as cluster_configuration
from services.fabric import rules
from services.fabric.client import GONE_STATUSES, Gateway, Upgrade
from services.fabric.errors import FabricServiceError, GatewayUnreachableError, UpgradeInProgressError
from services.fabric.manifest import listed
from services.fabric.rules.view import text
from services.fabric.waiting import Limits, NotYet, Progress, until

_STALE_LOOKS = 12
"""For how many looks the status may still be that of the upgrade before."""


@dataclass(frozen=True)
class Change:
    """A change of the configuration: from what, to what."""

    current: Mapping[str, Any]
    new: Mapping[str, Any]

    @property
    def lines(self) -> list[str]:
        """What differs, as `diff -u` shows it; nothing: there is no change but the version's."""
        before, after = (_lines(each) for each in (self.current, self.new))
        return list(difflib.unified_diff(before, after, "the cluster's", "the new one", lineterm="", n=2))

    @property
    def version(self) -> str:
        """The version of the new configuration."""
        return text(self.new, "clusterConfigurationVersion")


def standing(gateway: Gateway) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration as it was applied last, and the one to start a change from: with the nodes there are now."""
    applied = cluster_configuration.with_listed(gateway.configuration(), listed(gateway.manifest()))
    members = [
        cluster_configuration.node(each.name, each.address, each.type, each.fault_domain, each.upgrade_domain)
        for each in gateway.nodes()
        if each.status not in GONE_STATUSES
    ]
    return applied, cluster_configuration.with_members(applied, members)


def change(gateway: Gateway, settings: Mapping[str, str], code_version: str | None) -> Change | None:
    """Sets parameters of fabricSettings (``Section/Parameter``) and the version of Service Fabric.

    None when the cluster has all of that already. Raises `FabricServiceError` when the product would refuse.
    """
    applied, start = standing(gateway)
    new = start
    for name, value in settings.items():
        section, _, parameter = name.partition("/")
        if not section or not parameter:
            raise FabricServiceError(f"{name!r} names no setting: write Section/Parameter=value")
        new = cluster_configuration.with_setting(new, section, parameter, value)
    if code_version is not None and code_version != gateway.version():
        new = cluster_configuration.with_code_version(new, code_version)
    return None if new == start else checked(applied, new)


def membership(gateway: Gateway) -> Change:
    """Lists exactly the nodes that the cluster has. Raises `FabricServiceError` when the product would refuse."""
    return checked(*standing(gateway))


def checked(current: Mapping[str, Any], new: Mapping[str, Any]) -> Change:
    """The change, when it breaks no rule of the product. Raises `FabricServiceError` with all that it breaks."""
    if broken := [*rules.check(new), *rules.check_update(current, new)]:
        told = "\n".join(f"  {one.rule}: {one.path}: {one.message}" for one in broken)
        raise FabricServiceError(f"the cluster would refuse this configuration:\n{told}")
    return Change(current, new)


def refuse_while_running(gateway: Gateway) -> Upgrade:
    """The last change's status. Raises `FabricServiceError` while it runs: one at a time."""
    status = gateway.upgrade_status()
    if status.running:
        raise FabricServiceError(
            f"the cluster is being upgraded ({status.state}, configuration {status.version}): wait until that ends"
        )
    return status


def carry_out(gateway: Gateway, wanted: Change, limits: Limits, progress: Progress) -> None:
    """Begins the change and waits for its end. Raises `FabricServiceError` when it is rolled back.

    Interrupted, the cluster goes on by itself.
    """
    before = refuse_while_running(gateway)
    try:
        gateway.start_configuration_upgrade(wanted.new)
    except UpgradeInProgressError as error:
        raise FabricServiceError(f"{error}: somebody else was faster, wait until that has ended") from error
    stale_until = time.monotonic() + _STALE_LOOKS * limits.pause_s

    def look() -> None:
        try:
            status = gateway.upgrade_status()
        except GatewayUnreachableError as error:
            # The gateway's own node is upgraded too.
            raise NotYet(str(error)) from None
        if status.running:
            raise NotYet(f"{status.state} {status.version}")
        if status == before and time.monotonic() < stale_until:
            raise NotYet("about to begin")
        if status.failed or status.version != wanted.version:
            raise FabricServiceError(
                f"the upgrade to {wanted.version} did not succeed: {status.state} {status.version} {status.details}"
                " The cluster keeps its configuration: `fleetstream cluster nodes` shows its health"
            )

    until(look, f"the upgrade to {wanted.version}", limits.upgrade_s, limits.pause_s, progress)
    progress.update(wanted.version)


def _lines(configuration: Mapping[str, Any]) -> list[str]:
    return json.dumps(configuration, indent=2).splitlines()
