"""Who makes a function run: queues that are mapped to it, and services that its policy lets in."""

import json
from collections.abc import Mapping
from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging
from envs.sandbox.provider.schema import block, boolean, integer, text, unordered
from envs.sandbox.provider.translate import answer, request

_GONE: Final = "ResourceNotFoundException"
_MAPPING_SOURCE: Final = "internal/service/lambda/event_source_mapping.go"
_PERMISSION_SOURCE: Final = "internal/service/lambda/permission.go"
_SETTLED: Final = ("Enabled", "Disabled")


def _same_function(old: str, new: str) -> bool:
    """A function may be given by its name or its ARN."""
    return old.rpartition(":function:")[2] == new.rpartition(":function:")[2]


# Event source mapping -------------------------------------------------------------------------------------------

_MAPPING: Final = {
    "batchSize": integer(computed=True),
    "enabled": boolean(default=True),
    "eventSourceArn": text(),
    "functionName": text(required=True, same=_same_function),
    "functionResponseTypes": unordered(text()),
    "maximumBatchingWindowInSeconds": integer(),
    "scalingConfig": block({"maximumConcurrency": integer()}),
}
_READ: Final = ("batchSize", "eventSourceArn", "functionResponseTypes", "maximumBatchingWindowInSeconds")


def _add_tags(aws: Aws, _: str, state: Args, tags: dict[str, str]) -> None:
    aws.client("lambda").tag_resource(Resource=state["arn"], Tags=tags)


def _remove_tags(aws: Aws, _: str, state: Args, keys: list[str]) -> None:
    aws.client("lambda").untag_resource(Resource=state["arn"], TagKeys=keys)


def _create_mapping(aws: Aws, args: Args) -> str:
    tags = args.get("tagsAll") or {}
    return aws.client("lambda").create_event_source_mapping(**request(_MAPPING, args), Tags=tags)["UUID"]


def _wait_mapping(aws: Aws, identifier: str, _: Args) -> None:
    ask = aws.client("lambda").get_event_source_mapping
    aws.wait(f"mapping {identifier} is settled", lambda: ask(UUID=identifier)["State"] in _SETTLED, minutes=10)


def _read_mapping(aws: Aws, identifier: str, prior: Args) -> Args | None:
    client = aws.client("lambda")
    found = find(lambda: client.get_event_source_mapping(UUID=identifier), _GONE)
    # It may be gone between the two questions.
    tags = find(lambda: client.list_tags(Resource=found["EventSourceMappingArn"]), _GONE) if found else None
    if found is None or tags is None:
        return None
    return {
        **answer(_MAPPING, found, (*_READ, "scalingConfig")),
        "functionName": found["FunctionArn"],
        # Anything between on and off is told as what it will be: nothing else is known of it.
        "enabled": found["State"] not in ("Disabled", "Disabling"),
        "arn": found["EventSourceMappingArn"],
        "functionArn": found["FunctionArn"],
        "lastModified": found["LastModified"].isoformat(),
        # How the last batch went is no property of what was deployed: it would change with every refresh.
        "lastProcessingResult": prior.get("lastProcessingResult", found.get("LastProcessingResult")),
        "state": found["State"],
        "stateTransitionReason": found["StateTransitionReason"],
        "uuid": identifier,
        "tagsAll": tags.get("Tags", {}),
    }


