"""The provider's own settings: what a stack may say, and the instance that comes of it."""

import functools
import json
import os
from collections.abc import Mapping
from typing import Any, Final

from envs.sandbox.provider.aws import Aws, Clients
from envs.sandbox.provider.codec import UNKNOWN
from envs.sandbox.provider.errors import ProviderError

_KNOWN: Final = ("allowedAccountIds", "defaultTags", "region")
_NO_EFFECT: Final = ("skipCredentialsValidation", "skipRegionValidation", "version")
"""What the SDK always sends; nothing here depends on it."""
_NOT_EMULATED: Final = (
    "must be exactly [{account!r}], the number of the emulated account: this provider works on a sandbox and refuses "
    "stacks that were not made for one. For a sandbox, set the account in the stack's settings; for a real AWS "
    "account, run the engine without PULUMI_DEBUG_PROVIDERS"
)


def check(values: Mapping[str, Any], account: str) -> list[tuple[str, str]]:
    """What is wrong with the settings, as (setting, reason)."""
    failures = [
        (name, f"is not emulated by the sandbox's aws provider, which knows {', '.join(_KNOWN)}: leave it out")
        for name, value in values.items()
        if name not in (*_KNOWN, *_NO_EFFECT) and not name.startswith("__") and value not in (None, "")
    ]
    if not isinstance(_region(values), str):
        failures.append(("region", "is missing or not known before the update: set aws:region"))
    if _parsed(values, "allowedAccountIds") != [account]:
        failures.append(("allowedAccountIds", _NOT_EMULATED.format(account=account)))
    tags = _parsed(values, "defaultTags")
    if tags is not None and (not isinstance(tags, dict) or set(tags) - {"tags"}):
        failures.append(("defaultTags", "must be an object with only `tags`, known before the update"))
    return failures


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The settings that differ, and those of them that make every resource another one."""
    changed = [name for name in _KNOWN if old.get(name) != new.get(name)]
    return changed, [name for name in changed if name == "region"]


def instance(values: Mapping[str, Any], account: str) -> Aws:
    """What the resources of one configured provider instance work with. Raises `ProviderError`."""
    if failures := check(values, account):
        raise ProviderError("; ".join(f"{name} {reason}" for name, reason in failures))
    region = str(_region(values))
    tags = (_parsed(values, "defaultTags") or {}).get("tags") or {}
    return Aws(account, region, tags, _clients(region, os.environ.get("AWS_ENDPOINT_URL", "")))


@functools.lru_cache(maxsize=16)
def _clients(region: str, _endpoint: str) -> Clients:
    return Clients(region)


def _region(values: Mapping[str, Any]) -> Any:
    return values.get("region") or os.environ.get("AWS_REGION")


def _parsed(values: Mapping[str, Any], name: str) -> Any:
    """A structured setting arrives as JSON text."""
    value = values.get(name)
    if value is UNKNOWN or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
