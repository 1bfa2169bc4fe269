"""Grants: what one principal may do with one key, beside the key's policy."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, AutoName, Resource
from envs.sandbox.provider.schema import boolean, text, unordered
from envs.sandbox.provider.translate import answer, request

_SOURCE: Final = "internal/service/kms/grant.go"
_GRANT: Final = {
    "granteePrincipal": text(required=True),
    "keyId": text(required=True),
    "name": text(computed=True),
    "operations": unordered(text(), required=True),
    "retiringPrincipal": text(),
}


def _parts(identifier: str) -> tuple[str, str]:
    """Key and grant of ``<key id or ARN>:<grant id>``."""
    key, _, grant = identifier.rpartition(":")
    return key, grant


def _create(aws: Aws, args: Args) -> str:
    return f"{args['keyId']}:{aws.client('kms').create_grant(**request(_GRANT, args))['GrantId']}"


def _grant(aws: Aws, identifier: str) -> dict[str, Any] | None:
    key, grant = _parts(identifier)
    # A grant that is not there yet, or no more, is an empty list; only a missing key is an error.
    told = find(lambda: aws.client("kms").list_grants(KeyId=key, GrantId=grant)["Grants"], "NotFoundException")
    return told[0] if told else None


def _read(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _grant(aws, identifier)
    key, grant = _parts(identifier)
    return found and {
        **answer(_GRANT, found),
        "keyId": key,
        "grantId": grant,
        # Only CreateGrant tells it, and it is of use for the first five minutes only.
        "grantToken": "",
    }


def _delete(aws: Aws, identifier: str, state: Args) -> None:
    key, grant = _parts(identifier)
    kms = aws.client("kms")
    with ignoring("NotFoundException"):
        (kms.retire_grant if state.get("retireOnDelete") else kms.revoke_grant)(KeyId=key, GrantId=grant)


GRANT: Final = Resource(
    type_name="aws:kms/grant:Grant",
    inputs={**_GRANT, "retireOnDelete": boolean(default=False, write_only=True)},
    outputs=("grantId", "grantToken"),
    replaces=dict.fromkeys((*_GRANT, "retireOnDelete"), _SOURCE),
    create=_create,
    read=_read,
    delete=_delete,
    name=AutoName(),
)

RESOURCES: Final = (GRANT,)
