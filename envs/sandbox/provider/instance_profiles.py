"""Instance profiles: how an instance gets its role."""

from typing import Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging
from envs.sandbox.provider.schema import text
from envs.sandbox.provider.translate import tag_list, tag_map

_SOURCE: Final = "internal/service/iam/instance_profile.go"


def _add_tags(aws: Aws, identifier: str, _: Args, tags: dict[str, str]) -> None:
    aws.client("iam").tag_instance_profile(InstanceProfileName=identifier, Tags=tag_list(tags))


def _remove_tags(aws: Aws, identifier: str, _: Args, keys: list[str]) -> None:
    aws.client("iam").untag_instance_profile(InstanceProfileName=identifier, TagKeys=keys)


def _create(aws: Aws, args: Args) -> str:
    tags = {"Tags": tag_list(args["tagsAll"])} if args.get("tagsAll") else {}
    aws.client("iam").create_instance_profile(InstanceProfileName=args["name"], Path=args["path"], **tags)
    return args["name"]


def _finish(aws: Aws, identifier: str, args: Args) -> None:
    if args.get("role"):
        aws.client("iam").add_role_to_instance_profile(InstanceProfileName=identifier, RoleName=args["role"])


def _read(aws: Aws, identifier: str, _: Args) -> Args | None:
    iam = aws.client("iam")
    found = find(lambda: iam.get_instance_profile(InstanceProfileName=identifier)["InstanceProfile"], "NoSuchEntity")
    return found and {
        "name": found["InstanceProfileName"],
        "path": found["Path"],
        "role": next((role["RoleName"] for role in found["Roles"]), None),
        "arn": found["Arn"],
        "createDate": found["CreateDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "uniqueId": found["InstanceProfileId"],
        "tagsAll": tag_map(found.get("Tags")),
    }


def _update(aws: Aws, identifier: str, old: Args, new: Args, _: set[str]) -> None:
    # A profile holds one role: the old one goes first.
    _remove_role(aws, identifier, old)
    _finish(aws, identifier, new)


def _remove_role(aws: Aws, identifier: str, state: Args) -> None:
    if state.get("role"):
        with ignoring("NoSuchEntity"):
            aws.client("iam").remove_role_from_instance_profile(
                InstanceProfileName=identifier, RoleName=state["role"]
            )


def _delete(aws: Aws, identifier: str, state: Args) -> None:
    _remove_role(aws, identifier, state)
    with ignoring("NoSuchEntity"):
        aws.client("iam").delete_instance_profile(InstanceProfileName=identifier)


INSTANCE_PROFILE: Final = Resource(
    type_name="aws:iam/instanceProfile:InstanceProfile",
    inputs={"name": text(computed=True), "path": text(default="/"), "role": text()},
    outputs=("arn", "createDate", "uniqueId"),
    replaces=dict.fromkeys(("name", "path"), _SOURCE),
    create=_create,
    finish=_finish,
    read=_read,
    update=_update,
    delete=_delete,
    tagging=Tagging(_add_tags, _remove_tags),
    name=AutoName(longest=128),
    regional=False,
)

RESOURCES: Final = (INSTANCE_PROFILE,)
