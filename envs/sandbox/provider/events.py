"""EventBridge: rules and their targets."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Args, AutoName, Busy, Resource, Tagging
from envs.sandbox.provider.schema import block, boolean, document, integer, text
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map

_GONE: Final = "ResourceNotFoundException"
_BUS: Final = "default"
_RULE_SOURCE: Final = "internal/service/events/rule.go"
_TARGET_SOURCE: Final = "internal/service/events/target.go"


def _add_tags(aws: Aws, _: str, state: Args, tags: dict[str, str]) -> None:
    aws.client("events").tag_resource(ResourceARN=state["arn"], Tags=tag_list(tags))


def _remove_tags(aws: Aws, _: str, state: Args, keys: list[str]) -> None:
    aws.client("events").untag_resource(ResourceARN=state["arn"], TagKeys=keys)


# Rule -----------------------------------------------------------------------------------------------------------

_RULE: Final = {
    "description": text(),
    "eventBusName": text(default=_BUS),
    "eventPattern": document(),
    "name": text(computed=True),
    "scheduleExpression": text(),
    "state": text(computed=True),
}


def _create_rule(aws: Aws, args: Args) -> str:
    bus, name = args["eventBusName"], args["name"]
    identifier = name if bus == _BUS else f"{bus}/{name}"
    if _read_rule(aws, identifier, {}):
        raise ProviderError(f"the rule {identifier} exists already: EventBridge would overwrite it without a word")
    aws.client("events").put_rule(**request(_RULE, args), Tags=tag_list(args.get("tagsAll")))
    return identifier


def _rule_at(identifier: str) -> dict[str, str]:
    bus, _, name = identifier.rpartition("/")
    return {"EventBusName": bus or _BUS, "Name": name}


def _read_rule(aws: Aws, identifier: str, _: Args) -> Args | None:
    events, where = aws.client("events"), _rule_at(identifier)
    found = find(lambda: events.describe_rule(**where), _GONE)
    return found and {
        **answer(_RULE, found),
        "eventBusName": where["EventBusName"],
        "arn": found["Arn"],
        "tagsAll": tag_map(events.list_tags_for_resource(ResourceARN=found["Arn"])["Tags"]),
    }


def _update_rule(aws: Aws, _: str, __: Args, new: Args, changed: set[str]) -> None:
    if changed - {"forceDestroy"}:
        aws.client("events").put_rule(**request(_RULE, new))


def _delete_rule(aws: Aws, identifier: str, state: Args) -> None:
    with ignoring(_GONE):
        aws.client("events").delete_rule(**_rule_at(identifier), Force=state.get("forceDestroy", False))


EVENT_RULE: Final = Resource(
    type_name="aws:cloudwatch/eventRule:EventRule",
    inputs={**_RULE, "forceDestroy": boolean(default=False, write_only=True)},
    outputs=("arn",),
    replaces=dict.fromkeys(("eventBusName", "name"), _RULE_SOURCE),
    create=_create_rule,
    read=_read_rule,
    update=_update_rule,
    delete=_delete_rule,
    busy=Busy(_RULE_SOURCE, minutes=5, codes=("ValidationException",)),
    tagging=Tagging(_add_tags, _remove_tags),
    name=AutoName(longest=64),
    identity=("eventBusName", "name"),
)


# Target ---------------------------------------------------------------------------------------------------------

_TARGET: Final = {
    "arn": text(required=True),
    "deadLetterConfig": block({"arn": text()}),
    "input": document(),
    "retryPolicy": block({"maximumEventAgeInSeconds": integer(), "maximumRetryAttempts": integer()}),
    "sqsTarget": block({"messageGroupId": text()}, api="SqsParameters"),
    "targetId": text(computed=True, api="Id"),
}


def _target_id(args: Args) -> str:
    parts = (args["rule"], args["targetId"])
    return "-".join(parts if args["eventBusName"] == _BUS else (args["eventBusName"], *parts))


def _put_target(aws: Aws, args: Args) -> str:
    told = aws.client("events").put_targets(
        Rule=args["rule"], EventBusName=args["eventBusName"], Targets=[request(_TARGET, args)]
    )
    for entry in told.get("FailedEntries", []):
        raise ProviderError(f"target {args['targetId']} of {args['rule']}: {entry['ErrorMessage']}")
    return _target_id(args)


def _which_target(identifier: str, prior: Args) -> Args:
    if prior.get("rule"):
        return {name: prior[name] for name in ("eventBusName", "rule", "targetId")}
    # An import's id: BUS/RULE/TARGET or RULE/TARGET (`targetParseImportID`).
    *bus, rule, target = identifier.split("/")
    return {"eventBusName": "/".join(bus) or _BUS, "rule": rule, "targetId": target}


def _read_target(aws: Aws, identifier: str, prior: Args) -> Args | None:
    where = _which_target(identifier, prior)
    events = aws.client("events")
    ask = {"Rule": where["rule"], "EventBusName": where["eventBusName"]}
    targets: list[dict[str, Any]] = []
    while (told := find(lambda: events.list_targets_by_rule(**ask), _GONE)) is not None:
        targets += told["Targets"]
        if not told.get("NextToken"):
            break
        ask["NextToken"] = told["NextToken"]
    found = next((each for each in targets if each["Id"] == where["targetId"]), None)
    return found and {"id": _target_id(where), **answer(_TARGET, found), **where}


def _update_target(aws: Aws, _: str, __: Args, new: Args, ___: set[str]) -> None:
    _put_target(aws, new)


def _delete_target(aws: Aws, identifier: str, state: Args) -> None:
    where = _which_target(identifier, state)
    with ignoring(_GONE):
        aws.client("events").remove_targets(
            Rule=where["rule"], EventBusName=where["eventBusName"], Ids=[where["targetId"]]
        )


EVENT_TARGET: Final = Resource(
    type_name="aws:cloudwatch/eventTarget:EventTarget",
    inputs={
        **_TARGET,
        "eventBusName": text(default=_BUS),
        "forceDestroy": boolean(default=False, write_only=True),
        "rule": text(required=True),
    },
    outputs=(),
    replaces=dict.fromkeys(("eventBusName", "rule", "targetId"), _TARGET_SOURCE),
    create=_put_target,
    read=_read_target,
    update=_update_target,
    delete=_delete_target,
    name=AutoName("targetId", longest=64),
    identity=("eventBusName", "rule", "targetId"),
)

RESOURCES: Final = (EVENT_RULE, EVENT_TARGET)
