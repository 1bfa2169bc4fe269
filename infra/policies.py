"""IAM policy documents, built here from statements: no look-up for what is only JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement. Principals (``{"Service": "lambda.amazonaws.com"}``) are for trusts and resource policies."""

    sid: str
    actions: Sequence[str]
    resources: Sequence[pulumi.Input[str]] = ()
    effect: Literal["Allow", "Deny"] = "Allow"
    principals: Mapping[str, pulumi.Input[str]] | Literal["*"] | None = None
    conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def render(self) -> dict[str, Any]:
        """The statement as IAM writes it."""
        rendered: dict[str, Any] = {"Sid": self.sid, "Effect": self.effect}
        if self.principals is not None:
            rendered["Principal"] = self.principals
        rendered["Action"] = list(self.actions)
        if self.resources:
            rendered["Resource"] = list(self.resources)
        if self.conditions:
            rendered["Condition"] = self.conditions
        return rendered


def document(*statements: Statement) -> pulumi.Output[str]:
    """A policy document; known as soon as everything it names is known."""
    return pulumi.Output.json_dumps(
        {"Version": "2012-10-17", "Statement": [statement.render() for statement in statements]}
    )


def trust(service: str) -> pulumi.Output[str]:
    """Lets an AWS service take a role; only the account itself can hand one to it (``iam:PassRole``)."""
    return document(Statement(sid="Assume", actions=["sts:AssumeRole"], principals={"Service": service}))


def tls_only(service: str, resources: Sequence[pulumi.Input[str]]) -> Statement:
    """Refuses every call to a bucket ("s3"), queue ("sqs") or file system ("elasticfilesystem") without TLS."""
    return Statement(
        sid="TlsOnly",
        effect="Deny",
        principals="*",
        actions=[f"{service}:*"],
        resources=resources,
        conditions={"Bool": {"aws:SecureTransport": "false"}},
    )
