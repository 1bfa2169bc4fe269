"""SNS: email subscriptions that wait for a person, and topic policies that speak of topics only.

Amazon SNS Developer Guide, "Subscribing an email address": it is told nothing before it has confirmed, and a
subscription that waits for that cannot be taken back (terraform-provider-aws,
`internal/service/sns/topic_subscription.go`). "Using identity-based policies with Amazon SNS": the actions that a
topic's policy may name.
"""

from typing import Any, Final

from moto.sns import urls
from moto.sns.exceptions import SNSInvalidParameter
from moto.sns.models import SNSBackend, Subscription, sns_backends

from envs.sandbox.aws import policy
from envs.sandbox.aws.host import Host

ACTIONS: Final = frozenset(
    f"sns:{action}"
    for action in (
        "addpermission",
        "deletetopic",
        "getdataprotectionpolicy",
        "gettopicattributes",
        "listsubscriptionsbytopic",
        "listtagsforresource",
        "publish",
        "putdataprotectionpolicy",
        "receive",
        "removepermission",
        "settopicattributes",
        "subscribe",
    )
)
"""What a topic's policy may name, in lower case: IAM does not tell actions apart by case. ``sns:*`` is not among
them."""


class TopicsBackend(SNSBackend):
    """moto's backend, where nothing ever waits for a confirmation."""

    @property
    def _url_module(self) -> Any:
        return urls

    def set_topic_attribute(self, topic_arn: str, attribute_name: str, attribute_value: str) -> None:
        if attribute_name == "policy":
            check_policy(attribute_value, topic_arn)
        super().set_topic_attribute(topic_arn, attribute_name, attribute_value)

    def subscribe(self, topic_arn: str, endpoint: str, protocol: str) -> Subscription:
        mail = protocol.startswith("email")
        if mail and "@" not in endpoint:
            raise SNSInvalidParameter("Invalid parameter: Email address")
        known = self._find_subscription(topic_arn, endpoint, protocol)
        made = super().subscribe(topic_arn, endpoint, protocol)
        if mail and known is None:
            made.attributes |= {"PendingConfirmation": "true", "ConfirmationWasAuthenticated": "false"}
        return made

    def unsubscribe(self, subscription_arn: str) -> None:
        found = self.subscriptions.get(subscription_arn)
        if found is not None and found.attributes["PendingConfirmation"] == "true":
            raise SNSInvalidParameter(
                "Invalid parameter: SubscriptionArn Reason: Cannot unsubscribe a subscription that is pending "
                "confirmation"
            )
        super().unsubscribe(subscription_arn)


def check_policy(document: str, topic_arn: str) -> None:
    """A policy that SNS takes for this topic. Raises InvalidParameter."""
    try:
        statements = policy.statements(document)
    except policy.PolicyError as error:
        raise SNSInvalidParameter(f"Invalid parameter: Policy Error: {error}") from error
    for each in statements:
        if not each.get("Principal"):
            raise SNSInvalidParameter("Invalid parameter: Policy Error: PrincipalNotFound")
        if any(action.lower() not in ACTIONS for action in _texts(each.get("Action"))):
            raise SNSInvalidParameter("Invalid parameter: Policy statement action out of service scope!")
        if any(resource != topic_arn for resource in _texts(each.get("Resource"))):
            raise SNSInvalidParameter("Invalid parameter: Policy Error: Invalid resource")


def _texts(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def install(_host: Host) -> None:
    """Puts this backend in the place of moto's."""
    sns_backends.backend = TopicsBackend
