"""KMS: keys that remember how often they rotate, and that every operation finds by ARN as well as by id.

KMS API Reference: EnableKeyRotation, GetKeyRotationStatus, CreateGrant, and "Key identifiers" of each operation.
"""

import json
from datetime import timedelta
from typing import Any, Final

from moto.core.exceptions import JsonRESTError
from moto.core.utils import unix_time, utcnow
from moto.iam.models import iam_backends
from moto.kms import urls
from moto.kms.exceptions import NotFoundException, ValidationException
from moto.kms.models import Key, KmsBackend, kms_backends
from moto.kms.responses import KmsResponse

from envs.sandbox.aws.host import Host

_DEFAULT_DAYS: Final = 365


class KeysBackend(KmsBackend):
    """moto's backend; these operations of it know plain ids only."""

    @property
    def _url_module(self) -> Any:
        return urls

    def describe_key(self, key_id: str) -> Key:
        try:
            return super().describe_key(key_id)
        except KeyError:
            arn = (
                key_id
                if key_id.startswith("arn:")
                else f"arn:aws:kms:{self.region_name}:{self.account_id}:key/{key_id}"
            )
            raise NotFoundException(f"Key '{arn}' does not exist") from None

    def schedule_key_deletion(self, key_id: str, pending_window_in_days: int) -> float:
        return super().schedule_key_deletion(self.get_key_id(key_id), pending_window_in_days)

    def cancel_key_deletion(self, key_id: str) -> None:
        super().cancel_key_deletion(self.get_key_id(key_id))

    def disable_key(self, key_id: str) -> None:
        super().disable_key(self.get_key_id(key_id))

    def enable_key(self, key_id: str) -> None:
        super().enable_key(self.get_key_id(key_id))

    def create_grant(self, key_id: str, grantee_principal: str, *rest: Any, **options: Any) -> tuple[str, str]:
        roles = iam_backends[self.account_id][self.partition].roles.values()
        if ":role/" in grantee_principal and all(role.arn != grantee_principal for role in roles):
            raise JsonRESTError(
                "InvalidArnException", f"ARN does not refer to a valid principal: {grantee_principal}"
            )
        return super().create_grant(key_id, grantee_principal, *rest, **options)

    def create_alias(self, target_key_id: str, alias_name: str) -> Any:
        made = super().create_alias(target_key_id, alias_name)
        if alias_name.startswith("alias/aws/"):
            # Clients cannot make such an alias: a service's backend did, for the key that it manages itself.
            self.keys[self.get_key_id(target_key_id)].key_manager = "AWS"
        return made


class _Response(KmsResponse):
    """moto's responses; the period is kept on the key."""

    def _key(self) -> Key:
        key_id = self._get_param("KeyId")
        self._validate_cmk_id(key_id)
        return self.kms_backend.keys[self.kms_backend.get_key_id(key_id)]

    def enable_key_rotation(self) -> str:
        key = self._key()
        days = self._get_param("RotationPeriodInDays") or getattr(key, "rotation_days", _DEFAULT_DAYS)
        if not 90 <= days <= 2560:
            raise ValidationException(
                f"1 validation error detected: Value '{days}' at 'rotationPeriodInDays' failed to satisfy "
                "constraint: Member must have value from 90 to 2560"
            )
        key.key_rotation_status = True
        key.rotation_days, key.rotation_since = days, utcnow()  # type: ignore[attr-defined]
        return json.dumps(None)

    def get_key_rotation_status(self) -> str:
        key: Any = self._key()
        told: dict[str, Any] = {"KeyId": key.id, "KeyRotationEnabled": key.key_rotation_status}
        if key.key_rotation_status:
            days = getattr(key, "rotation_days", _DEFAULT_DAYS)
            since = getattr(key, "rotation_since", utcnow())
            told |= {
                "RotationPeriodInDays": days,
                "NextRotationDate": unix_time(since + timedelta(days=days)),
            }
        return json.dumps(told)


def install(_host: Host) -> None:
    """Puts this backend and its responses in the place of moto's."""
    kms_backends.backend = KeysBackend
    urls.url_paths = dict.fromkeys(urls.url_paths, _Response.dispatch)
