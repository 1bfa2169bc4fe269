"""Secrets Manager: secrets that wait for their end, and what AWS refuses; moto words some of it differently.

Secrets Manager API Reference, CreateSecret, UpdateSecret, GetSecretValue; User Guide, "Delete an AWS Secrets Manager
secret": a name is free again only when the recovery window is over. Which rights a caller needs, those on the key
included: `permission_needs`.
"""

import base64
import json
from typing import Any, Final

from moto.secretsmanager import urls
from moto.secretsmanager.exceptions import (
    InvalidRequestException,
    SecretsManagerClientError,
    ValidationException,
)
from moto.secretsmanager.models import FakeSecret, SecretsManagerBackend, secretsmanager_backends

from envs.sandbox.aws import policy
from envs.sandbox.aws.host import Host

_LARGEST: Final = 65536


class SecretsBackend(SecretsManagerBackend):
    """moto's backend, with AWS's refusals."""

    @property
    def _url_module(self) -> Any:
        return urls

    def create_secret(self, name: str, *arguments: Any, **options: Any) -> str:
        found = self.secrets.get(name)
        if found is not None and found.is_deleted():
            raise InvalidRequestException(
                "You can't create this secret because a secret with this name is already scheduled for deletion."
            )
        _check_size(options)
        return super().create_secret(name, *arguments, **options)

    def get_secret_value(self, secret_id: str, version_id: str, version_stage: str) -> dict[str, Any]:
        self._check_there(secret_id)
        return super().get_secret_value(secret_id, version_id, version_stage)

    def put_secret_value(self, secret_id: str, *arguments: Any, **options: Any) -> str:
        self._check_there(secret_id)
        _check_size(options)
        return super().put_secret_value(secret_id, *arguments, **options)

    def update_secret(self, secret_id: str, *arguments: Any, **options: Any) -> str:
        self._check_there(secret_id)
        _check_size(options)
        answer = super().update_secret(secret_id, *arguments, **options)
        found = self.secrets[secret_id]
        if options.get("description") == "" and isinstance(found, FakeSecret):
            found.description = None
        return answer

    def put_resource_policy(self, secret_id: str, policy: str) -> Any:
        self._check_there(secret_id)
        _check_policy(policy)
        return super().put_resource_policy(secret_id, policy)

    def _check_there(self, secret_id: str) -> None:
        """Refuses a secret that is scheduled for deletion."""
        found = self.secrets.get(secret_id)
        if found is not None and found.is_deleted():
            raise InvalidRequestException(
                "You can't perform this operation on the secret because it was marked for deletion."
            )


def install(_host: Host) -> None:
    """Puts this backend in the place of moto's."""
    secretsmanager_backends.backend = SecretsBackend


def _check_size(options: dict[str, Any]) -> None:
    text, binary = options.get("secret_string"), options.get("secret_binary")
    if len((text or "").encode()) > _LARGEST or len(base64.b64decode(binary or "")) > _LARGEST:
        raise ValidationException(
            f"1 validation error detected: Value at '{'secretString' if text else 'secretBinary'}' failed to satisfy "
            f"constraint: Member must have length less than or equal to {_LARGEST}"
        )


def _check_policy(document: str) -> None:
    try:
        statements = policy.statements(json.loads(document))
    except (ValueError, policy.PolicyError) as error:
        raise SecretsManagerClientError("MalformedPolicyDocumentException", str(error)) from error
    for each in statements:
        if "Principal" not in each:
            raise SecretsManagerClientError("MalformedPolicyDocumentException", "Missing required field Principal")
