"""The REST API's requests that concern the image store, application types, applications and services."""

from http import HTTPStatus
from typing import Final

from envs.sandbox.fabric import application_answers as answers
from envs.sandbox.fabric.application_upgrade import Order
from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.rest import Answer, Request, Table

TABLE: Final = Table()


@TABLE.route("GET", "/ImageStore")
def _image_store_root(request: Request) -> Answer:
    return Answer(request.cluster.applications.store.content())


@TABLE.route("GET", "/ImageStore/{*}")
def _image_store(request: Request, path: str) -> Answer:
    return Answer(request.cluster.applications.store.content(path))


@TABLE.route("PUT", "/ImageStore/{*}")
def _upload(request: Request, path: str) -> Answer:
    if "/$/" in f"/{path}/":
        raise FabricError("E_NOTIMPL", "the sandbox's image store takes whole files, not upload sessions")
    request.cluster.applications.store.put(path, request.body, request.cluster.now)
    return Answer()


@TABLE.route("DELETE", "/ImageStore/{*}")
def _delete_from_image_store(request: Request, path: str) -> Answer:
    request.cluster.applications.store.delete(path)
    return Answer()


@TABLE.route("GET", "/ApplicationTypes")
def _application_types(request: Request) -> Answer:
    types = [found for _, found in sorted(request.cluster.applications.types.items())]
    page, token = request.page(types, lambda found: f"{found.name}+{found.version}")
    return Answer({"ContinuationToken": token, "Items": [answers.application_type(found) for found in page]})


@TABLE.route("GET", "/ApplicationTypes/{name}")
def _application_type(request: Request, name: str) -> Answer:
    found = [found for key, found in sorted(request.cluster.applications.types.items()) if key[0] == name]
    return Answer({"ContinuationToken": "", "Items": [answers.application_type(item) for item in found]})


@TABLE.route("POST", "/ApplicationTypes/$/Provision")
def _provision(request: Request) -> Answer:
    body = request.json()
    if body.get("Kind") != "ImageStorePath":
        raise FabricError("E_NOTIMPL", f"the sandbox provisions from its image store, not from {body.get('Kind')}")
    request.cluster.applications.provision(body.get("ApplicationTypeBuildPath", ""))
    return Answer(status=HTTPStatus.ACCEPTED if body.get("Async") else HTTPStatus.OK)


@TABLE.route("POST", "/ApplicationTypes/{name}/$/Unprovision")
def _unprovision(request: Request, name: str) -> Answer:
    body = request.json()
    request.cluster.applications.unprovision(name, body.get("ApplicationTypeVersion", ""))
    return Answer(status=HTTPStatus.ACCEPTED if body.get("Async") else HTTPStatus.OK)


@TABLE.route("GET", "/ApplicationTypes/{name}/$/GetServiceTypes")
def _service_types(request: Request, name: str) -> Answer:
    found = request.cluster.applications.type(name, request.required("ApplicationTypeVersion"))
    return Answer([answers.service_type(item) for item in found.service_types.values()])


@TABLE.route("GET", "/ApplicationTypes/{name}/$/GetApplicationManifest")
def _application_manifest(request: Request, name: str) -> Answer:
    found = request.cluster.applications.type(name, request.required("ApplicationTypeVersion"))
    return Answer({"Manifest": found.manifest})


@TABLE.route("GET", "/ApplicationTypes/{name}/$/GetServiceManifest")
def _service_manifest(request: Request, name: str) -> Answer:
    found = request.cluster.applications.type(name, request.required("ApplicationTypeVersion"))
    wanted = request.required("ServiceManifestName")
    if wanted not in found.service_manifests:
        raise FabricError("FABRIC_E_SERVICE_MANIFEST_NOT_FOUND", f"{name} has no service manifest {wanted}")
    return Answer({"Manifest": found.service_manifests[wanted]})


