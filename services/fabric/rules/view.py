"""Reads a configuration as the product does: names without regard to case, numbers as text or as numbers.

The product reads its JSON with Newtonsoft.Json. Whatever is missing or of another kind reads as empty here, so that
one mistake does not hide the others: the rule ``shape`` tells of it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_PLACEHOLDER: Final = re.compile(r"\[[^\[\]]+\]")


def get(mapping: Any, name: str) -> Any:
    """The value under a name; None when there is none."""
    if not isinstance(mapping, Mapping):
        return None
    if name in mapping:
        return mapping[name]
    return next((value for key, value in mapping.items() if str(key).lower() == name.lower()), None)


def text(mapping: Any, name: str) -> str:
    """The value as text; empty when there is none."""
    value = get(mapping, name)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else ""


def number(mapping: Any, name: str) -> int | None:
    """The value as a whole number; None when it is none."""
    try:
        return int(text(mapping, name))
    except ValueError:
        return None


def flag(mapping: Any, name: str) -> bool:
    """Whether the value is true."""
    return text(mapping, name).lower() == "true"


def items(mapping: Any, name: str) -> list[Mapping[str, Any]]:
    """The objects in the list under a name."""
    value = get(mapping, name)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [item for item in value if isinstance(item, Mapping)]


def nodes(configuration: Any) -> list[Mapping[str, Any]]:
    """The nodes."""
    return items(configuration, "nodes")


def properties(configuration: Any) -> Any:
    """The properties."""
    return get(configuration, "properties")


def node_types(configuration: Any) -> list[Mapping[str, Any]]:
    """The node types."""
    return items(properties(configuration), "nodeTypes")


def primary_types(configuration: Any) -> set[str]:
    """The names of the primary node types; a type that shares a machine with one counts as one
    (PropertyOctober2017.cs, UpdateNodeTypesIfNeeded)."""
    chosen = {text(each, "name") for each in node_types(configuration) if flag(each, "isPrimary")}
    machines = {text(node, "iPAddress") for node in nodes(configuration) if text(node, "nodeTypeRef") in chosen}
    beside = {text(node, "nodeTypeRef") for node in nodes(configuration) if text(node, "iPAddress") in machines}
    return chosen | {name for each in node_types(configuration) if (name := text(each, "name")) in beside}


def shares_machines(configuration: Any) -> bool:
    """Whether several nodes stand on one machine, as on a developer's (`IsScaleMin`)."""
    addresses = [text(node, "iPAddress") for node in nodes(configuration)]
    return len(set(addresses)) != len(addresses)


def sections(configuration: Any) -> list[Mapping[str, Any]]:
    """The sections of fabricSettings."""
    return items(properties(configuration), "fabricSettings")


def parameter(configuration: Any, section: str, name: str) -> str | None:
    """One parameter of fabricSettings; None when it is not there."""
    for found in sections(configuration):
        if text(found, "name").lower() == section.lower():
            for each in items(found, "parameters"):
                if text(each, "name").lower() == name.lower():
                    return text(each, "value")
    return None


def repeated(values: Sequence[str]) -> list[str]:
    """What is there more than once, each once."""
    return sorted({value for value in values if values.count(value) > 1})


def placeholders(value: Any, path: str = "") -> Iterator[str]:
    """Where a sample still says ``[Thumbprint]`` or the like: values to be filled in, which break no rule as yet."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from placeholders(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from placeholders(item, f"{path}[{at}]")
    elif is_placeholder(value):
        yield path


def is_placeholder(value: Any) -> bool:
    """Whether a value is one that a sample leaves to be filled in."""
    return isinstance(value, str) and _PLACEHOLDER.fullmatch(value) is not None
