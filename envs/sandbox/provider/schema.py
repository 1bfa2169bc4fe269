"""What the inputs of a resource may look like, and checking that they do."""

import enum
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from envs.sandbox.provider.codec import UNKNOWN, Archive, Asset, Output, Secret, plain


class Kind(enum.Enum):
    """The shapes of a property."""

    TEXT = enum.auto()
    INTEGER = enum.auto()
    BOOLEAN = enum.auto()
    DOCUMENT = enum.auto()
    LIST = enum.auto()
    SET = enum.auto()
    MAP = enum.auto()
    BLOCK = enum.auto()
    ARCHIVE = enum.auto()
    ASSET = enum.auto()


@dataclass(frozen=True)
class Property:
    """One input. Make it with the functions below."""

    kind: Kind
    required: bool = False
    default: Any = None
    """What the official provider sends when the program says nothing."""
    computed: bool = False
    """AWS decides when the program says nothing: absence is no difference."""
    write_only: bool = False
    """AWS never tells it back: state keeps what was sent."""
    same: Callable[[Any, Any], bool] | None = None
    """Other spellings of the same value, beyond equality."""
    api: str | None = None
    """The name in AWS's API, if not the capitalised one; ``Iam.Enabled`` is a place in a nested object."""
    of: "Property | None" = None
    fields: Mapping[str, "Property"] = field(default_factory=dict)


def text(**options: Any) -> Property:
    """A string."""
    return Property(Kind.TEXT, **options)


def integer(**options: Any) -> Property:
    """A whole number."""
    return Property(Kind.INTEGER, **options)


def boolean(**options: Any) -> Property:
    """True or false."""
    return Property(Kind.BOOLEAN, **options)


def document(**options: Any) -> Property:
    """JSON as a string: compared by meaning, IAM policies by IAM's rules."""
    return Property(Kind.DOCUMENT, **options)


def sequence(of: Property, **options: Any) -> Property:
    """A list whose order matters."""
    return Property(Kind.LIST, of=of, **options)


def unordered(of: Property, **options: Any) -> Property:
    """A list whose order does not matter, such as subnets or security groups."""
    return Property(Kind.SET, of=of, **options)


def mapping(of: Property, **options: Any) -> Property:
    """Values by free names, such as tags."""
    return Property(Kind.MAP, of=of, **options)


def block(fields: Mapping[str, Property], **options: Any) -> Property:
    """An object with known properties."""
    return Property(Kind.BLOCK, fields=fields, **options)


def archive(**options: Any) -> Property:
    """Files, such as the code of a function."""
    return Property(Kind.ARCHIVE, write_only=True, **options)


def asset(**options: Any) -> Property:
    """One file, such as an object's content."""
    return Property(Kind.ASSET, write_only=True, **options)


@dataclass(frozen=True)
class Failure:
    """A property that was refused, and why."""

    path: str
    reason: str


_ACCEPTED: Final[Mapping[Kind, tuple[type, str]]] = {
    Kind.TEXT: (str, "a string"),
    Kind.INTEGER: (int, "a whole number"),
    Kind.BOOLEAN: (bool, "a boolean"),
    Kind.DOCUMENT: (str, "a JSON document"),
    Kind.LIST: (list, "a list"),
    Kind.SET: (list, "a list"),
    Kind.MAP: (dict, "a map"),
    Kind.BLOCK: (dict, "an object"),
    Kind.ARCHIVE: (Archive, "an archive"),
    Kind.ASSET: (Asset, "an asset"),
}


def check(prop: Property, value: Any, path: str, failures: list[Failure], hint: str) -> Any:
    """The value with its defaults filled in; what is wrong is added to `failures`, with a `hint` on what to do."""
    match value:
        case Secret():
            return Secret(check(prop, value.value, path, failures, hint))
        case Output():
            return replace(value, value=check(prop, value.value, path, failures, hint))
    if value is UNKNOWN:
        return value
    value = _converted(prop.kind, value)
    words = _ACCEPTED[prop.kind][1]
    if not _fits(prop.kind, value):
        failures.append(Failure(path, f"must be {words}, not {_describe(value)}"))
    elif prop.kind is Kind.BLOCK:
        return check_fields(prop.fields, value, path, failures, hint)
    elif prop.kind is Kind.MAP and prop.of:
        return {key: check(prop.of, item, join(path, key), failures, hint) for key, item in value.items()}
    elif prop.kind in (Kind.LIST, Kind.SET) and prop.of:
        return [check(prop.of, item, f"{path}[{at}]", failures, hint) for at, item in enumerate(value)]
    elif prop.kind is Kind.DOCUMENT:
        try:
            json.loads(value)
        except ValueError as error:
            failures.append(Failure(path, f"must be {words}: {error}"))
    return value


def check_fields(
    fields: Mapping[str, Property], values: Mapping[str, Any], path: str, failures: list[Failure], hint: str
) -> dict[str, Any]:
    """As `check`, for the properties of a resource or of a block."""
    checked: dict[str, Any] = {}
    for name, value in values.items():
        here = join(path, name) if path else name
        if plain(value) is None:
            continue
        if name in fields:
            checked[name] = check(fields[name], value, here, failures, hint)
        else:
            failures.append(Failure(here, f"is not emulated. Known here: {', '.join(sorted(fields))}. {hint}"))
    for name, prop in fields.items():
        if name in checked:
            continue
        if prop.default is not None:
            checked[name] = prop.default
        elif prop.required:
            failures.append(Failure(join(path, name) if path else name, "is required and missing"))
    return checked


def paths(fields: Mapping[str, Property], above: str = "") -> Iterator[tuple[str, Property]]:
    """Every property, nested ones included, by its generic path."""
    for name, prop in fields.items():
        here = f"{above}.{name}" if above else name
        yield here, prop
        inner = prop.of if prop.of and prop.of.kind is Kind.BLOCK else prop
        yield from paths(inner.fields, here)


def _fits(kind: Kind, value: Any) -> bool:
    accepted = _ACCEPTED[kind][0]
    return isinstance(value, accepted) and not (accepted is int and isinstance(value, bool))


def _converted(kind: Kind, value: Any) -> Any:
    """Numbers as strings and back, as the official provider's bridge converts them (`pkg/tfbridge/schema.go`)."""
    match kind:
        case Kind.TEXT if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        case Kind.INTEGER if isinstance(value, str) and value.lstrip("-").isdecimal():
            return int(value)
        case Kind.BOOLEAN if value in ("true", "false"):
            return value == "true"
    return value


def join(path: str, key: str) -> str:
    """The path of a property inside another one, as the engine spells it: ``tags.Name``, ``tags["a-b"]``."""
    simple = key.replace("_", "a").isalnum() and not key[:1].isdigit()
    step = f".{key}" if simple else f'["{key}"]'
    return f"{path}{step}" if path else step.lstrip(".")


def _describe(value: Any) -> str:
    names = {
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "an asset")
