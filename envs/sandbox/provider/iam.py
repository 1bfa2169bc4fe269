"""Roles and their inline policies."""

import json
from typing import Any, Final
from urllib.parse import unquote

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging
from envs.sandbox.provider.schema import boolean, document, integer, text, unordered
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map

_ROLE_SOURCE: Final = "internal/service/iam/role.go"
_POLICY_SOURCE: Final = "internal/service/iam/role_policy.go"
_ROLE: Final = {
    "assumeRolePolicy": document(required=True, api="AssumeRolePolicyDocument"),
    "description": text(),
    "forceDetachPolicies": boolean(default=False, write_only=True),
    "managedPolicyArns": unordered(text(), computed=True),
    "maxSessionDuration": integer(default=3600),
    "name": text(computed=True, api="RoleName"),
    "path": text(default="/"),
    "permissionsBoundary": text(api="PermissionsBoundary.PermissionsBoundaryArn"),
}


def _add_tags(aws: Aws, identifier: str, _: Args, tags: dict[str, str]) -> None:
    aws.client("iam").tag_role(RoleName=identifier, Tags=tag_list(tags))


def _remove_tags(aws: Aws, identifier: str, _: Args, keys: list[str]) -> None:
    aws.client("iam").untag_role(RoleName=identifier, TagKeys=keys)


def _json(told: Any) -> str:
    """A policy as text: boto3 gives it decoded or still URL-encoded."""
    return unquote(told) if isinstance(told, str) else json.dumps(told)


def _create_role(aws: Aws, args: Args) -> str:
    wanted = request(_ROLE, args, ("assumeRolePolicy", "description", "maxSessionDuration", "name", "path"))
    wanted |= {"PermissionsBoundary": args["permissionsBoundary"]} if args.get("permissionsBoundary") else {}
    aws.client("iam").create_role(**wanted, Tags=tag_list(args.get("tagsAll")))
    return args["name"]


def _finish_role(aws: Aws, identifier: str, args: Args) -> None:
    for arn in args.get("managedPolicyArns") or ():
        aws.client("iam").attach_role_policy(RoleName=identifier, PolicyArn=arn)


def _read_role(aws: Aws, identifier: str, _: Args) -> Args | None:
    iam = aws.client("iam")
    found = find(lambda: iam.get_role(RoleName=identifier)["Role"], "NoSuchEntity")
    if found is None:
        return None
    attached = iam.list_attached_role_policies(RoleName=identifier)["AttachedPolicies"]
    return {
        **answer(_ROLE, found, ("description", "maxSessionDuration", "name", "path", "permissionsBoundary")),
        "assumeRolePolicy": _json(found["AssumeRolePolicyDocument"]),
        "managedPolicyArns": sorted(policy["PolicyArn"] for policy in attached),
        "arn": found["Arn"],
        "createDate": found["CreateDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "uniqueId": found["RoleId"],
        "tagsAll": tag_map(found.get("Tags")),
    }


def _update_role(aws: Aws, identifier: str, old: Args, new: Args, changed: set[str]) -> None:
    iam = aws.client("iam")
    if "assumeRolePolicy" in changed:
        iam.update_assume_role_policy(RoleName=identifier, PolicyDocument=new["assumeRolePolicy"])
    if changed & {"description", "maxSessionDuration"}:
        about = {"Description": new.get("description") or "", "MaxSessionDuration": new["maxSessionDuration"]}
        iam.update_role(RoleName=identifier, **about)
    if "permissionsBoundary" in changed:
        if boundary := new.get("permissionsBoundary"):
            iam.put_role_permissions_boundary(RoleName=identifier, PermissionsBoundary=boundary)
        else:
            iam.delete_role_permissions_boundary(RoleName=identifier)
    if "managedPolicyArns" in changed:
        had, wanted = set(old.get("managedPolicyArns") or ()), set(new.get("managedPolicyArns") or ())
        for arn in sorted(had - wanted):
            iam.detach_role_policy(RoleName=identifier, PolicyArn=arn)
        for arn in sorted(wanted - had):
            iam.attach_role_policy(RoleName=identifier, PolicyArn=arn)


def _delete_role(aws: Aws, identifier: str, state: Args) -> None:
    iam = aws.client("iam")
    with ignoring("NoSuchEntity"):
        if state.get("forceDetachPolicies") or state.get("managedPolicyArns"):
            for policy in iam.list_attached_role_policies(RoleName=identifier)["AttachedPolicies"]:
                iam.detach_role_policy(RoleName=identifier, PolicyArn=policy["PolicyArn"])
        if state.get("forceDetachPolicies"):
            for name in iam.list_role_policies(RoleName=identifier)["PolicyNames"]:
                iam.delete_role_policy(RoleName=identifier, PolicyName=name)
        iam.delete_role(RoleName=identifier)


ROLE: Final = Resource(
    type_name="aws:iam/role:Role",
    inputs=_ROLE,
    outputs=("arn", "createDate", "uniqueId"),
    replaces=dict.fromkeys(("name", "path"), _ROLE_SOURCE),
    create=_create_role,
    finish=_finish_role,
    read=_read_role,
    update=_update_role,
    delete=_delete_role,
    tagging=Tagging(_add_tags, _remove_tags),
    name=AutoName(longest=64),
    regional=False,
)


# Role policy ----------------------------------------------------------------------------------------------------


def _put_policy(aws: Aws, args: Args) -> str:
    wanted = {"RoleName": args["role"], "PolicyName": args["name"], "PolicyDocument": args["policy"]}
    aws.client("iam").put_role_policy(**wanted)
    return f"{args['role']}:{args['name']}"


def _read_policy(aws: Aws, identifier: str, __: Args) -> Args | None:
    role, _, name = identifier.partition(":")
    found = find(lambda: aws.client("iam").get_role_policy(RoleName=role, PolicyName=name), "NoSuchEntity")
    return found and {"role": role, "name": name, "policy": _json(found["PolicyDocument"])}


def _update_policy(aws: Aws, _: str, __: Args, new: Args, ___: set[str]) -> None:
    _put_policy(aws, new)


def _delete_policy(aws: Aws, identifier: str, __: Args) -> None:
    role, _, name = identifier.partition(":")
    with ignoring("NoSuchEntity"):
        aws.client("iam").delete_role_policy(RoleName=role, PolicyName=name)


ROLE_POLICY: Final = Resource(
    type_name="aws:iam/rolePolicy:RolePolicy",
    inputs={"name": text(computed=True), "policy": document(required=True), "role": text(required=True)},
    outputs=(),
    replaces=dict.fromkeys(("name", "role"), _POLICY_SOURCE),
    create=_put_policy,
    read=_read_policy,
    update=_update_policy,
    delete=_delete_policy,
    name=AutoName(longest=128),
    identity=("name", "role"),
    regional=False,
)

RESOURCES: Final = (ROLE, ROLE_POLICY)
