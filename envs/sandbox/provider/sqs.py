"""Queues and their policies."""

import json
from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging
from envs.sandbox.provider.schema import Kind, boolean, document, integer, text

_GONE: Final = ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")
_QUEUE: Final = {
    "contentBasedDeduplication": boolean(default=False),
    "deduplicationScope": text(computed=True),
    "delaySeconds": integer(default=0),
    "fifoQueue": boolean(default=False),
    "fifoThroughputLimit": text(computed=True),
    "kmsDataKeyReusePeriodSeconds": integer(computed=True),
    "kmsMasterKeyId": text(),
    "maxMessageSize": integer(default=262144, api="MaximumMessageSize"),
    "messageRetentionSeconds": integer(default=345600, api="MessageRetentionPeriod"),
    "policy": document(computed=True),
    "receiveWaitTimeSeconds": integer(default=0, api="ReceiveMessageWaitTimeSeconds"),
    "redriveAllowPolicy": document(computed=True),
    "redrivePolicy": document(computed=True),
    "sqsManagedSseEnabled": boolean(computed=True),
    "visibilityTimeoutSeconds": integer(default=30, api="VisibilityTimeout"),
}
_FIFO_ONLY: Final = ("contentBasedDeduplication", "deduplicationScope", "fifoQueue", "fifoThroughputLimit")


def _attribute(name: str) -> str:
    return _QUEUE[name].api or name[0].upper() + name[1:]


def _attributes(args: Args, *names: str) -> dict[str, str]:
    """The queue's attributes as SQS takes them: all are strings. FIFO's are refused on other queues."""
    fit = (name for name in names if args.get("fifoQueue") or name not in _FIFO_ONLY)
    values = {name: args[name] for name in fit if args.get(name) is not None}
    return {_attribute(n): v if isinstance(v, str) else json.dumps(v) for n, v in values.items()}


def _add_tags(aws: Aws, identifier: str, _: Args, tags: dict[str, str]) -> None:
    aws.client("sqs").tag_queue(QueueUrl=identifier, Tags=tags)


def _remove_tags(aws: Aws, identifier: str, _: Args, keys: list[str]) -> None:
    aws.client("sqs").untag_queue(QueueUrl=identifier, TagKeys=keys)


def _create_queue(aws: Aws, args: Args) -> str:
    wanted = {"QueueName": args["name"], "Attributes": _attributes(args, *_QUEUE), "tags": args.get("tagsAll") or {}}
    return aws.client("sqs").create_queue(**wanted)["QueueUrl"]


def _told(name: str, value: str) -> Any:
    match _QUEUE[name].kind:
        case Kind.INTEGER:
            return int(value)
        case Kind.BOOLEAN:
            return value.lower() == "true"
    return value


def _read_queue(aws: Aws, identifier: str, _: Args) -> Args | None:
    sqs = aws.client("sqs")
    found = find(lambda: sqs.get_queue_attributes(QueueUrl=identifier, AttributeNames=["All"])["Attributes"], *_GONE)
    if found is None:
        return None
    return {
        **{name: _told(name, found[_attribute(name)]) for name in _QUEUE if _attribute(name) in found},
        "name": identifier.rpartition("/")[2],
        "arn": found["QueueArn"],
        "url": identifier,
        "tagsAll": sqs.list_queue_tags(QueueUrl=identifier).get("Tags", {}),
    }


def _update_queue(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    wanted = _attributes(new, *changed)
    # What the program no longer says is taken back with an empty value.
    wanted |= {_attribute(name): "" for name in changed if new.get(name) is None}
    aws.client("sqs").set_queue_attributes(QueueUrl=identifier, Attributes=wanted)


def _delete_queue(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring(*_GONE):
        aws.client("sqs").delete_queue(QueueUrl=identifier)


QUEUE: Final = Resource(
    type_name="aws:sqs/queue:Queue",
    inputs={**_QUEUE, "name": text(computed=True)},
    outputs=("arn", "url"),
    replaces=dict.fromkeys(("fifoQueue", "name"), "internal/service/sqs/queue.go"),
    create=_create_queue,
    read=_read_queue,
    update=_update_queue,
    delete=_delete_queue,
    tagging=Tagging(_add_tags, _remove_tags),
    name=AutoName(longest=80, suffix=lambda args: ".fifo" if args.get("fifoQueue") is True else ""),
)


# Queue policy ---------------------------------------------------------------------------------------------------


def _put_policy(aws: Aws, args: Args) -> str:
    aws.client("sqs").set_queue_attributes(QueueUrl=args["queueUrl"], Attributes={"Policy": args["policy"]})
    return args["queueUrl"]


def _read_policy(aws: Aws, identifier: str, _: Args) -> Args | None:
    ask = aws.client("sqs").get_queue_attributes
    found = find(lambda: ask(QueueUrl=identifier, AttributeNames=["Policy"]), *_GONE)
    policy = (found or {}).get("Attributes", {}).get("Policy")
    return {"queueUrl": identifier, "policy": policy} if policy else None


def _update_policy(aws: Aws, _: str, __: Args, new: Args, ___: set[str]) -> None:
    _put_policy(aws, new)


def _delete_policy(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring(*_GONE):
        aws.client("sqs").set_queue_attributes(QueueUrl=identifier, Attributes={"Policy": ""})


QUEUE_POLICY: Final = Resource(
    type_name="aws:sqs/queuePolicy:QueuePolicy",
    inputs={"policy": document(required=True), "queueUrl": text(required=True)},
    outputs=(),
    replaces={"queueUrl": "internal/service/sqs/queue_policy.go"},
    create=_put_policy,
    read=_read_policy,
    update=_update_policy,
    delete=_delete_policy,
    identity=("queueUrl",),
)

RESOURCES: Final = (QUEUE, QUEUE_POLICY)
