"""What a client of the broker may do: Kafka's operations as MSK's IAM actions, held against the client's policies.

The table is that of the Amazon MSK Developer Guide, "Semantics of IAM authorization policy actions and resources",
which names the equal Kafka right of each action. None implies another: where the guide lists actions that an action
needs besides, these are those of the other requests that a client makes on its way. What has no action there (the
settings of a group, delegation tokens, what brokers ask each other) no client may do.
"""

import logging
from collections.abc import Mapping
from typing import Final

from moto.firehose.models import firehose_backends

from envs.sandbox.account import Account
from envs.sandbox.aws import permissions, sts
from envs.sandbox.aws.permission_needs import cluster_needs
from envs.sandbox.firehose.settings import GROUP_PREFIX

log = logging.getLogger("envs.sandbox.aws")

_FIREHOSE: Final = "firehose.amazonaws.com"
_RESOURCES: Final = {"CLUSTER": "cluster", "TOPIC": "topic", "GROUP": "group", "TRANSACTIONAL_ID": "transactional-id"}
_ACTIONS: Final[Mapping[tuple[str, str], str]] = {
    # A topic is created by the right to that topic: Kafka asks for it when the one to the cluster is missing.
    ("CLUSTER", "ALTER"): "AlterCluster",
    ("CLUSTER", "ALTER_CONFIGS"): "AlterClusterDynamicConfiguration",
    ("CLUSTER", "DESCRIBE"): "DescribeCluster",
    ("CLUSTER", "DESCRIBE_CONFIGS"): "DescribeClusterDynamicConfiguration",
    ("CLUSTER", "IDEMPOTENT_WRITE"): "WriteDataIdempotently",
    ("TOPIC", "ALTER"): "AlterTopic",
    ("TOPIC", "ALTER_CONFIGS"): "AlterTopicDynamicConfiguration",
    ("TOPIC", "CREATE"): "CreateTopic",
    ("TOPIC", "DELETE"): "DeleteTopic",
    ("TOPIC", "DESCRIBE"): "DescribeTopic",
    ("TOPIC", "DESCRIBE_CONFIGS"): "DescribeTopicDynamicConfiguration",
    ("TOPIC", "READ"): "ReadData",
    ("TOPIC", "WRITE"): "WriteData",
    ("GROUP", "DELETE"): "DeleteGroup",
    ("GROUP", "DESCRIBE"): "DescribeGroup",
    ("GROUP", "READ"): "AlterGroup",
    ("TRANSACTIONAL_ID", "DESCRIBE"): "DescribeTransactionalId",
    ("TRANSACTIONAL_ID", "WRITE"): "AlterTransactionalId",
}
"""(Kafka's resource type, its operation) -> the action."""


def check(account: Account, principal: str, operation: str, kind: str, name: str, *, told: bool = True) -> None:
    """Passes when a principal (the ARN of a user or a role's session) may do `operation` to a resource of the broker.

    Raises `permissions.AccessDeniedError`, `permissions.UnknownCallerError` and `policy.PolicyError`. A denial that
    is not `told` leaves no line in the log.
    """
    who = permissions.named(account, principal)
    if who is None or _is_firehose_at_its_offsets(account, who, operation, kind, name):
        return
    action = _ACTIONS.get((kind, operation))
    found = cluster_needs(f"kafka-cluster:{action}", account.account_id, account.region, _RESOURCES.get(kind), name)
    if action is None or not found:
        reason = "MSK has no IAM action for it" if action is None else "the account has no cluster"
        text = f"User: {who.arn} is not authorized to {operation} {kind} {name}: {reason}"
        if told:
            log.error("%s", text)
        raise permissions.AccessDeniedError(text)
    for need in found:
        permissions.demand(account, who, need, told=told)


def _is_firehose_at_its_offsets(
    account: Account, who: permissions.Caller, operation: str, kind: str, name: str
) -> bool:
    """Whether a delivery stream joins the group in which its offsets are kept here.

    On AWS Firehose keeps them with its own means: a stream's role is asked for no right to change a group (Firehose
    Developer Guide, "Grant Firehose access to your Amazon MSK cluster").
    """
    if (kind, operation) != ("GROUP", "READ") or not who.arn.endswith(f"/{sts.session_name(_FIREHOSE)}"):
        return False
    sources = getattr(firehose_backends[account.account_id][account.region], "msk_sources", {})
    source = sources.get(name.removeprefix(GROUP_PREFIX)) if name.startswith(GROUP_PREFIX) else None
    return source is not None and source["AuthenticationConfiguration"]["RoleARN"] == who.principal
