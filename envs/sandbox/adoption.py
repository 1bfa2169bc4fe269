"""What a cut-off update had made without noting it is taken into the stack's state, by the provider's journal.

The engine notes a creation as pending before it asks for it. Where the journal knows what became of it, the pending
operation, which is the resource without its id, becomes a resource: the account keeps everything, and the state knows
all of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envs.sandbox.provider.journal import Creation


@dataclass(frozen=True)
class Adoption:
    """The state as it should be, and the URNs of what it took in; `unfinished` are those that were half made."""

    state: dict[str, Any]
    adopted: list[str]
    unfinished: list[str]


def adopt(state: Mapping[str, Any], creations: Sequence[Creation]) -> Adoption:
    """Every pending creation becomes a resource when it was carried out, and is forgotten when it was not."""
    deployment = state["deployment"]
    resources = [*(deployment.get("resources") or [])]
    known = _ids(state)
    last = {creation.urn: creation for creation in creations}
    adopted, unfinished = [], []
    for pending in _pending(state):
        made = last.get(pending["urn"])
        if made is None or made.identifier is None or (made.urn, made.identifier) in known:
            continue
        resource = {**pending, "id": made.identifier, "outputs": pending.get("inputs", {})}
        adopted.append(made.urn)
        if not made.ended:
            # The engine then has the provider finish it with the next `up`.
            resource["initErrors"] = ["cut off before it was ready"]
            unfinished.append(made.urn)
        resources = _put(resources, resource)
    rest = [each for each in deployment.get("pending_operations") or [] if each["type"] != "creating"]
    whole = {**deployment, "resources": resources, "pending_operations": rest}
    return Adoption({**state, "deployment": whole}, adopted, unfinished)


def undecided(state: Mapping[str, Any], creations: Sequence[Creation], provider_died: bool) -> list[str]:
    """The URNs of what may exist, or does, without a way to take it into the state.

    That takes a provider that died at work, or an account that did not answer it.
    """
    known = _ids(state)
    pending = {each["urn"] for each in _pending(state)}
    last = {creation.urn: creation for creation in creations}
    return [
        urn
        for urn, creation in last.items()
        if not creation.ended
        and (urn, creation.identifier) not in known
        and (creation.identifier is None if urn in pending else provider_died)
    ]


def _pending(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    operations = state["deployment"].get("pending_operations") or []
    return [each["resource"] for each in operations if each["type"] == "creating"]


def _ids(state: Mapping[str, Any]) -> set[tuple[str, str | None]]:
    return {(each["urn"], each.get("id")) for each in state["deployment"].get("resources") or []}


def _put(resources: list[dict[str, Any]], new: dict[str, Any]) -> list[dict[str, Any]]:
    """Puts a resource where the engine would: before the one that it replaces, otherwise at the end."""
    for at, old in enumerate(resources):
        if old["urn"] == new["urn"] and not old.get("delete"):
            # `pendingReplacement`: deleted already, and kept in the state for its place alone.
            replaced = [] if old.get("pendingReplacement") else [{**old, "delete": True}]
            return [*resources[:at], new, *replaced, *resources[at + 1 :]]
    return [*resources, new]
