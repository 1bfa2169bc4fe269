"""What belongs to Kafka clusters: broker configurations, topics, cluster policies."""

import base64
import json
from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Args, AutoName, Resource
from envs.sandbox.provider.schema import document, integer, text, unordered
from envs.sandbox.provider.translate import answer, request

# Configuration --------------------------------------------------------------------------------------------------

_CONFIGURATION: Final = {
    "description": text(),
    "kafkaVersions": unordered(text()),
    "name": text(computed=True),
    "serverProperties": text(required=True),
}


def _create_configuration(aws: Aws, args: Args) -> str:
    return aws.client("kafka").create_configuration(**request(_CONFIGURATION, args))["Arn"]


def _read_configuration(aws: Aws, identifier: str, _: Args) -> Args | None:
    kafka = aws.client("kafka")
    # MSK tells a missing configuration as a bad request (`resourceConfigurationRead` in the official provider).
    found = find(lambda: kafka.describe_configuration(Arn=identifier), "BadRequestException", "NotFoundException")
    if found is None or found.get("State") == "DELETING":
        return None
    revision = found["LatestRevision"]["Revision"]
    latest = kafka.describe_configuration_revision(Arn=identifier, Revision=revision)
    return {
        **answer(_CONFIGURATION, found, ("name", "kafkaVersions")),
        "description": latest.get("Description"),
        "serverProperties": latest["ServerProperties"].decode(),
        "arn": identifier,
        "latestRevision": revision,
    }


def _update_configuration(aws: Aws, identifier: str, _: Args, new: Args, __: set[str]) -> None:
    wanted = request(_CONFIGURATION, new, ("description", "serverProperties"))
    aws.client("kafka").update_configuration(Arn=identifier, **wanted)


