"""Application types, applications and their services: what was provisioned, created, and is placed on the nodes."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from envs.sandbox.fabric import packages
from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.image_store import ImageStore
from envs.sandbox.fabric.packages import ApplicationType, ServiceType
from envs.sandbox.fabric.placement import Partition, Placement

if TYPE_CHECKING:
    from envs.sandbox.fabric.application_upgrade import ApplicationUpgrade

_SCHEME: Final = "fabric:/"
_CONSTRAINT: Final = re.compile(r"\(?\s*NodeType\s*==\s*(\w+)\s*\)?")


@dataclass(frozen=True)
class Service:
    """One service with its single partition."""

    name: str
    application: str
    type: ServiceType
    partition: Partition

    @property
    def id(self) -> str:
        """The service's name as it stands in paths."""
        return identity(self.name)


@dataclass
class Application:
    """One application."""

    name: str
    type: ApplicationType
    parameters: dict[str, str]
    services: dict[str, Service] = field(default_factory=dict)
    upgrade: "ApplicationUpgrade | None" = None

    @property
    def id(self) -> str:
        """The application's name as it stands in paths."""
        return identity(self.name)


def identity(name: str) -> str:
    """A name without its scheme and with ~ between its parts (REST API reference, from version 6.0 on)."""
    return name.removeprefix(_SCHEME).replace("/", "~")


class Applications:
    """All application types, applications and services of a cluster."""

    def __init__(self, placement: Placement, changed: Callable[[], None]) -> None:
        """`changed` is called when services have to be placed."""
        self.store = ImageStore()
        self.types: dict[tuple[str, str], ApplicationType] = {}
        self.applications: dict[str, Application] = {}
        self._placement = placement
        self._changed = changed

    def provision(self, path: str) -> None:
        """Registers the application type of a package in the image store. Raises `FabricError`."""
        found = packages.read(self.store.folder(path))
        if (found.name, found.version) in self.types:
            raise FabricError(
                "FABRIC_E_APPLICATION_TYPE_ALREADY_EXISTS", f"{found.name} {found.version} is provisioned already"
            )
        self.types[found.name, found.version] = found

    def unprovision(self, name: str, version: str) -> None:
        """Takes a type back. Raises `FabricError` while an application is of it."""
        wanted = self.type(name, version)
        if using := [found.name for found in self.applications.values() if wanted in _used(found)]:
            raise FabricError("FABRIC_E_APPLICATION_TYPE_IN_USE", f"{name} {version} is used by {', '.join(using)}")
        del self.types[name, version]

    def type(self, name: str, version: str) -> ApplicationType:
        """Raises `FabricError` when the type is not provisioned."""
        found = self.types.get((name, version))
        if found is None:
            raise FabricError("FABRIC_E_APPLICATION_TYPE_NOT_FOUND", f"{name} {version} is not provisioned")
        return found

    def create(self, name: str, type_name: str, version: str, parameters: Mapping[str, str]) -> None:
        """Creates an application with its default services. Raises `FabricError`, and then creates nothing."""
        _require_name(name)
        found = self.type(type_name, version)
        if name in self.applications:
            raise FabricError("FABRIC_E_APPLICATION_ALREADY_EXISTS", f"there is an application {name} already")
        if unknown := sorted(set(parameters) - set(found.parameters)):
            raise FabricError("E_INVALIDARG", f"{type_name} {version} has no parameter {', '.join(unknown)}")
        application = Application(name, found, dict(found.parameters) | dict(parameters))
        services = list(_default_services(application))
        self.applications[name] = application
        for service in services:
            self._add(application, service)

    def complete(self, application: Application) -> None:
        """Creates the default services that are not there."""
        for service in list(_default_services(application)):
            self._add(application, service)

    def create_service(self, application_id: str, description: Mapping[str, Any]) -> None:
        """Creates a service of an application from its description in the REST API. Raises `FabricError`."""
        application = self.require(application_id)
        name, stateful = description.get("ServiceName", ""), description.get("ServiceKind") == "Stateful"
        _require_name(name)
        if not name.startswith(application.name + "/"):
            raise FabricError("E_INVALIDARG", f"{name} is not a name below {application.name}")
        if (description.get("PartitionDescription") or {}).get("PartitionScheme") != "Singleton":
            raise FabricError("E_NOTIMPL", f"{name}: the sandbox knows services of one partition only")
        kind = application.type.service_types.get(description.get("ServiceTypeName", ""))
        if kind is None or kind.stateful is not stateful:
            raise FabricError("FABRIC_E_SERVICE_TYPE_NOT_FOUND", f"{name}: no {description.get('ServiceTypeName')}")
        target = description.get("TargetReplicaSetSize" if stateful else "InstanceCount", 1)
        service = _service(application, name, kind, target, description.get("MinReplicaSetSize", 1))
        if name in application.services:
            raise FabricError("FABRIC_E_SERVICE_ALREADY_EXISTS", f"there is a service {name} already")
        self._add(application, service)

    def delete(self, application_id: str) -> None:
        """Deletes an application with its services. Raises `FabricError` when there is none."""
        application = self.require(application_id)
        for service in application.services.values():
            del self._placement.partitions[service.name]
        del self.applications[application.name]

    def delete_service(self, service_id: str) -> None:
        """Deletes a service. Raises `FabricError` when there is none."""
        service = self.service(service_id)
        del self.applications[service.application].services[service.name]
        del self._placement.partitions[service.name]

    def find(self, application_id: str) -> Application | None:
        """The application of an id, when there is one."""
        return next((found for found in self.applications.values() if found.id == application_id), None)

    def require(self, application_id: str) -> Application:
        """Raises `FabricError` when there is no such application."""
        found = self.find(application_id)
        if found is None:
            raise FabricError("FABRIC_E_APPLICATION_NOT_FOUND", f"there is no application {application_id}")
        return found

    def services(self) -> Iterable[Service]:
        """The services of all applications."""
        return [service for found in self.applications.values() for service in found.services.values()]

    def service(self, service_id: str) -> Service:
        """Raises `FabricError` when there is no such service."""
        found = next((service for service in self.services() if service.id == service_id), None)
        if found is None:
            raise FabricError("FABRIC_E_SERVICE_DOES_NOT_EXIST", f"there is no service {service_id}")
        return found

    def partition(self, partition_id: str) -> Service:
        """The service of a partition. Raises `FabricError` when there is no such partition."""
        found = next((service for service in self.services() if service.partition.id == partition_id), None)
        if found is None:
            raise FabricError("FABRIC_E_PARTITION_NOT_FOUND", f"there is no partition {partition_id}")
        return found

    def _add(self, application: Application, service: Service) -> None:
        application.services[service.name] = service
        self._placement.partitions[service.name] = service.partition
        self._changed()


