"""The REST API's requests that concern the cluster and its nodes."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from envs.sandbox.fabric import answers, manifest
from envs.sandbox.fabric.errors import FabricError
from envs.sandbox.fabric.model import Cluster
from envs.sandbox.fabric.nodes import Node, Status
from envs.sandbox.fabric.rest import Answer, Request, Table

TABLE: Final = Table()


@TABLE.route("GET", "/")
def _explorer(_request: Request) -> Answer:
    return Answer("Service Fabric (a model of it: the sandbox's)")


@TABLE.route("GET", "/$/GetClusterHealth")
def _cluster_health(request: Request) -> Answer:
    return Answer(answers.cluster_health(request.cluster))


@TABLE.route("GET", "/$/GetClusterManifest")
def _cluster_manifest(request: Request) -> Answer:
    cluster = request.cluster
    return Answer({"Manifest": manifest.render(cluster.configuration, cluster.seeds, cluster.manifest_version)})


@TABLE.route("GET", "/$/GetClusterVersion")
def _cluster_version(request: Request) -> Answer:
    return Answer({"Version": request.cluster.code_version})


@TABLE.route("GET", "/$/GetUpgradeProgress")
def _upgrade_progress(request: Request) -> Answer:
    return Answer(answers.upgrade_progress(request.cluster))


@TABLE.route("GET", "/$/GetClusterConfiguration")
def _cluster_configuration(request: Request) -> Answer:
    request.required("ConfigurationApiVersion")
    return Answer({"ClusterConfiguration": json.dumps(request.cluster.current_configuration(), indent=2)})


@TABLE.route("GET", "/$/GetClusterConfigurationUpgradeStatus")
def _configuration_upgrade_status(request: Request) -> Answer:
    return Answer(answers.configuration_upgrade(request.cluster))


@TABLE.route("POST", "/$/StartClusterConfigurationUpgrade")
def _start_configuration_upgrade(request: Request) -> Answer:
    body = request.json()
    try:
        document = json.loads(body.get("ClusterConfig") or "")
    except ValueError:
        raise FabricError("E_INVALIDARG", "ClusterConfig is not a JSON document") from None
    if not isinstance(document, Mapping):
        raise FabricError("E_INVALIDARG", "ClusterConfig is not a JSON object")
    request.cluster.start_configuration_upgrade(document, int(body.get("MaxPercentUnhealthyNodes") or 0))
    return Answer(status=HTTPStatus.ACCEPTED)


@TABLE.route("GET", "/Nodes")
def _nodes(request: Request) -> Answer:
    wanted = request.query.get("NodeStatusFilter", "default").lower()
    states = {state.lower(): {state} for state in Status}
    states["all"] = set(Status)
    states["default"] = set(Status) - {Status.UNKNOWN, Status.REMOVED}
    if wanted not in states:
        raise FabricError("E_INVALIDARG", f"NodeStatusFilter is {wanted}, which is no status")
    found = [node for node in request.cluster.all_nodes() if node.status in states[wanted]]
    page, token = request.page(found, lambda node: node.id)
    return Answer({"ContinuationToken": token, "Items": [answers.node(request.cluster, node) for node in page]})


@TABLE.route("GET", "/Nodes/{name}")
def _node(request: Request, name: str) -> Answer:
    node = request.cluster.node(name)
    # An unknown name is no error: there is nothing to show.
    return Answer(status=HTTPStatus.NO_CONTENT) if node is None else Answer(answers.node(request.cluster, node))


@TABLE.route("GET", "/Nodes/{name}/$/GetHealth")
def _node_health(request: Request, name: str) -> Answer:
    return Answer(answers.node_health(request.cluster, _existing(request.cluster, name)))


@TABLE.route("POST", "/Nodes/{name}/$/Deactivate")
def _deactivate(request: Request, name: str) -> Answer:
    request.cluster.deactivate(name, request.json().get("DeactivationIntent", ""))
    return Answer()


@TABLE.route("POST", "/Nodes/{name}/$/Activate")
def _activate(request: Request, name: str) -> Answer:
    request.cluster.activate(name)
    return Answer()


@TABLE.route("POST", "/Nodes/{name}/$/RemoveNodeState")
def _remove_state(request: Request, name: str) -> Answer:
    request.cluster.remove_state(name)
    return Answer()


def _existing(cluster: Cluster, name: str) -> Node:
    node = cluster.node(name)
    if node is None:
        raise FabricError("FABRIC_E_HEALTH_ENTITY_NOT_FOUND", f"there is no node {name}")
    return node
