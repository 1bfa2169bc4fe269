"""Keys and their aliases."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging
from envs.sandbox.provider.schema import boolean, document, integer, text
from envs.sandbox.provider.translate import answer, request

_KEY_SOURCE: Final = "internal/service/kms/key.go"
_KEY: Final = {
    "bypassPolicyLockoutSafetyCheck": boolean(default=False, write_only=True),
    "customerMasterKeySpec": text(default="SYMMETRIC_DEFAULT", api="KeySpec"),
    "deletionWindowInDays": integer(write_only=True, api="PendingWindowInDays"),
    "description": text(computed=True),
    "enableKeyRotation": boolean(default=False),
    "isEnabled": boolean(default=True, api="Enabled"),
    "keyUsage": text(default="ENCRYPT_DECRYPT"),
    "multiRegion": boolean(computed=True),
    "policy": document(computed=True),
    "rotationPeriodInDays": integer(computed=True),
}
_AT_CREATION: Final = (
    "bypassPolicyLockoutSafetyCheck",
    "customerMasterKeySpec",
    "description",
    "keyUsage",
    "multiRegion",
    "policy",
)


def _tags(tags: dict[str, str] | None) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": value} for key, value in (tags or {}).items()]


def _add_tags(aws: Aws, identifier: str, _: Args, tags: dict[str, str]) -> None:
    aws.client("kms").tag_resource(KeyId=identifier, Tags=_tags(tags))


def _remove_tags(aws: Aws, identifier: str, _: Args, keys: list[str]) -> None:
    aws.client("kms").untag_resource(KeyId=identifier, TagKeys=keys)


def _create_key(aws: Aws, args: Args) -> str:
    wanted = request(_KEY, args, _AT_CREATION)
    return aws.client("kms").create_key(**wanted, Tags=_tags(args.get("tagsAll")))["KeyMetadata"]["KeyId"]


def _finish_key(aws: Aws, identifier: str, args: Args) -> None:
    if args.get("enableKeyRotation"):
        _rotate(aws, identifier, args)
    if args.get("isEnabled") is False:
        aws.client("kms").disable_key(KeyId=identifier)


def _rotate(aws: Aws, identifier: str, args: Args) -> None:
    if args.get("enableKeyRotation"):
        aws.client("kms").enable_key_rotation(KeyId=identifier, **request(_KEY, args, ("rotationPeriodInDays",)))
    else:
        aws.client("kms").disable_key_rotation(KeyId=identifier)


def _read_key(aws: Aws, identifier: str, _: Args) -> Args | None:
    kms = aws.client("kms")
    found = find(lambda: kms.describe_key(KeyId=identifier)["KeyMetadata"], "NotFoundException")
    # A key that is scheduled for deletion counts as deleted (`findKeyByID` in the official provider).
    if found is None or found["KeyState"] in ("PendingDeletion", "PendingReplicaDeletion"):
        return None
    rotation = kms.get_key_rotation_status(KeyId=identifier)
    return {
        **answer(_KEY, found, ("customerMasterKeySpec", "description", "isEnabled", "keyUsage", "multiRegion")),
        "enableKeyRotation": rotation["KeyRotationEnabled"],
        "rotationPeriodInDays": rotation.get("RotationPeriodInDays"),
        "policy": kms.get_key_policy(KeyId=identifier, PolicyName="default")["Policy"],
        "arn": found["Arn"],
        "keyId": found["KeyId"],
        "tagsAll": {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=identifier)["Tags"]},
    }


def _update_key(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    kms = aws.client("kms")
    # A disabled key cannot be changed: enabling comes first, disabling last.
    if "isEnabled" in changed and new.get("isEnabled"):
        kms.enable_key(KeyId=identifier)
    if changed & {"enableKeyRotation", "rotationPeriodInDays"}:
        _rotate(aws, identifier, new)
    if "description" in changed:
        kms.update_key_description(KeyId=identifier, Description=new.get("description") or "")
    if "policy" in changed:
        kms.put_key_policy(
            KeyId=identifier, PolicyName="default", **request(_KEY, new, ("policy", "bypassPolicyLockoutSafetyCheck"))
        )
    if "isEnabled" in changed and not new.get("isEnabled"):
        kms.disable_key(KeyId=identifier)


def _delete_key(aws: Aws, identifier: str, state: Args) -> None:
    with ignoring("NotFoundException", "KMSInvalidStateException"):
        aws.client("kms").schedule_key_deletion(KeyId=identifier, **request(_KEY, state, ("deletionWindowInDays",)))


KEY: Final = Resource(
    type_name="aws:kms/key:Key",
    inputs=_KEY,
    outputs=("arn", "keyId"),
    replaces=dict.fromkeys(("customerMasterKeySpec", "keyUsage", "multiRegion"), _KEY_SOURCE),
    create=_create_key,
    finish=_finish_key,
    read=_read_key,
    update=_update_key,
    delete=_delete_key,
    tagging=Tagging(_add_tags, _remove_tags),
)


# Alias ----------------------------------------------------------------------------------------------------------


def _same_key(old: str, new: str) -> bool:
    """A key by its ARN or by its id (`KeyARNOrIDEqual` in internal/service/kms/arn.go)."""
    return old.rpartition("/")[2] == new.rpartition("/")[2]


def _alias(aws: Aws, name: str) -> dict[str, Any] | None:
    pages = aws.client("kms").get_paginator("list_aliases").paginate()
    return next((alias for page in pages for alias in page["Aliases"] if alias["AliasName"] == name), None)


def _create_alias(aws: Aws, args: Args) -> str:
    aws.client("kms").create_alias(AliasName=args["name"], TargetKeyId=args["targetKeyId"])
    return args["name"]


def _read_alias(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _alias(aws, identifier)
    return found and {
        "name": found["AliasName"],
        "targetKeyId": found["TargetKeyId"],
        "arn": found["AliasArn"],
        "targetKeyArn": aws.arn("kms", f"key/{found['TargetKeyId'].rpartition('/')[2]}"),
    }


def _update_alias(aws: Aws, identifier: str, _: Args, new: Args, __: set[str]) -> None:
    aws.client("kms").update_alias(AliasName=identifier, TargetKeyId=new["targetKeyId"])


def _delete_alias(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("NotFoundException"):
        aws.client("kms").delete_alias(AliasName=identifier)


ALIAS: Final = Resource(
    type_name="aws:kms/alias:Alias",
    inputs={"name": text(computed=True), "targetKeyId": text(required=True, same=_same_key)},
    outputs=("arn", "targetKeyArn"),
    replaces={"name": "internal/service/kms/alias.go"},
    create=_create_alias,
    read=_read_alias,
    update=_update_alias,
    delete=_delete_alias,
    name=AutoName(longest=256, prefix="alias/"),
    recomputed_by={"targetKeyArn": ("targetKeyId",)},
)

RESOURCES: Final = (KEY, ALIAS)
