"""Packages, types, applications and services: what the image builder and the cluster refuse."""

import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from envs.sandbox.fabric import packages
from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.image_store import ImageStore
from envs.sandbox.fabric.model import Cluster
from tests.envs.sandbox.fabric.clusters import PACE, Clock, formed, join
from tests.envs.sandbox.fabric.package import files

APPLICATION = "ApplicationManifest.xml"
SERVICE = "ServicePkg/ServiceManifest.xml"
Package = dict[str, bytes]


def edit(path: str, old: str, new: str) -> Callable[[Package], None]:
    def change(package: Package) -> None:
        text = package[path].decode()
        assert old in text
        package[path] = text.replace(old, new).encode()

    return change


def without(path: str) -> Callable[[Package], None]:
    def change(package: Package) -> None:
        for name in [name for name in package if name.startswith(path)]:
            del package[name]

    return change


def test_a_package_of_a_guest_executable_is_read() -> None:
    found = packages.read(files())
    assert (found.name, found.version, dict(found.parameters)) == ("ConsumerType", "1.0.0", {"Instances": "-1"})
    assert found.service_types["GuestType"].constraints == "(NodeType == Worker)"
    assert [service.name for service in found.default_services] == ["Service"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without("ApplicationManifest.xml"), "has no ApplicationManifest.xml"),
        (without(SERVICE), "has no ServicePkg/ServiceManifest.xml"),
        (without("ServicePkg/Code"), "no folder ServicePkg/Code/"),
        (without("ServicePkg/Config"), "no folder ServicePkg/Config/"),
        (without("ServicePkg/Code/python"), "program ServicePkg/Code/python/python.exe is not in the package"),
        (edit(SERVICE, 'Name="ServicePkg"', 'Name="Other"'), "Name is Other"),
        (edit(SERVICE, '"ServicePkg" Version="1.0.0"', '"ServicePkg" Version="1.0.1"'), "Version is 1.0.1"),
        (edit(SERVICE, "</ServiceManifest>", ""), "is not XML"),
        (edit(SERVICE, "<ServiceManifest ", "<!DOCTYPE a><ServiceManifest "), "document type"),
        (edit(SERVICE, "2011/01/fabric", "2012/01/fabric"), "not with ServiceManifest"),
        (edit(SERVICE, "<WorkingFolder>CodePackage", "<WorkingFolder>Temp"), "WorkingFolder is Temp"),
        (edit(SERVICE, "ExeHost>", "ContainerHost>"), "EntryPoint holds ContainerHost"),
        (edit(SERVICE, "<Arguments>-m consumer</Arguments>", "<Args/>"), "ExeHost holds Program, Args"),
        (edit(SERVICE, '<CodePackage Name="Code" Version="1.0.0">', '<CodePackage Name="Code">'), "lacks Version"),
        (edit(APPLICATION, 'ApplicationTypeVersion="1.0.0"', ""), "lacks ApplicationTypeVersion"),
        (edit(APPLICATION, "[Instances]", "[Count]"), "no parameter Count"),
        (
            edit(APPLICATION, 'ServiceTypeName="GuestType"', 'ServiceTypeName="Other"'),
            "service type Other",
        ),
        (
            edit(APPLICATION, "SingletonPartition", "NamedPartition"),
            "StatelessService holds NamedPartition",
        ),
    ],
)
def test_a_package_that_breaks_a_rule_is_refused(change: Callable[[Package], None], told: str) -> None:
    package = files()
    change(package)
    with pytest.raises(FabricError, match=told) as caught:
        packages.read(package)
    assert caught.value.code == "FABRIC_E_IMAGEBUILDER_VALIDATION_ERROR"


def test_the_image_store_shows_one_level_and_deletes_below_it() -> None:
    store = ImageStore()
    for name in ("App/a", "App/b/c", "App/b/_.dir", "Other/a"):
        store.put(name, b"x", 0)
    assert [item["StoreRelativePath"] for item in store.content()["StoreFolders"]] == ["App", "Other"]
    content = store.content("App")
    assert [item["StoreRelativePath"] for item in content["StoreFiles"]] == ["App/a"]
    assert content["StoreFolders"] == [{"StoreRelativePath": "App/b", "FileCount": "2"}]
    store.put("App/ServiceManifest.xml", b"<x/>", 0)
    assert store.folder("App") == {"a": b"", "b/c": b"", "ServiceManifest.xml": b"<x/>"}
    store.delete("App")
    for refused in (lambda: store.content("App"), lambda: store.delete("App"), lambda: store.folder("App")):
        with pytest.raises(FabricError, match="FABRIC_E_FILE_NOT_FOUND"):
            refused()
    with pytest.raises(FabricError, match="E_INVALIDARG"):
        store.put("App/../../etc", b"", 0)


