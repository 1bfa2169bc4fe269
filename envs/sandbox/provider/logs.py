"""CloudWatch log groups and streams."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging
from envs.sandbox.provider.schema import integer, text

_GROUP_SOURCE: Final = "internal/service/logs/group.go"


def _add_tags(aws: Aws, _: str, state: Args, tags: dict[str, str]) -> None:
    aws.client("logs").tag_resource(resourceArn=state["arn"], tags=tags)


def _remove_tags(aws: Aws, _: str, state: Args, keys: list[str]) -> None:
    aws.client("logs").untag_resource(resourceArn=state["arn"], tagKeys=keys)


def _create_group(aws: Aws, args: Args) -> str:
    wanted = {name: args[name] for name in ("kmsKeyId", "logGroupClass") if args.get(name)}
    tags = {"tags": args["tagsAll"]} if args.get("tagsAll") else {}
    aws.client("logs").create_log_group(logGroupName=args["name"], **wanted, **tags)
    return args["name"]


def _finish_group(aws: Aws, identifier: str, args: Args) -> None:
    if days := args.get("retentionInDays"):
        aws.client("logs").put_retention_policy(logGroupName=identifier, retentionInDays=days)


def _read_group(aws: Aws, identifier: str, _: Args) -> Args | None:
    logs = aws.client("logs")
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=identifier)
    found = next(
        (group for page in pages for group in page["logGroups"] if group["logGroupName"] == identifier), None
    )
    if found is None:
        return None
    arn = found["arn"].removesuffix(":*")
    return {
        "name": identifier,
        "kmsKeyId": found.get("kmsKeyId"),
        "logGroupClass": found.get("logGroupClass"),
        "retentionInDays": found.get("retentionInDays"),
        "arn": arn,
        "tagsAll": logs.list_tags_for_resource(resourceArn=arn)["tags"],
    }


def _update_group(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    logs = aws.client("logs")
    if "retentionInDays" in changed:
        if days := new.get("retentionInDays"):
            logs.put_retention_policy(logGroupName=identifier, retentionInDays=days)
        else:
            logs.delete_retention_policy(logGroupName=identifier)
    if "kmsKeyId" in changed:
        if key := new.get("kmsKeyId"):
            logs.associate_kms_key(logGroupName=identifier, kmsKeyId=key)
        else:
            logs.disassociate_kms_key(logGroupName=identifier)


def _delete_group(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("ResourceNotFoundException"):
        aws.client("logs").delete_log_group(logGroupName=identifier)


LOG_GROUP: Final = Resource(
    type_name="aws:cloudwatch/logGroup:LogGroup",
    inputs={
        "kmsKeyId": text(),
        "logGroupClass": text(computed=True),
        "name": text(computed=True),
        "retentionInDays": integer(default=0),
    },
    outputs=("arn",),
    replaces=dict.fromkeys(("logGroupClass", "name"), _GROUP_SOURCE),
    create=_create_group,
    finish=_finish_group,
    read=_read_group,
    update=_update_group,
    delete=_delete_group,
    tagging=Tagging(_add_tags, _remove_tags),
    name=AutoName(longest=512),
)


# Stream ---------------------------------------------------------------------------------------------------------


def _create_stream(aws: Aws, args: Args) -> str:
    aws.client("logs").create_log_stream(logGroupName=args["logGroupName"], logStreamName=args["name"])
    return args["name"]


def _read_stream(aws: Aws, identifier: str, prior: Args) -> Args | None:
    group, name = prior.get("logGroupName"), identifier
    if not group:
        group, _, name = identifier.partition(":")
        if not name:
            raise ProviderError(f"a log stream is imported as LOGGROUP:LOGSTREAM, not as {identifier!r}")
    found = find(lambda: _stream(aws, str(group), name), "ResourceNotFoundException")
    return found and {"id": name, "logGroupName": group, "name": name, "arn": found["arn"]}


def _stream(aws: Aws, group: str, name: str) -> dict[str, Any] | None:
    describe = aws.client("logs").get_paginator("describe_log_streams")
    pages = describe.paginate(logGroupName=group, logStreamNamePrefix=name)
    return next((stream for page in pages for stream in page["logStreams"] if stream["logStreamName"] == name), None)


def _delete_stream(aws: Aws, identifier: str, state: Args) -> None:
    with ignoring("ResourceNotFoundException"):
        aws.client("logs").delete_log_stream(logGroupName=state["logGroupName"], logStreamName=identifier)


LOG_STREAM: Final = Resource(
    type_name="aws:cloudwatch/logStream:LogStream",
    inputs={"logGroupName": text(required=True), "name": text(computed=True)},
    outputs=("arn",),
    replaces=dict.fromkeys(("logGroupName", "name"), "internal/service/logs/stream.go"),
    create=_create_stream,
    read=_read_stream,
    delete=_delete_stream,
    name=AutoName(longest=512),
    identity=("logGroupName", "name"),
)

RESOURCES: Final = (LOG_GROUP, LOG_STREAM)
