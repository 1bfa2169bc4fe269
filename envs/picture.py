"""The picture of an environment, drawn from what is deployed: components, what is in them, who needs whom."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

_COMPONENT = "fleetstream:"

State = Mapping[str, Any]


def mermaid(resources: Iterable[State]) -> str:
    """A Mermaid flowchart of a stack's resources (`Engine.resources`). An arrow leads to what a component needs.

    Needs that follow from others are left out: of A -> B -> C and A -> C the last arrow.
    """
    by_urn = {str(one["urn"]): one for one in resources}
    inside: dict[str, Counter[str]] = defaultdict(Counter)
    needs: dict[str, set[str]] = defaultdict(set)
    for urn, one in by_urn.items():
        home = _component(urn, by_urn)
        if home is None or not one.get("custom"):
            continue
        inside[home][_kind(str(one["type"]))] += 1
        for dependency in _dependencies(one):
            other = _component(dependency, by_urn)
            if other not in (None, home):
                needs[home].add(other)
    lines = ["flowchart LR"]
    for name in sorted(inside):
        kinds = "<br/>".join(f"{count} {kind}" if count > 1 else kind for kind, count in sorted(inside[name].items()))
        lines.append(f'    {_label(name)}["<b>{name}</b><br/>{kinds}"]')
    for name in sorted(needs):
        lines += [f"    {_label(name)} --> {_label(other)}" for other in sorted(_direct(name, needs))]
    return "\n".join(lines) + "\n"


def _component(urn: str, by_urn: Mapping[str, State]) -> str | None:
    """The outermost component that a resource belongs to."""
    found = None
    while urn in by_urn:
        if str(by_urn[urn]["type"]).startswith(_COMPONENT):
            found = urn.rpartition("::")[2]
        urn = str(by_urn[urn].get("parent", ""))
    return found


def _dependencies(resource: State) -> set[str]:
    by_property = (resource.get("propertyDependencies") or {}).values()
    return {*(resource.get("dependencies") or ()), *(urn for urns in by_property for urn in urns or ())}


def _direct(name: str, needs: Mapping[str, set[str]]) -> set[str]:
    """What a component needs and would not get through another one."""
    own = needs.get(name, set())
    return {other for other in own if not any(other in _reached(step, needs) for step in own - {other})}


def _reached(start: str, needs: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = [start]
    while left:
        new = needs.get(left.pop(), set()) - found
        found |= new
        left += new
    return found


def _kind(type_: str) -> str:
    """``aws:ec2/subnet:Subnet`` as ``ec2 Subnet``."""
    package, _, name = type_.rpartition(":")
    return f"{package.partition(':')[2].partition('/')[0]} {name}"


def _label(name: str) -> str:
    return name.replace("-", "_")
