"""The rolling upgrade of an application to another version of its type, upgrade domain by upgrade domain.

Parameters that are not given with it have the target's defaults again ("Service Fabric application upgrade
parameters"). The mode decides nothing here: what runs in a package is not known, so no upgrade fails by its health.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from envs.sandbox.fabric import packages
from envs.sandbox.fabric.applications import Application, Applications
from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.nodes import Node
from envs.sandbox.fabric.packages import ApplicationType
from envs.sandbox.fabric.upgrade import UpgradeState

_INVALID = "FABRIC_E_APPLICATION_UPGRADE_VALIDATION_ERROR"


@dataclass
class ApplicationUpgrade:
    """One upgrade, also after it has ended."""

    target: ApplicationType
    parameters: dict[str, str]
    mode: str
    started: float
    domains: tuple[str, ...]
    due: float
    """When the domain under way is done."""
    finished: int = 0
    ended: float | None = None

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.ended is None

    @property
    def state(self) -> UpgradeState:
        """UpgradeState of the REST API."""
        return UpgradeState.FORWARD if self.running else UpgradeState.DONE

    def domain_state(self, index: int) -> str:
        """State of an upgrade domain in the REST API."""
        if index < self.finished:
            return "Completed"
        return "InProgress" if index == self.finished else "Pending"


@dataclass(frozen=True)
class Order:
    """What was asked for."""

    version: str
    parameters: Mapping[str, str]
    mode: str


def start(
    applications: Applications, found: Application, order: Order, now: float, pace: float, domains: Iterable[str]
) -> None:
    """Begins an upgrade that takes `pace` seconds a domain. Raises `FabricError` when it is not accepted."""
    version, parameters = order.version, order.parameters
    if found.upgrade is not None and found.upgrade.running:
        raise FabricError("FABRIC_E_APPLICATION_UPGRADE_IN_PROGRESS", f"{found.name} is being upgraded already")
    target = applications.type(found.type.name, version)
    if unknown := sorted(set(parameters) - set(target.parameters)):
        raise FabricError("E_INVALIDARG", f"{target.name} {version} has no parameter {', '.join(unknown)}")
    wanted = dict(target.parameters) | dict(parameters)
    if target.version == found.type.version and wanted == found.parameters:
        raise FabricError(
            "FABRIC_E_APPLICATION_ALREADY_IN_TARGET_VERSION", f"{found.name} is of version {version} already"
        )
    for service in found.services.values():
        kind = target.service_types.get(service.type.name)
        if kind is None or kind.stateful is not service.type.stateful:
            raise FabricError(_INVALID, f"{service.name}: {version} has no service type {service.type.name}")
    for item in target.default_services:
        packages.value(item.target, wanted)
    found.upgrade = ApplicationUpgrade(target, wanted, order.mode, now, tuple(domains), now + pace)


def timers(
    applications: Applications, nodes: Mapping[str, Node], pace: float
) -> Iterator[tuple[float, Callable[[], None]]]:
    """When which domain is done."""
    for found in applications.applications.values():
        upgrade = found.upgrade
        if upgrade is not None and upgrade.running:
            yield upgrade.due, lambda at=found, by=upgrade: _domain_done(applications, at, by, nodes, pace)


def _domain_done(
    applications: Applications,
    found: Application,
    upgrade: ApplicationUpgrade,
    nodes: Mapping[str, Node],
    pace: float,
) -> None:
    domain = upgrade.domains[upgrade.finished]
    for service in found.services.values():
        for replica in service.partition.replicas.values():
            if not service.type.stateful and nodes[replica.node].upgrade_domain == domain:
                # Another process: an instance that ends does not come back as the same.
                service.partition.made += 1
                replica.number = service.partition.made
    upgrade.finished += 1
    if upgrade.finished < len(upgrade.domains):
        upgrade.due += pace
        return
    upgrade.ended = upgrade.due
    # Default services that are there keep their numbers (EnableDefaultServicesUpgrade is off unless it is set).
    found.type, found.parameters = upgrade.target, upgrade.parameters
    for name, service in list(found.services.items()):
        found.services[name] = replace(service, type=upgrade.target.service_types[service.type.name])
    applications.complete(found)