def _delete_configuration(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("NotFoundException"):
        aws.client("kafka").delete_configuration(Arn=identifier)


CONFIGURATION: Final = Resource(
    type_name="aws:msk/configuration:Configuration",
    inputs=_CONFIGURATION,
    outputs=("arn", "latestRevision"),
    replaces=dict.fromkeys(("kafkaVersions", "name"), "internal/service/kafka/configuration.go"),
    create=_create_configuration,
    read=_read_configuration,
    update=_update_configuration,
    delete=_delete_configuration,
    name=AutoName(),
    recomputed_by={"latestRevision": ("serverProperties",)},
)


# Topic ----------------------------------------------------------------------------------------------------------

_TOPIC: Final = {
    "clusterArn": text(required=True),
    "configs": document(),
    "name": text(computed=True, api="TopicName"),
    "partitionCount": integer(required=True),
    "replicationFactor": integer(required=True),
}
_TOPIC_MINUTES: Final = 30


def _encoded(configs: str | None) -> str:
    return base64.b64encode((configs or "{}").encode()).decode()


def _where(identifier: str, prior: Args) -> dict[str, str]:
    if prior.get("clusterArn"):
        return request(_TOPIC, prior, ("clusterArn", "name"))
    # An import's id, as `topicImportID` in the official provider has it.
    cluster, _, name = identifier.partition(",")
    if not name:
        raise ProviderError(f"a topic is imported as CLUSTERARN,NAME, not as {identifier!r}")
    return {"ClusterArn": cluster, "TopicName": name}


def _topic(aws: Aws, where: dict[str, str]) -> dict[str, Any] | None:
    return find(lambda: aws.client("kafka").describe_topic(**where), "NotFoundException")


def _create_topic(aws: Aws, args: Args) -> str:
    wanted = request(_TOPIC, args) | ({"Configs": _encoded(args["configs"])} if args.get("configs") else {})
    aws.client("kafka").create_topic(**wanted)
    return f"{args['clusterArn']},{args['name']}"


def _finish_topic(aws: Aws, identifier: str, args: Args) -> None:
    where = _where(identifier, args)
    aws.wait(f"topic {identifier} becomes ACTIVE", lambda: _active(_topic(aws, where)), _TOPIC_MINUTES)


def _active(topic: dict[str, Any] | None) -> bool:
    return topic is not None and topic.get("Status", "ACTIVE") == "ACTIVE"


def _read_topic(aws: Aws, identifier: str, prior: Args) -> Args | None:
    where = _where(identifier, prior)
    found = _topic(aws, where)
    if found is None:
        return None
    actual = base64.b64decode(found.get("Configs") or "").decode() or "{}"
    return {
        **answer(_TOPIC, found, ("partitionCount", "replicationFactor")),
        **answer(_TOPIC, where, ("clusterArn", "name")),
        "id": f"{where['ClusterArn']},{where['TopicName']}",
        "configs": _own_configs(actual, prior),
        "arn": found.get("TopicArn"),
        "configsActual": actual,
    }


def _own_configs(actual: str, prior: Args) -> str | None:
    """Of all the topic's settings those that the program gave (`flatten` in the official provider)."""
    if not prior.get("configs"):
        return None if prior else actual
    has, wanted = json.loads(actual), json.loads(prior["configs"])
    # The broker tells all settings as strings.
    found = {key: wanted[key] if str(has[key]) == str(wanted[key]) else has[key] for key in wanted if key in has}
    return json.dumps(found)


def _update_topic(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    where = _where(identifier, new)
    # One call takes either the settings or the number of partitions.
    changes = {"configs": {"Configs": _encoded(new.get("configs"))}}
    changes["partitionCount"] = {"PartitionCount": new["partitionCount"]}
    for name in sorted(changed & changes.keys()):
        aws.client("kafka").update_topic(**where, **changes[name])
        _finish_topic(aws, identifier, new)


def _delete_topic(aws: Aws, identifier: str, state: Args) -> None:
    with ignoring("NotFoundException"):
        aws.client("kafka").delete_topic(**_where(identifier, state))


TOPIC: Final = Resource(
    type_name="aws:msk/topic:Topic",
    inputs=_TOPIC,
    outputs=("arn", "configsActual"),
    replaces=dict.fromkeys(("clusterArn", "name", "replicationFactor"), "internal/service/kafka/topic.go"),
    create=_create_topic,
    finish=_finish_topic,
    read=_read_topic,
    update=_update_topic,
    delete=_delete_topic,
    name=AutoName(longest=249),
    identity=("clusterArn", "name"),
    recomputed=("configsActual",),
)


# Cluster policy -------------------------------------------------------------------------------------------------


def _put_policy(aws: Aws, args: Args) -> str:
    aws.client("kafka").put_cluster_policy(ClusterArn=args["clusterArn"], Policy=args["policy"])
    return args["clusterArn"]


def _read_policy(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = find(lambda: aws.client("kafka").get_cluster_policy(ClusterArn=identifier), "NotFoundException")
    return found and {
        "clusterArn": identifier,
        "policy": found["Policy"],
        "currentVersion": found.get("CurrentVersion"),
    }


def _update_policy(aws: Aws, _: str, old: Args, new: Args, __: set[str]) -> None:
    wanted = {"ClusterArn": new["clusterArn"], "Policy": new["policy"], "CurrentVersion": old["currentVersion"]}
    aws.client("kafka").put_cluster_policy(**wanted)


def _delete_policy(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("NotFoundException"):
        aws.client("kafka").delete_cluster_policy(ClusterArn=identifier)


CLUSTER_POLICY: Final = Resource(
    type_name="aws:msk/clusterPolicy:ClusterPolicy",
    inputs={"clusterArn": text(required=True), "policy": document(required=True)},
    outputs=("currentVersion",),
    replaces={},
    create=_put_policy,
    read=_read_policy,
    update=_update_policy,
    delete=_delete_policy,
    recomputed=("currentVersion",),
)

RESOURCES: Final = (CONFIGURATION, TOPIC, CLUSTER_POLICY)
