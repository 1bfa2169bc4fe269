"""Made-up inputs for any declared resource type: one of each kind, in two variants that differ."""

from collections.abc import Mapping
from typing import Any

from envs.sandbox.provider.codec import Archive, Asset
from envs.sandbox.provider.schema import Kind, Property


def sample(prop: Property, variant: int = 0) -> Any:
    """A value of a property with everything inside it; another variant is another value everywhere."""
    match prop.kind:
        case Kind.TEXT:
            return f"value-{variant}"
        case Kind.INTEGER:
            return 10 + variant
        case Kind.BOOLEAN:
            return variant == 0
        case Kind.DOCUMENT:
            return f'{{"key": "value-{variant}"}}'
        case Kind.ARCHIVE:
            return Archive(assets={"a.py": Asset(text=str(variant))}, hash=f"hash-{variant}")
        case Kind.ASSET:
            return Asset(text=str(variant), hash=f"hash-{variant}")
        case Kind.MAP:
            return {"key": f"value-{variant}"}
        case Kind.BLOCK:
            return samples(prop.fields, variant)
    assert prop.of
    return [sample(prop.of, variant)]


def samples(fields: Mapping[str, Property], variant: int = 0) -> dict[str, Any]:
    """A value of each property."""
    return {name: sample(prop, variant) for name, prop in fields.items()}


def changed(fields: Mapping[str, Property], values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The values with the property at a generic path (``rules.status``) set to another value."""
    name, _, rest = path.partition(".")
    prop = fields[name]
    if not rest:
        return {**values, name: value}
    if prop.kind is Kind.BLOCK:
        return {**values, name: changed(prop.fields, values[name], rest, value)}
    assert prop.of
    return {**values, name: [changed(prop.of.fields, item, rest, value) for item in values[name]]}
