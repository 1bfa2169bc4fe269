"""Snapshot policies of Data Lifecycle Manager."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, Resource, Tagging
from envs.sandbox.provider.schema import block, boolean, integer, mapping, sequence, text
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map

_SOURCE: Final = "internal/service/dlm/lifecycle_policy.go"
_GONE: Final = ("ResourceNotFoundException",)
_CREATE: Final = {
    "interval": integer(required=True),
    "intervalUnit": text(default="HOURS"),
    "times": text(computed=True),
}
_RETAIN: Final = {"count": integer(), "interval": integer(), "intervalUnit": text()}
_SCHEDULE: Final = {
    "copyTags": boolean(computed=True),
    "createRule": block(_CREATE, required=True),
    "name": text(required=True),
    "retainRule": block(_RETAIN, required=True),
    "tagsToAdd": mapping(text()),
}
_DETAILS: Final = {
    "policyType": text(default="EBS_SNAPSHOT_MANAGEMENT"),
    "resourceTypes": sequence(text()),
    "schedules": sequence(block(_SCHEDULE)),
    "targetTags": mapping(text()),
}
_POLICY: Final = {
    "description": text(required=True),
    "executionRoleArn": text(required=True),
    "policyDetails": block(_DETAILS, required=True),
    "state": text(default="ENABLED"),
}


def _sent(args: Args, *names: str) -> dict[str, Any]:
    """The inputs as the API takes them: tags are lists, and the one time is a list of one."""
    wanted = request(_POLICY, args, names)
    if details := wanted.get("PolicyDetails"):
        details["TargetTags"] = tag_list(details.get("TargetTags"))
        for schedule in details.get("Schedules", []):
            schedule["TagsToAdd"] = tag_list(schedule.get("TagsToAdd"))
            if "Times" in schedule["CreateRule"]:
                schedule["CreateRule"]["Times"] = [schedule["CreateRule"]["Times"]]
    return wanted


def _told(policy: dict[str, Any]) -> Args:
    details = policy["PolicyDetails"]
    details["TargetTags"] = tag_map(details.get("TargetTags"))
    for schedule in details.get("Schedules", []):
        schedule["TagsToAdd"] = tag_map(schedule.get("TagsToAdd"))
        schedule["CreateRule"]["Times"] = next(iter(schedule["CreateRule"].get("Times") or []), None)
    return answer(_POLICY, policy)


def _create(aws: Aws, args: Args) -> str:
    tags = args.get("tagsAll") or {}
    return aws.client("dlm").create_lifecycle_policy(**_sent(args, *_POLICY), Tags=tags)["PolicyId"]


def _read(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = find(lambda: aws.client("dlm").get_lifecycle_policy(PolicyId=identifier)["Policy"], *_GONE)
    return found and {**_told(found), "arn": found["PolicyArn"], "tagsAll": found.get("Tags") or {}}


def _update(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    if names := [name for name in _POLICY if name in changed]:
        aws.client("dlm").update_lifecycle_policy(PolicyId=identifier, **_sent(new, *names))


def _delete(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring(*_GONE):
        aws.client("dlm").delete_lifecycle_policy(PolicyId=identifier)


def _add_tags(aws: Aws, _: str, state: Args, tags: dict[str, str]) -> None:
    aws.client("dlm").tag_resource(ResourceArn=state["arn"], Tags=tags)


def _remove_tags(aws: Aws, _: str, state: Args, keys: list[str]) -> None:
    aws.client("dlm").untag_resource(ResourceArn=state["arn"], TagKeys=keys)


LIFECYCLE_POLICY: Final = Resource(
    type_name="aws:dlm/lifecyclePolicy:LifecyclePolicy",
    inputs=_POLICY,
    outputs=("arn",),
    replaces={"policyDetails.schedules.copyTags": _SOURCE},
    create=_create,
    read=_read,
    update=_update,
    delete=_delete,
    tagging=Tagging(_add_tags, _remove_tags),
)

RESOURCES: Final = (LIFECYCLE_POLICY,)