@TABLE.route("GET", "/Applications")
def _applications(request: Request) -> Answer:
    found = sorted(request.cluster.applications.applications.values(), key=lambda item: item.id)
    page, token = request.page(found, lambda item: item.id)
    return Answer(
        {"ContinuationToken": token, "Items": [answers.application(request.cluster, item) for item in page]}
    )


@TABLE.route("POST", "/Applications/$/Create")
def _create_application(request: Request) -> Answer:
    body = request.json()
    request.cluster.applications.create(
        body.get("Name", ""),
        body.get("TypeName", ""),
        body.get("TypeVersion", ""),
        {item["Key"]: item["Value"] for item in body.get("ParameterList") or ()},
    )
    return Answer(status=HTTPStatus.CREATED)


@TABLE.route("GET", "/Applications/{application}")
def _application(request: Request, application: str) -> Answer:
    found = request.cluster.applications.find(application)
    if found is None:
        return Answer(status=HTTPStatus.NO_CONTENT)
    return Answer(answers.application(request.cluster, found))


@TABLE.route("GET", "/Applications/{application}/$/GetHealth")
def _application_health(request: Request, application: str) -> Answer:
    return Answer(answers.application_health(request.cluster, request.cluster.applications.require(application)))


@TABLE.route("POST", "/Applications/{application}/$/Upgrade")
def _upgrade_application(request: Request, application: str) -> Answer:
    body = request.json()
    if body.get("UpgradeKind") != "Rolling":
        raise FabricError("E_NOTIMPL", f"the sandbox's upgrades are Rolling, not {body.get('UpgradeKind')}")
    order = Order(
        body.get("TargetApplicationTypeVersion", ""),
        {item["Key"]: item["Value"] for item in body.get("Parameters") or ()},
        body.get("RollingUpgradeMode") or "UnmonitoredAuto",
    )
    request.cluster.upgrade_application(application, order)
    return Answer()


@TABLE.route("GET", "/Applications/{application}/$/GetUpgradeProgress")
def _application_upgrade_progress(request: Request, application: str) -> Answer:
    return Answer(answers.application_upgrade(request.cluster, request.cluster.applications.require(application)))


@TABLE.route("POST", "/Applications/{application}/$/Delete")
def _delete_application(request: Request, application: str) -> Answer:
    request.cluster.applications.delete(application)
    return Answer()


@TABLE.route("GET", "/Applications/{application}/$/GetServices")
def _services(request: Request, application: str) -> Answer:
    found = sorted(request.cluster.applications.require(application).services.values(), key=lambda item: item.id)
    page, token = request.page(found, lambda item: item.id)
    return Answer({"ContinuationToken": token, "Items": [answers.service(request.cluster, item) for item in page]})


@TABLE.route("GET", "/Applications/{application}/$/GetServices/{service}")
def _service(request: Request, application: str, service: str) -> Answer:
    services = request.cluster.applications.require(application).services.values()
    found = next((item for item in services if item.id == service), None)
    return Answer(status=HTTPStatus.NO_CONTENT) if found is None else Answer(answers.service(request.cluster, found))


@TABLE.route("POST", "/Applications/{application}/$/GetServices/$/Create")
def _create_service(request: Request, application: str) -> Answer:
    request.cluster.applications.create_service(application, request.json())
    return Answer(status=HTTPStatus.ACCEPTED)


@TABLE.route("POST", "/Services/{service}/$/Delete")
def _delete_service(request: Request, service: str) -> Answer:
    request.cluster.applications.delete_service(service)
    return Answer()


@TABLE.route("GET", "/Services/{service}/$/GetPartitions")
def _partitions(request: Request, service: str) -> Answer:
    found = request.cluster.applications.service(service)
    return Answer({"ContinuationToken": "", "Items": [answers.partition(request.cluster, found)]})


@TABLE.route("GET", "/Partitions/{partition}/$/GetReplicas")
def _replicas(request: Request, partition: str) -> Answer:
    found = request.cluster.applications.partition(partition)
    return Answer({"ContinuationToken": "", "Items": answers.replicas(found)})
