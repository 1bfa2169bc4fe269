"""Secrets without their values, and the policies that stand with them."""

from typing import Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging
from envs.sandbox.provider.schema import boolean, document, integer, text
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map

_GONE: Final = "ResourceNotFoundException"
_SECRET: Final = {"description": text(), "kmsKeyId": text(), "name": text(computed=True)}
_DAYS: Final = 30


def _add_tags(aws: Aws, identifier: str, _: Args, tags: dict[str, str]) -> None:
    aws.client("secretsmanager").tag_resource(SecretId=identifier, Tags=tag_list(tags))


def _remove_tags(aws: Aws, identifier: str, _: Args, keys: list[str]) -> None:
    aws.client("secretsmanager").untag_resource(SecretId=identifier, TagKeys=keys)


def _create_secret(aws: Aws, args: Args) -> str:
    wanted = request(_SECRET, args)
    return aws.client("secretsmanager").create_secret(**wanted, Tags=tag_list(args.get("tagsAll")))["ARN"]


def _finish_secret(aws: Aws, identifier: str, args: Args) -> None:
    if policy := args.get("policy"):
        aws.client("secretsmanager").put_resource_policy(SecretId=identifier, ResourcePolicy=policy)


def _policy(aws: Aws, identifier: str) -> str | None:
    ask = aws.client("secretsmanager").get_resource_policy
    return (find(lambda: ask(SecretId=identifier), _GONE) or {}).get("ResourcePolicy")


def _read_secret(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = find(lambda: aws.client("secretsmanager").describe_secret(SecretId=identifier), _GONE)
    # One that waits for its end can be restored, but counts as gone.
    if found is None or found.get("DeletedDate"):
        return None
    return {
        **answer(_SECRET, found),
        "policy": _policy(aws, identifier),
        "arn": found["ARN"],
        "tagsAll": tag_map(found.get("Tags")),
    }


def _update_secret(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    secrets = aws.client("secretsmanager")
    if changed & {"description", "kmsKeyId"}:
        wanted = request(_SECRET, new, ("kmsKeyId",))
        secrets.update_secret(SecretId=identifier, Description=new.get("description", ""), **wanted)
    if "policy" in changed:
        if new.get("policy"):
            _finish_secret(aws, identifier, new)
        else:
            secrets.delete_resource_policy(SecretId=identifier)


def _delete_secret(aws: Aws, identifier: str, state: Args) -> None:
    days = state.get("recoveryWindowInDays", _DAYS)
    how = {"RecoveryWindowInDays": days} if days else {"ForceDeleteWithoutRecovery": True}
    with ignoring(_GONE):
        aws.client("secretsmanager").delete_secret(SecretId=identifier, **how)


SECRET: Final = Resource(
    type_name="aws:secretsmanager/secret:Secret",
    inputs={
        **_SECRET,
        "policy": document(computed=True),
        "recoveryWindowInDays": integer(default=_DAYS, write_only=True),
    },
    outputs=("arn",),
    replaces={"name": "internal/service/secretsmanager/secret.go"},
    create=_create_secret,
    finish=_finish_secret,
    read=_read_secret,
    update=_update_secret,
    delete=_delete_secret,
    tagging=Tagging(_add_tags, _remove_tags),
    name=AutoName(longest=512),
)


# Policy ---------------------------------------------------------------------------------------------------------


def _put_policy(aws: Aws, args: Args) -> str:
    aws.client("secretsmanager").put_resource_policy(
        SecretId=args["secretArn"],
        ResourcePolicy=args["policy"],
        BlockPublicPolicy=args.get("blockPublicPolicy", False),
    )
    return args["secretArn"]


def _read_policy(aws: Aws, identifier: str, _: Args) -> Args | None:
    policy = _policy(aws, identifier)
    return {"secretArn": identifier, "policy": policy} if policy else None


def _update_policy(aws: Aws, _: str, __: Args, new: Args, ___: set[str]) -> None:
    _put_policy(aws, new)


def _delete_policy(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring(_GONE):
        aws.client("secretsmanager").delete_resource_policy(SecretId=identifier)


SECRET_POLICY: Final = Resource(
    type_name="aws:secretsmanager/secretPolicy:SecretPolicy",
    inputs={
        "blockPublicPolicy": boolean(write_only=True),
        "policy": document(required=True),
        "secretArn": text(required=True),
    },
    outputs=(),
    replaces={"secretArn": "internal/service/secretsmanager/secret_policy.go"},
    create=_put_policy,
    read=_read_policy,
    update=_update_policy,
    delete=_delete_policy,
    identity=("secretArn",),
)

RESOURCES: Final = (SECRET, SECRET_POLICY)
