"""What the engine intends, resource by resource: from the steps of a preview to what is there before and after."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

Inputs = Mapping[str, Any]

_STATEFUL: Final = Path(__file__).with_name("stateful.yaml")
_GOES: Final = frozenset(("delete", "delete-replaced"))
_REPLACES: Final = frozenset(("replace", "create-replacement", "delete-replaced", "import-replacement"))


@dataclass
class Change:
    """One resource of the stack, and what an update would do to it. ``before`` and ``after`` are its inputs."""

    urn: str
    type: str
    parent: str = ""
    id: str = ""
    operations: set[str] = field(default_factory=set)
    causes: tuple[str, ...] = ()
    """The properties because of which it is replaced."""
    protected: bool = False
    before: Inputs | None = None
    after: Inputs | None = None

    @property
    def name(self) -> str:
        """Its name in the program."""
        return self.urn.rpartition("::")[2]

    @property
    def replaced(self) -> bool:
        """Whether another one takes its place."""
        return bool(self.operations & _REPLACES)

    @property
    def deleted(self) -> bool:
        """Whether nothing takes its place."""
        return "delete" in self.operations

    @property
    def same(self) -> bool:
        """Whether nothing is done to it."""
        return self.operations <= {"same", "read", "refresh"}


@dataclass(frozen=True)
class Loss:
    """A stateful resource that an update would replace or delete."""

    name: str
    type: str
    how: str
    causes: tuple[str, ...]
    what: str
    protected: bool


def changes(steps: Iterable[Mapping[str, Any]]) -> list[Change]:
    """The resources of AWS in a preview's steps (`StepEventMetadata` of the engine's events), in their order.

    A replacement comes as several steps, which become one change. Components and providers are left out.
    """
    found: dict[str, Change] = {}
    for step in steps:
        if not step["type"].startswith("aws:"):
            continue
        change = found.setdefault(step["urn"], Change(step["urn"], step["type"]))
        old, new = step.get("old") or {}, step.get("new") or {}
        change.operations.add(step["op"])
        change.parent = change.parent or (new or old).get("parent", "")
        change.id = change.id or (new or old).get("id", "")
        change.causes = change.causes or tuple(step.get("keys") or ())
        change.protected |= bool(old.get("protect"))
        if old and step["op"] not in ("create", "import"):
            change.before = old.get("inputs") or {}
        if new and step["op"] not in _GOES:
            change.after = new.get("inputs") or {}
        elif step["op"] == "same":
            change.after = change.before
    return list(found.values())


def stateful_types() -> dict[str, str]:
    """The types that hold what cannot be made again, each with what is lost with it."""
    return yaml.safe_load(_STATEFUL.read_text())


def losses(found: Iterable[Change], stateful: Mapping[str, str]) -> list[Loss]:
    """What an update would take away for good, deletions first."""
    lost = [
        Loss(
            name=each.name,
            type=each.type.rpartition(":")[2],
            how="deleted" if each.deleted else "replaced",
            causes=() if each.deleted else each.causes,
            what=stateful[each.type],
            protected=each.protected,
        )
        for each in found
        if each.type in stateful and (each.deleted or each.replaced)
    ]
    return sorted(lost, key=lambda loss: (loss.how, loss.type, loss.name))