def _used(application: Application) -> list[ApplicationType]:
    upgrade = application.upgrade
    return [application.type, *([upgrade.target] if upgrade is not None and upgrade.running else [])]


def _default_services(application: Application) -> Iterator[Service]:
    for item in application.type.default_services:
        name = f"{application.name}/{item.name}"
        if name not in application.services:
            yield _service(
                application,
                name,
                application.type.service_types[item.type],
                packages.value(item.target, application.parameters),
                packages.value(item.minimum, application.parameters),
            )


def _service(application: Application, name: str, kind: ServiceType, target: int, minimum: int) -> Service:
    if kind.stateful and not 1 <= minimum <= target:
        raise FabricError("E_INVALIDARG", f"{name}: the least of {minimum} replicas has to be from 1 to {target}")
    if not kind.stateful and (target < -1 or target == 0):
        raise FabricError("E_INVALIDARG", f"{name}: {target} is no number of instances")
    partition = Partition(name, kind.stateful, target, minimum, kind.persisted, _node_types(name, kind.constraints))
    return Service(name, application.name, kind, partition)


def _node_types(name: str, constraints: str) -> frozenset[str]:
    if not constraints:
        return frozenset()
    found = [_CONSTRAINT.fullmatch(part.strip()) for part in constraints.split("||")]
    if any(match is None for match in found):
        raise FabricError("E_NOTIMPL", f"{name}: the sandbox knows constraints NodeType == X, not {constraints}")
    return frozenset(match[1] for match in found if match)


def _require_name(name: str) -> None:
    if not name.startswith(_SCHEME) or not name.removeprefix(_SCHEME).strip("/"):
        raise FabricError("FABRIC_E_INVALID_NAME_URI", f"{name!r} is not a name of the form {_SCHEME}name")
