"""IAM: trust policies are checked when a role is made, not when somebody trusts them.

IAM API Reference, CreateRole and UpdateAssumeRolePolicy: MalformedPolicyDocument.
"""

from typing import Any

from moto.iam import urls
from moto.iam.exceptions import MalformedPolicyDocument
from moto.iam.models import IAMBackend, Role, iam_backends

from envs.sandbox.aws import policy
from envs.sandbox.aws.host import Host


class RolesBackend(IAMBackend):
    """moto's backend, with the check that it leaves out."""

    @property
    def _url_module(self) -> Any:
        return urls

    def create_role(self, role_name: str, assume_role_policy_document: str, *rest: Any, **options: Any) -> Role:
        _check_trust(assume_role_policy_document)
        return super().create_role(role_name, assume_role_policy_document, *rest, **options)

    def update_assume_role_policy(self, role_name: str, policy_document: str) -> None:
        _check_trust(policy_document)
        super().update_assume_role_policy(role_name, policy_document)


def install(_host: Host) -> None:
    """Puts this backend in the place of moto's."""
    iam_backends.backend = RolesBackend


def _check_trust(document: str) -> None:
    try:
        found = policy.statements(document)
    except policy.PolicyError as error:
        raise MalformedPolicyDocument(f"This policy contains invalid Json: {error}") from error
    for statement in found:
        if "Resource" in statement or "NotResource" in statement:
            raise MalformedPolicyDocument("Has prohibited field Resource")
        if "Principal" not in statement and "NotPrincipal" not in statement:
            raise MalformedPolicyDocument("Missing required field Principal")
        actions = statement.get("Action", [])
        for action in [actions] if isinstance(actions, str) else actions:
            if not action.startswith("sts:"):
                raise MalformedPolicyDocument("AssumeRole policy may only specify STS AssumeRole actions.")
