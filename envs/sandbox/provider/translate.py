"""Inputs in Pulumi's names <-> requests and answers in the names of AWS's API."""

from collections.abc import Iterable, Mapping
from typing import Any

from envs.sandbox.provider.schema import Kind, Property


def request(
    fields: Mapping[str, Property], args: Mapping[str, Any], only: Iterable[str] | None = None
) -> dict[str, Any]:
    """What is set in `args` (of the inputs named in `only`, else of all `fields`), as the API takes it."""
    wanted: dict[str, Any] = {}
    for name in fields if only is None else only:
        if args.get(name) is not None:
            place(wanted, _api(name, fields[name]), _sent(fields[name], args[name]))
    return wanted


def answer(
    fields: Mapping[str, Property], told: Mapping[str, Any], only: Iterable[str] | None = None
) -> dict[str, Any]:
    """The reverse of `request`: what AWS told, as inputs."""
    names = fields if only is None else only
    found = {name: _told(fields[name], _at(told, _api(name, fields[name]))) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def place(target: dict[str, Any], path: str, value: Any) -> None:
    """Sets a value at a dotted place in nested objects."""
    *above, last = path.split(".")
    for step in above:
        target = target.setdefault(step, {})
    target[last] = value


def tag_list(tags: Mapping[str, str] | None) -> list[dict[str, str]]:
    """Tags as most of AWS's APIs take them."""
    return [{"Key": name, "Value": content} for name, content in (tags or {}).items()]


def tag_map(tags: list[dict[str, str]] | None) -> dict[str, str]:
    """Tags as most of AWS's APIs tell them, as a map."""
    return {tag["Key"]: tag.get("Value", "") for tag in tags or []}


def _api(name: str, prop: Property) -> str:
    return prop.api or name[0].upper() + name[1:]


def _at(told: Any, path: str) -> Any:
    for step in path.split("."):
        told = told.get(step) if isinstance(told, Mapping) else None
    return told


def _sent(prop: Property, value: Any) -> Any:
    match prop.kind:
        case Kind.BLOCK:
            return request(prop.fields, value)
        case Kind.LIST | Kind.SET if prop.of:
            return [_sent(prop.of, item) for item in value]
    return value


def _told(prop: Property, value: Any) -> Any:
    match prop.kind:
        case Kind.BLOCK if isinstance(value, Mapping):
            return answer(prop.fields, value) or None
        case Kind.LIST | Kind.SET if prop.of and value is not None:
            return [_told(prop.of, item) for item in value]
    return value
