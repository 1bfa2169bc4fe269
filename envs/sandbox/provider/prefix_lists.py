"""Managed prefix lists: named sets of address ranges."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.ec2 import TAGGING, specifications
from envs.sandbox.provider.errors import ProviderError
from envs.sandbox.provider.resource import Args, AutoName, Resource
from envs.sandbox.provider.schema import block, integer, text, unordered
from envs.sandbox.provider.translate import answer, request, tag_map

_SOURCE: Final = "internal/service/ec2/vpc_managed_prefix_list.go"
_MINUTES: Final = 15.0
_ENTRY: Final = {"cidr": text(required=True), "description": text()}
_LIST: Final = {
    "addressFamily": text(required=True),
    "maxEntries": integer(required=True),
    "name": text(computed=True, api="PrefixListName"),
}


def _create(aws: Aws, args: Args) -> str:
    wanted = request(_LIST, args) | {"Entries": [request(_ENTRY, entry) for entry in args.get("entries") or []]}
    made = aws.client("ec2").create_managed_prefix_list(**wanted, **specifications("prefix-list", args))
    return made["PrefixList"]["PrefixListId"]


def _finish(aws: Aws, identifier: str, _: Args) -> None:
    _wait(aws, identifier, "create")


def _wait(aws: Aws, identifier: str, work: str) -> None:
    """Until AWS has done it. Raises `ProviderError` with AWS's reason when it could not."""

    def is_done() -> bool:
        found = _list(aws, identifier) or {}
        if found.get("State") == f"{work}-failed":
            raise ProviderError(f"prefix list {identifier}: {work}-failed: {found.get('StateMessage')}")
        return found.get("State") == f"{work}-complete"

    aws.wait(f"prefix list {identifier} is {work}-complete", is_done, _MINUTES)


def _list(aws: Aws, identifier: str) -> dict[str, Any] | None:
    describe = aws.client("ec2").describe_managed_prefix_lists
    found = find(lambda: describe(PrefixListIds=[identifier])["PrefixLists"], "InvalidPrefixListID.NotFound")
    # A deleted list is shown for a while.
    return found[0] if found and found[0]["State"] != "delete-complete" else None


def _read(aws: Aws, identifier: str, _: Args) -> Args | None:
    found = _list(aws, identifier)
    if found is None:
        return None
    entries = aws.client("ec2").get_managed_prefix_list_entries(PrefixListId=identifier)["Entries"]
    return {
        **answer(_LIST, found),
        "entries": [answer(_ENTRY, entry) for entry in entries],
        "arn": found["PrefixListArn"],
        "ownerId": found["OwnerId"],
        "version": found["Version"],
        "tagsAll": tag_map(found.get("Tags")),
    }


def _update(aws: Aws, identifier: str, old: Args, new: Args, changed: set[str]) -> None:
    # Size and entries cannot change in one call: room is made before entries come, and given up after they went.
    grows = "maxEntries" in changed and new["maxEntries"] > old["maxEntries"]
    if grows:
        _modify(aws, identifier, MaxEntries=new["maxEntries"])
    if "name" in changed:
        aws.client("ec2").modify_managed_prefix_list(PrefixListId=identifier, PrefixListName=new["name"])
    if "entries" in changed:
        _set_entries(aws, identifier, old.get("entries") or [], new.get("entries") or [])
    if "maxEntries" in changed and not grows:
        _modify(aws, identifier, MaxEntries=new["maxEntries"])


def _set_entries(aws: Aws, identifier: str, old: list[Args], new: list[Args]) -> None:
    removed = [{"Cidr": entry["cidr"]} for entry in old if entry not in new]
    added = [request(_ENTRY, entry) for entry in new if entry not in old]
    # A range whose description changes must be gone before it comes again: AWS refuses both in one call.
    again = {entry["Cidr"] for entry in added}
    for change in (
        {"RemoveEntries": [entry for entry in removed if entry["Cidr"] in again]},
        {"RemoveEntries": [entry for entry in removed if entry["Cidr"] not in again], "AddEntries": added},
    ):
        if wanted := {name: entries for name, entries in change.items() if entries}:
            version = (_list(aws, identifier) or {}).get("Version")
            _modify(aws, identifier, CurrentVersion=version, **wanted)


def _modify(aws: Aws, identifier: str, **change: Any) -> None:
    aws.client("ec2").modify_managed_prefix_list(PrefixListId=identifier, **change)
    _wait(aws, identifier, "modify")


def _delete(aws: Aws, identifier: str, _: Args) -> None:
    def is_gone() -> bool:
        found = _list(aws, identifier)
        if found and found["State"] == "delete-failed":
            raise ProviderError(f"prefix list {identifier}: delete-failed: {found.get('StateMessage')}")
        return found is None

    with ignoring("InvalidPrefixListID.NotFound"):
        aws.client("ec2").delete_managed_prefix_list(PrefixListId=identifier)
    aws.wait(f"prefix list {identifier} is gone", is_gone, _MINUTES)


PREFIX_LIST: Final = Resource(
    type_name="aws:ec2/managedPrefixList:ManagedPrefixList",
    inputs={**_LIST, "entries": unordered(block(_ENTRY), computed=True)},
    outputs=("arn", "ownerId", "version"),
    replaces={"addressFamily": _SOURCE},
    create=_create,
    finish=_finish,
    read=_read,
    update=_update,
    delete=_delete,
    tagging=TAGGING,
    name=AutoName(longest=255),
    recomputed_by={"version": ("entries",)},
)

RESOURCES: Final = (PREFIX_LIST,)
