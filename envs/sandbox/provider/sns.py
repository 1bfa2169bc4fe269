"""Topics, their policies, and who is told."""

import json
from typing import Any, Final

from botocore.exceptions import ClientError

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.errors import is_code
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging
from envs.sandbox.provider.schema import boolean, document, integer, text
from envs.sandbox.provider.translate import tag_list, tag_map

_GONE: Final = "NotFound"


def _add_tags(aws: Aws, identifier: str, _: Args, tags: dict[str, str]) -> None:
    aws.client("sns").tag_resource(ResourceArn=identifier, Tags=tag_list(tags))


def _remove_tags(aws: Aws, identifier: str, _: Args, keys: list[str]) -> None:
    aws.client("sns").untag_resource(ResourceArn=identifier, TagKeys=keys)


# Topic ----------------------------------------------------------------------------------------------------------

_ATTRIBUTES: Final = {"displayName": "DisplayName", "kmsMasterKeyId": "KmsMasterKeyId", "policy": "Policy"}


def _put(aws: Aws, identifier: str, name: str, value: str) -> None:
    aws.client("sns").set_topic_attributes(TopicArn=identifier, AttributeName=name, AttributeValue=value)


def _attributes(aws: Aws, identifier: str) -> dict[str, str] | None:
    ask = aws.client("sns").get_topic_attributes
    return find(lambda: ask(TopicArn=identifier)["Attributes"], _GONE)


def _create_topic(aws: Aws, args: Args) -> str:
    return aws.client("sns").create_topic(Name=args["name"], Tags=tag_list(args.get("tagsAll")))["TopicArn"]


def _finish_topic(aws: Aws, identifier: str, args: Args) -> None:
    for name, attribute in _ATTRIBUTES.items():
        if args.get(name):
            _put(aws, identifier, attribute, args[name])