def test_a_compressed_package_is_read_as_what_it_was_made_from() -> None:
    store, inside = ImageStore(), "ServicePkg/Code/"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        for name, content in files().items():
            if name.startswith(inside):
                code.writestr(name.removeprefix(inside), content)
            else:
                store.put(f"App/{name}", content, 0)
    store.put("App/ServicePkg/Code.zip", b"damaged", 0)
    with pytest.raises(FabricError, match="no folder ServicePkg/Code/"):
        packages.read(store.folder("App"))
    store.put("App/ServicePkg/Code.zip", archive.getvalue(), 0)
    assert packages.read(store.folder("App")).name == "ConsumerType"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cluster(clock: Clock) -> Cluster:
    found = formed(clock)
    join(found, clock, 0, 1, 2)
    for name, content in files().items():
        found.applications.store.put(f"App/{name}", content, found.now)
    found.tick()
    found.applications.provision("App")
    return found


def test_an_instance_runs_on_every_node_that_the_constraint_names(cluster: Cluster, clock: Clock) -> None:
    cluster.applications.create("fabric:/App", "ConsumerType", "1.0.0", {})
    clock.passes(PACE.replica)
    cluster.tick()
    partition = cluster.applications.service("App~Service").partition
    assert sorted(partition.replicas) == ["worker-0", "worker-1", "worker-2"]


def test_what_is_there_already_or_not_there_is_refused(cluster: Cluster) -> None:
    applications = cluster.applications
    create = applications.create
    create("fabric:/App", "ConsumerType", "1.0.0", {"Instances": "1"})
    for refused, code in (
        (lambda: applications.provision("App"), "FABRIC_E_APPLICATION_TYPE_ALREADY_EXISTS"),
        (lambda: applications.provision("Nothing"), "FABRIC_E_FILE_NOT_FOUND"),
        (
            lambda: applications.create("fabric:/App", "ConsumerType", "1.0.0", {}),
            "FABRIC_E_APPLICATION_ALREADY_EXISTS",
        ),
        (
            lambda: applications.create("fabric:/B", "ConsumerType", "2.0.0", {}),
            "FABRIC_E_APPLICATION_TYPE_NOT_FOUND",
        ),
        (lambda: create("App", "ConsumerType", "1.0.0", {}), "FABRIC_E_INVALID_NAME_URI"),
        (lambda: create("fabric:/B", "ConsumerType", "1.0.0", {"Count": "1"}), "E_INVALIDARG"),
        (lambda: create("fabric:/B", "ConsumerType", "1.0.0", {"Instances": "0"}), "E_INVALIDARG"),
        (lambda: applications.unprovision("ConsumerType", "1.0.0"), "FABRIC_E_APPLICATION_TYPE_IN_USE"),
        (lambda: applications.delete("B"), "FABRIC_E_APPLICATION_NOT_FOUND"),
        (lambda: applications.delete_service("App~Nothing"), "FABRIC_E_SERVICE_DOES_NOT_EXIST"),
    ):
        with pytest.raises(FabricError) as caught:
            refused()
        assert caught.value.code == code
    assert [*applications.applications] == ["fabric:/App"]


def description(**changed: Any) -> dict[str, Any]:
    return {
        "ServiceKind": "Stateless",
        "ServiceName": "fabric:/App/Second",
        "ServiceTypeName": "GuestType",
        "PartitionDescription": {"PartitionScheme": "Singleton"},
        "InstanceCount": 2,
    } | changed


def test_a_service_is_created_and_deleted_by_itself(cluster: Cluster, clock: Clock) -> None:
    applications = cluster.applications
    applications.create("fabric:/App", "ConsumerType", "1.0.0", {})
    applications.create_service("App", description())
    clock.passes(PACE.replica)
    cluster.tick()
    assert len(applications.service("App~Second").partition.running) == 2
    for changed, code in (
        ({}, "FABRIC_E_SERVICE_ALREADY_EXISTS"),
        ({"ServiceName": "fabric:/Other/Second"}, "E_INVALIDARG"),
        ({"ServiceTypeName": "Other"}, "FABRIC_E_SERVICE_TYPE_NOT_FOUND"),
        ({"ServiceKind": "Stateful"}, "FABRIC_E_SERVICE_TYPE_NOT_FOUND"),
        ({"PartitionDescription": {"PartitionScheme": "Named"}}, "E_NOTIMPL"),
    ):
        with pytest.raises(FabricError) as caught:
            applications.create_service("App", description(**changed))
        assert caught.value.code == code
    applications.delete_service("App~Second")
    assert [service.name for service in applications.services()] == ["fabric:/App/Service"]
    applications.delete("App")
    assert cluster.placement.partitions == {}
    applications.unprovision("ConsumerType", "1.0.0")
