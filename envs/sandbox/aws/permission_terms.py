"""A request as its permissions are asked about, and one permission that it needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from moto.kms.models import Key, kms_backends

_PARTITION: Final = "aws"


@dataclass(frozen=True)
class Asked:
    """A request as its service reads it: `parameters` by their names in it, `headers` in lower case."""

    service: str
    operation: str
    account: str
    region: str
    parameters: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    def arn(self, resource: str) -> str:
        """The ARN of something that belongs to the service that was asked."""
        return f"arn:{_PARTITION}:{self.service}:{self.region}:{self.account}:{resource}"


@dataclass(frozen=True)
class Need:
    """One action on one resource; `attached` is the resource's own policy, `context` its condition keys.

    Of the keys in `complete` (lower case, ``*`` stands for anything) the context tells all that have a value.
    """

    action: str
    resource: str
    attached: str | None = None
    key: bool = False
    context: Mapping[str, str] = field(default_factory=dict)
    complete: frozenset[str] = frozenset()


def kms_need(action: str, key_id: str, account: str, region: str, context: Mapping[str, str]) -> Need | None:
    """The use of a key, by any of its names; None for a key that AWS manages or that does not exist."""
    if not key_is_customers(key_id, account, region) or (key := find_key(key_id, account, region)) is None:
        return None
    return Need(f"kms:{action}", key.arn, key.policy, key=True, context={"kms:CallerAccount": account, **context})


def key_is_customers(key_id: str, account: str, region: str) -> bool:
    """Whether this is a customer's key: one whose policy can be written."""
    key = find_key(key_id, account, region)
    return key is not None and getattr(key, "key_manager", "CUSTOMER") != "AWS"


def find_key(key_id: str, account: str, region: str) -> Key | None:
    """A key by any of its names."""
    backend = kms_backends[account][region]
    try:
        return backend.keys.get(backend.any_id_to_key_id(key_id))
    except (AttributeError, KeyError):
        # What moto makes of an alias that nobody has.
        return None
