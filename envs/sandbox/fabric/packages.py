"""Application packages, judged as the image builder judges them when a type is provisioned.

After the published schema ServiceFabricServiceModel.xsd (which elements, in which order, with which attributes) for
what a package of guest executables and reliable services uses; any other element is refused by name. And after the
image builder: names and versions agree, and what an entry point starts is in the package.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from envs.sandbox.fabric.errors import FabricError

_NAMESPACE: Final = "{http://schemas.microsoft.com/2011/01/fabric}"
_CODE: Final = "FABRIC_E_IMAGEBUILDER_VALIDATION_ERROR"
_PARAMETER: Final = re.compile(r"\[([A-Za-z_][\w.-]*)\]")

# Which elements an element may hold, in their order; + is for at least one, * for any number, ? for at most one.
_CHILDREN: Final[Mapping[str, str]] = {
    "ApplicationManifest": "Description? Parameters? ServiceManifestImport+ ServiceTemplates? DefaultServices?",
    "Parameters": "Parameter*",
    "ServiceManifestImport": "ServiceManifestRef ConfigOverrides? EnvironmentOverrides* Policies?",
    "EnvironmentOverrides": "EnvironmentVariable*",
    "ConfigOverrides": "ConfigOverride*",
    "ConfigOverride": "Settings?",
    "Settings": "Section*",
    "Section": "Parameter*",
    "DefaultServices": "Service*",
    "StatelessService": "SingletonPartition",
    "StatefulService": "SingletonPartition",
    "ServiceManifest": "Description? ServiceTypes? CodePackage+ ConfigPackage* DataPackage* Resources?",
    "CodePackage": "SetupEntryPoint? EntryPoint? EnvironmentVariables?",
    "SetupEntryPoint": "ExeHost",
    "EntryPoint": "ExeHost",
    "ExeHost": "Program Arguments? WorkingFolder? ConsoleRedirection? RunFrequency?",
    "EnvironmentVariables": "EnvironmentVariable+",
    "StatelessServiceType": "PlacementConstraints?",
    "StatefulServiceType": "PlacementConstraints?",
    "Resources": "Endpoints?",
    "Endpoints": "Endpoint*",
}
_CHOICES: Final[Mapping[str, frozenset[str]]] = {
    "ServiceTypes": frozenset({"StatelessServiceType", "StatefulServiceType"}),
    "Service": frozenset({"StatelessService", "StatefulService"}),
}
_ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "ApplicationManifest": ("ApplicationTypeName", "ApplicationTypeVersion"),
    "ServiceManifest": ("Name", "Version"),
    "ServiceManifestRef": ("ServiceManifestName", "ServiceManifestVersion"),
    "CodePackage": ("Name", "Version"),
    "ConfigPackage": ("Name", "Version"),
    "DataPackage": ("Name", "Version"),
    "StatelessServiceType": ("ServiceTypeName",),
    "StatefulServiceType": ("ServiceTypeName",),
    "Service": ("Name",),
    "StatelessService": ("ServiceTypeName",),
    "StatefulService": ("ServiceTypeName",),
    "Endpoint": ("Name",),
    "EnvironmentVariable": ("Name",),
    "Parameter": ("Name",),
}
_FOLDERS: Final = ("Work", "CodePackage", "CodeBase")


@dataclass(frozen=True)
class ServiceType:
    """One service type of a service manifest."""

    name: str
    stateful: bool
    persisted: bool
    constraints: str
    manifest: str
    manifest_version: str


@dataclass(frozen=True)
class DefaultService:
    """A service that is created with the application; its numbers may be parameters of the application."""

    name: str
    type: str
    stateful: bool
    target: str
    minimum: str


@dataclass(frozen=True)
class ApplicationType:
    """What a package holds once it was found to be right."""

    name: str
    version: str
    parameters: Mapping[str, str]
    service_types: Mapping[str, ServiceType]
    default_services: tuple[DefaultService, ...]
    manifest: str
    service_manifests: Mapping[str, str]


def read(files: Mapping[str, bytes]) -> ApplicationType:
    """Reads a package by its files. Raises `FabricError` with what is wrong first."""
    manifest = _parse(files, "ApplicationManifest.xml", "ApplicationManifest")
    types: dict[str, ServiceType] = {}
    texts: dict[str, str] = {}
    for reference in manifest.iter(_NAMESPACE + "ServiceManifestRef"):
        folder, version = reference.get("ServiceManifestName", ""), reference.get("ServiceManifestVersion", "")
        path = f"{folder}/ServiceManifest.xml"
        service_manifest = _parse(files, path, "ServiceManifest")
        _agree(path, "Name", service_manifest, folder)
        _agree(path, "Version", service_manifest, version)
        _packages(files, folder, service_manifest)
        for found in _service_types(service_manifest):
            if found.name in types:
                raise FabricError(_CODE, f"the service type {found.name} is in more than one service manifest")
            types[found.name] = found
        texts[folder] = files[path].decode("utf-8-sig")
    parameters = {
        item.get("Name", ""): item.get("DefaultValue", "")
        for item in manifest.findall(f"{_NAMESPACE}Parameters/{_NAMESPACE}Parameter")
    }
    return ApplicationType(
        manifest.get("ApplicationTypeName", ""),
        manifest.get("ApplicationTypeVersion", ""),
        parameters,
        types,
        tuple(_default_services(manifest, types, parameters)),
        files["ApplicationManifest.xml"].decode("utf-8-sig"),
        texts,
    )


def value(text: str, parameters: Mapping[str, str]) -> int:
    """A number that may be the name of a parameter in brackets. Raises `FabricError` when it is neither."""
    match = _PARAMETER.fullmatch(text)
    found = parameters.get(match[1], "") if match else text
    try:
        return int(found)
    except ValueError:
        raise FabricError(_CODE, f"{text} is not a number, nor a parameter that holds one") from None


def _parse(files: Mapping[str, bytes], path: str, root: str) -> ElementTree.Element:
    content = files.get(path)
    if content is None:
        raise FabricError(_CODE, f"the package has no {path}")
    if b"<!DOCTYPE" in content:
        raise FabricError(_CODE, f"{path} has a document type, which a manifest may not have")
    try:
        found = ElementTree.fromstring(content)  # noqa: S314 (without a document type there are no entities)
    except ElementTree.ParseError as error:
        raise FabricError(_CODE, f"{path} is not XML: {error}") from None
    if found.tag != _NAMESPACE + root:
        raise FabricError(_CODE, f"{path} begins with {found.tag}, not with {root} of {_NAMESPACE[1:-1]}")
    _check(path, found)
    return found


def _check(path: str, element: ElementTree.Element) -> None:
    name = element.tag.removeprefix(_NAMESPACE)
    for attribute in _ATTRIBUTES.get(name, ()):
        if not element.get(attribute):
            raise FabricError(_CODE, f"{path}: {name} lacks {attribute}")
    children = [child.tag.removeprefix(_NAMESPACE) for child in element]
    if (choices := _CHOICES.get(name)) is not None:
        if unknown := [child for child in children if child not in choices]:
            raise FabricError(_CODE, f"{path}: {name} may not hold {unknown[0]}")
    else:
        pattern = "".join(
            f"(?:{part.rstrip('?*+')} ){part[-1] if part[-1] in '?*+' else ''}" for part in _parts(name)
        )
        if not re.fullmatch(pattern, "".join(child + " " for child in children)):
            wanted = _CHILDREN.get(name) or "nothing"
            raise FabricError(_CODE, f"{path}: {name} holds {', '.join(children) or 'nothing'}; it may hold {wanted}")
    for child in element:
        _check(path, child)


def _parts(name: str) -> list[str]:
    return _CHILDREN.get(name, "").split()


def _agree(path: str, attribute: str, manifest: ElementTree.Element, wanted: str) -> None:
    if manifest.get(attribute) != wanted:
        raise FabricError(
            _CODE,
            f"{path}: {attribute} is {manifest.get(attribute)}, and the application manifest refers to {wanted}",
        )


def _packages(files: Mapping[str, bytes], folder: str, manifest: ElementTree.Element) -> None:
    for kind in ("CodePackage", "ConfigPackage", "DataPackage"):
        for package in manifest.findall(_NAMESPACE + kind):
            inside = f"{folder}/{package.get('Name')}/"
            if not any(name.startswith(inside) for name in files):
                raise FabricError(_CODE, f"{folder}: the package has no folder {inside}, which {kind} names")
    for package in manifest.findall(_NAMESPACE + "CodePackage"):
        for host in package.iter(_NAMESPACE + "ExeHost"):
            program = (host.findtext(_NAMESPACE + "Program") or "").strip().replace("\\", "/")
            path = f"{folder}/{package.get('Name')}/{program}"
            if path.lower() not in {name.lower() for name in files}:
                raise FabricError(_CODE, f"{folder}: the program {path} is not in the package")
            working = host.findtext(_NAMESPACE + "WorkingFolder")
            if working is not None and working not in _FOLDERS:
                raise FabricError(_CODE, f"{folder}: WorkingFolder is {working}, not one of {', '.join(_FOLDERS)}")


def _service_types(manifest: ElementTree.Element) -> Iterator[ServiceType]:
    for item in manifest.findall(f"{_NAMESPACE}ServiceTypes/*"):
        stateful = item.tag == _NAMESPACE + "StatefulServiceType"
        yield ServiceType(
            item.get("ServiceTypeName", ""),
            stateful,
            item.get("HasPersistedState") == "true",
            (item.findtext(_NAMESPACE + "PlacementConstraints") or "").strip(),
            manifest.get("Name", ""),
            manifest.get("Version", ""),
        )


def _default_services(
    manifest: ElementTree.Element, types: Mapping[str, ServiceType], parameters: Mapping[str, str]
) -> Iterator[DefaultService]:
    for service in manifest.findall(f"{_NAMESPACE}DefaultServices/{_NAMESPACE}Service"):
        for item in service:
            stateful = item.tag == _NAMESPACE + "StatefulService"
            found = types.get(item.get("ServiceTypeName", ""))
            if found is None or found.stateful is not stateful:
                kind = "stateful" if stateful else "stateless"
                raise FabricError(
                    _CODE, f"{service.get('Name')}: there is no {kind} service type {item.get('ServiceTypeName')}"
                )
            target, minimum = ("TargetReplicaSetSize", "MinReplicaSetSize") if stateful else ("InstanceCount", "")
            yield DefaultService(
                service.get("Name", ""), found.name, stateful, item.get(target, "1"), item.get(minimum, "1")
            )
            for text in (item.get(target, "1"), item.get(minimum, "1")):
                if (match := _PARAMETER.fullmatch(text)) and match[1] not in parameters:
                    raise FabricError(_CODE, f"{service.get('Name')}: there is no parameter {match[1]}")