def _read_topic(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _attributes(aws, identifier)
    if found is None:
        return None
    return {
        **{name: found.get(attribute) for name, attribute in _ATTRIBUTES.items()},
        "name": identifier.rpartition(":")[2],
        "arn": found["TopicArn"],
        "beginningArchiveTime": found.get("BeginningArchiveTime", ""),
        "owner": found["Owner"],
        "tagsAll": tag_map(aws.client("sns").list_tags_for_resource(ResourceArn=identifier)["Tags"]),
    }


def _update_topic(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    for name in sorted(changed & _ATTRIBUTES.keys()):
        _put(aws, identifier, _ATTRIBUTES[name], new.get(name) or "")


def _delete_topic(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring(_GONE):
        aws.client("sns").delete_topic(TopicArn=identifier)


TOPIC: Final = Resource(
    type_name="aws:sns/topic:Topic",
    inputs={
        "displayName": text(),
        "kmsMasterKeyId": text(),
        "name": text(computed=True),
        "policy": document(computed=True),
    },
    outputs=("arn", "beginningArchiveTime", "owner"),
    replaces={"name": "internal/service/sns/topic.go"},
    create=_create_topic,
    finish=_finish_topic,
    read=_read_topic,
    update=_update_topic,
    delete=_delete_topic,
    tagging=Tagging(_add_tags, _remove_tags),
    name=AutoName(longest=256),
)


# Topic policy ---------------------------------------------------------------------------------------------------

_DEFAULT_ACTIONS: Final = (
    "GetTopicAttributes",
    "SetTopicAttributes",
    "AddPermission",
    "RemovePermission",
    "DeleteTopic",
    "Subscribe",
    "ListSubscriptionsByTopic",
    "Publish",
    "Receive",
)


def _put_policy(aws: Aws, args: Args) -> str:
    _put(aws, args["arn"], "Policy", args["policy"])
    return args["arn"]


def _read_policy(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _attributes(aws, identifier)
    return found and {"arn": found["TopicArn"], "owner": found["Owner"], "policy": found["Policy"]}


def _update_policy(aws: Aws, _: str, __: Args, new: Args, ___: set[str]) -> None:
    _put_policy(aws, new)


def _delete_policy(aws: Aws, identifier: str, _: Args) -> None:
    """A topic cannot be without a policy: it gets back the one that it was made with."""
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [f"SNS:{action}" for action in _DEFAULT_ACTIONS],
        "Resource": identifier,
        "Condition": {"StringEquals": {"AWS:SourceOwner": aws.account}},
    }
    default = {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}
    with ignoring(_GONE):
        _put(aws, identifier, "Policy", json.dumps(default))


TOPIC_POLICY: Final = Resource(
    type_name="aws:sns/topicPolicy:TopicPolicy",
    inputs={"arn": text(required=True), "policy": document(required=True)},
    outputs=("owner",),
    replaces={"arn": "internal/service/sns/topic_policy.go"},
    create=_put_policy,
    read=_read_policy,
    update=_update_policy,
    delete=_delete_policy,
    identity=("arn",),
    remains=True,
)


# Subscription ---------------------------------------------------------------------------------------------------

_SUBSCRIPTION_SOURCE: Final = "internal/service/sns/topic_subscription.go"
_MINUTES: Final = 2.0


def _subscribe(aws: Aws, args: Args) -> str:
    return aws.client("sns").subscribe(
        TopicArn=args["topic"],
        Protocol=args["protocol"],
        Endpoint=args["endpoint"],
        Attributes={"RawMessageDelivery": json.dumps(bool(args.get("rawMessageDelivery")))},
        ReturnSubscriptionArn=True,
    )["SubscriptionArn"]


def _subscription(aws: Aws, identifier: str) -> dict[str, Any] | None:
    ask = aws.client("sns").get_subscription_attributes
    return find(lambda: ask(SubscriptionArn=identifier)["Attributes"], _GONE)


def _is_true(found: dict[str, Any], name: str) -> bool:
    return found.get(name, "false").lower() == "true"


def _finish_subscription(aws: Aws, identifier: str, args: Args) -> None:
    """People confirm when they read their mail, and most web servers when they like: nobody waits for them."""
    protocol, minutes = args["protocol"], _MINUTES
    if protocol.startswith("email") or (protocol.startswith("http") and not args.get("endpointAutoConfirms")):
        return
    if protocol.startswith("http"):
        minutes = args["confirmationTimeoutInMinutes"]
    aws.wait(
        f"subscription {identifier} is confirmed",
        lambda: (found := _subscription(aws, identifier)) and not _is_true(found, "PendingConfirmation"),
        minutes,
    )


def _read_subscription(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _subscription(aws, identifier)
    return found and {
        "endpoint": found["Endpoint"],
        "protocol": found["Protocol"],
        "rawMessageDelivery": _is_true(found, "RawMessageDelivery"),
        "topic": found["TopicArn"],
        "arn": found["SubscriptionArn"],
        "confirmationWasAuthenticated": _is_true(found, "ConfirmationWasAuthenticated"),
        "ownerId": found["Owner"],
        "pendingConfirmation": _is_true(found, "PendingConfirmation"),
    }


def _update_subscription(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    if "rawMessageDelivery" in changed:
        aws.client("sns").set_subscription_attributes(
            SubscriptionArn=identifier,
            AttributeName="RawMessageDelivery",
            AttributeValue=json.dumps(bool(new.get("rawMessageDelivery"))),
        )


def _unsubscribe(aws: Aws, identifier: str, _: Args) -> None:
    """One that was never confirmed cannot be taken back: it goes with its topic, or after a while."""
    try:
        aws.client("sns").unsubscribe(SubscriptionArn=identifier)
    except ClientError as error:
        if is_code(error, "InvalidParameter") and "pending confirmation" in str(error):
            return
        raise
    aws.wait(f"waiting until {identifier} is gone", lambda: _subscription(aws, identifier) is None, _MINUTES)


TOPIC_SUBSCRIPTION: Final = Resource(
    type_name="aws:sns/topicSubscription:TopicSubscription",
    inputs={
        "confirmationTimeoutInMinutes": integer(default=1, write_only=True),
        "endpoint": text(required=True),
        "endpointAutoConfirms": boolean(default=False, write_only=True),
        "protocol": text(required=True),
        "rawMessageDelivery": boolean(default=False),
        "topic": text(required=True),
    },
    outputs=("arn", "confirmationWasAuthenticated", "ownerId", "pendingConfirmation"),
    replaces=dict.fromkeys(("endpoint", "protocol", "topic"), _SUBSCRIPTION_SOURCE),
    create=_subscribe,
    finish=_finish_subscription,
    read=_read_subscription,
    update=_update_subscription,
    delete=_unsubscribe,
    identity=("endpoint", "protocol", "topic"),
    remains=True,
)

RESOURCES: Final = (TOPIC, TOPIC_POLICY, TOPIC_SUBSCRIPTION)