def _update_mapping(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    client = aws.client("lambda")
    wanted = request(_MAPPING, new, changed)
    wanted |= {api: empty for name, (api, empty) in _TAKEN_BACK.items() if name in changed and new.get(name) is None}
    client.update_event_source_mapping(UUID=identifier, **wanted)
    _wait_mapping(aws, identifier, new)


_TAKEN_BACK: Final[dict[str, tuple[str, Any]]] = {
    "functionResponseTypes": ("FunctionResponseTypes", []),
    "maximumBatchingWindowInSeconds": ("MaximumBatchingWindowInSeconds", 0),
    "scalingConfig": ("ScalingConfig", {}),
}


def _delete_mapping(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring(_GONE):
        aws.client("lambda").delete_event_source_mapping(UUID=identifier)


EVENT_SOURCE_MAPPING: Final = Resource(
    type_name="aws:lambda/eventSourceMapping:EventSourceMapping",
    inputs=_MAPPING,
    outputs=(
        *("arn", "functionArn", "lastModified", "lastProcessingResult", "state", "stateTransitionReason", "uuid"),
    ),
    replaces={"eventSourceArn": _MAPPING_SOURCE},
    create=_create_mapping,
    finish=_wait_mapping,
    read=_read_mapping,
    update=_update_mapping,
    delete=_delete_mapping,
    tagging=Tagging(_add_tags, _remove_tags),
    recomputed_by={
        "functionArn": ("functionName",),
        "lastModified": tuple(_MAPPING),
        "state": ("enabled",),
    },
)


# Permission -----------------------------------------------------------------------------------------------------


def _same_principal(old: str, new: str) -> bool:
    """An account is told as its root."""
    return old.removeprefix("arn:aws:iam::").removesuffix(":root") == new.removeprefix("arn:aws:iam::").removesuffix(
        ":root"
    )


_PERMISSION: Final = {
    "action": text(required=True),
    "function": text(required=True, api="FunctionName", same=_same_function),
    "principal": text(required=True, same=_same_principal),
    "qualifier": text(),
    "sourceAccount": text(),
    "sourceArn": text(),
    "statementId": text(computed=True),
}


def _create_permission(aws: Aws, args: Args) -> str:
    aws.client("lambda").add_permission(**request(_PERMISSION, args))
    return args["statementId"]


def _which_permission(identifier: str, prior: Args) -> Args:
    if prior.get("function"):
        return {name: prior[name] for name in ("function", "qualifier", "statementId") if name in prior}
    # An import's id: FUNCTION/STATEMENT or FUNCTION:QUALIFIER/STATEMENT (`resourcePermissionImport`).
    function, slash, statement = identifier.rpartition("/")
    if not slash:
        raise ProviderError(f"a permission is imported as FUNCTION/STATEMENT, not as {identifier!r}")
    name, _, qualifier = function.partition(":")
    return {"function": name, "statementId": statement, **({"qualifier": qualifier} if qualifier else {})}


def _read_permission(aws: Aws, identifier: str, prior: Args) -> Args | None:
    where = _which_permission(identifier, prior)
    ask = request(_PERMISSION, where, (name for name in where if name != "statementId"))
    found = find(lambda: aws.client("lambda").get_policy(**ask), _GONE)
    statements = json.loads(found["Policy"])["Statement"] if found else []
    statement = next((each for each in statements if each["Sid"] == where["statementId"]), None)
    if statement is None:
        return None
    conditions = {
        key.lower(): value for each in (statement.get("Condition") or {}).values() for key, value in each.items()
    }
    principal = statement["Principal"]
    return {
        **where,
        "id": where["statementId"],
        "action": statement["Action"],
        "principal": next(iter(principal.values())) if isinstance(principal, Mapping) else principal,
        "sourceArn": conditions.get("aws:sourcearn"),
        "sourceAccount": conditions.get("aws:sourceaccount"),
    }


def _delete_permission(aws: Aws, identifier: str, state: Args) -> None:
    where = _which_permission(identifier, state)
    with ignoring(_GONE):
        aws.client("lambda").remove_permission(**request(_PERMISSION, where))


PERMISSION: Final = Resource(
    type_name="aws:lambda/permission:Permission",
    inputs=_PERMISSION,
    outputs=(),
    replaces=dict.fromkeys(_PERMISSION, _PERMISSION_SOURCE),
    create=_create_permission,
    read=_read_permission,
    delete=_delete_permission,
    name=AutoName("statementId", longest=100),
    identity=("function", "qualifier", "statementId"),
)

RESOURCES: Final = (EVENT_SOURCE_MAPPING, PERMISSION)
