"""Protobuf structs <-> Python values, with what Pulumi puts into them: unknowns, secrets, outputs, assets, archives.

The signatures are those of `sdk/go/common/resource/properties.go`, `sdk/go/common/resource/sig/sig.go` and
`sdk/go/common/resource/plugin/rpc.go` in pulumi/pulumi.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from envs.errors import FleetstreamError

SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
"""The key that marks a struct as something else than a plain object."""

_CONCEALED: Final = "1b47061264138c4ac30d75fd1eb44270"
_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_ASSET: Final = "c44067f5952c0a294b673a41bacd8c17"
_ARCHIVE: Final = "0def7320c3a5731c473e5ecbe6d01bc7"
_RESOURCE: Final = "5cf8f73096256a8f31e491e813e4eb8e"

_UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWNS: Final = frozenset(
    (
        _UNKNOWN,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # a bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # a number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # an array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # an asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # an archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # an object
    )
)
_EXACT: Final = 2**53
"""Protobuf numbers are doubles: whole numbers up to here are exact."""
_TELLING: Final = 4
"""Characters: a shorter secret is found in half of all texts."""


class CodecError(FleetstreamError):
    """The engine sent something that this codec does not carry."""


class Unknown:
    """A value that is not known before the update has run. There is one of it: `UNKNOWN`."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that must be encrypted in state and never shown."""

    value: Any

    def __repr__(self) -> str:
        return "Secret([hidden])"


@dataclass(frozen=True)
class Output:
    """An output value with the resources it depends on; `value` is `UNKNOWN` when not known yet."""

    value: Any
    secret: bool = False
    dependencies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asset:
    """One file: its text, or the path or address where it is. `hash` is the engine's SHA-256 of its contents."""

    text: str | None = None
    path: str | None = None
    uri: str | None = None
    hash: str = ""


@dataclass(frozen=True)
class Archive:
    """Many files: by name, or the path or address of a folder or archive file."""

    assets: Mapping[str, "Asset | Archive"] | None = None
    path: str | None = None
    uri: str | None = None
    hash: str = ""


def decode(struct: Struct) -> dict[str, Any]:
    """The Python value of a struct that the engine sent. Raises `CodecError` naming the property it cannot carry."""
    return {key: _decode(value, key) for key, value in struct.fields.items()}


def encode(properties: Mapping[str, Any]) -> Struct:
    """The struct of a Python value. Raises `CodecError` naming the property it cannot carry."""
    return Struct(fields={key: _encode(value, key) for key, value in properties.items()})


def plain(value: Any) -> Any:
    """The value without its wrappers of secrets and outputs; unknowns, assets and archives stay."""
    match value:
        case Secret() | Output():
            return plain(value.value)
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
    return value


def is_secret(value: Any) -> bool:
    """Whether this value itself (not something inside it) is secret."""
    match value:
        case Secret():
            return True
        case Output():
            return value.secret or is_secret(value.value)
    return False


def conceal(value: Any, *sources: Any) -> Any:
    """`value` with everything marked secret that is secret in `sources`, or that contains a secret of theirs.

    The sources have the shape of `value`: inputs or an earlier state with their wrappers. What merely contains a
    secret (an address with a secret name in it) is found by its text, unless that is too short to tell.
    """
    texts = {text for source in sources for text in _secret_texts(source, inside=False) if len(text) >= _TELLING}
    return _conceal(value, sources, texts)


def _conceal(value: Any, sources: tuple[Any, ...], texts: set[str]) -> Any:
    if any(is_secret(source) for source in sources):
        return Secret(plain(value))
    match value:
        case dict():
            return {
                key: _conceal(item, tuple(s[key] for s in sources if isinstance(s, dict) and key in s), texts)
                for key, item in value.items()
            }
        case list():
            return [
                _conceal(item, tuple(s[at] for s in sources if isinstance(s, list) and at < len(s)), texts)
                for at, item in enumerate(value)
            ]
        case str() if any(text in value for text in texts):
            return Secret(value)
    return value


def _secret_texts(value: Any, inside: bool) -> Iterator[str]:
    inside = inside or is_secret(value)
    match value:
        case Secret() | Output():
            yield from _secret_texts(value.value, inside)
        case dict():
            for item in value.values():
                yield from _secret_texts(item, inside)
        case list():
            for item in value:
                yield from _secret_texts(item, inside)
        case str() if inside:
            yield value


def _decode(value: Value, path: str) -> Any:
    match value.WhichOneof("kind"):
        case "bool_value":
            return value.bool_value
        case "number_value":
            return _number(value.number_value)
        case "string_value":
            return UNKNOWN if value.string_value in _UNKNOWNS else value.string_value
        case "list_value":
            return [_decode(item, f"{path}[{at}]") for at, item in enumerate(value.list_value.values)]
        case "struct_value":
            fields = value.struct_value.fields
            if SIGNATURE in fields:
                return _decode_special(fields[SIGNATURE].string_value, fields, path)
            return {key: _decode(item, f"{path}.{key}") for key, item in fields.items()}
    return None


def _number(number: float) -> int | float:
    return int(number) if math.isfinite(number) and number == int(number) and abs(number) <= _EXACT else number


def _decode_special(signature: str, fields: Mapping[str, Value], path: str) -> Any:
    def given(name: str, otherwise: Any = None) -> Any:
        return _decode(fields[name], path) if name in fields else otherwise

    if signature == _CONCEALED:
        return Secret(given("value"))
    if signature == _OUTPUT:
        return Output(given("value", UNKNOWN), given("secret", False), tuple(given("dependencies", ())))
    if signature == _ASSET:
        # The engine leaves out what is empty: nothing at all means an empty text.
        empty = not fields.keys() & {"text", "path", "uri"}
        return Asset("" if empty else given("text"), given("path"), given("uri"), given("hash", ""))
    if signature == _ARCHIVE:
        empty = not fields.keys() & {"assets", "path", "uri"}
        return Archive({} if empty else given("assets"), given("path"), given("uri"), given("hash", ""))
    if signature == _RESOURCE:
        raise CodecError(f"property {path} is a reference to a resource, which the sandbox's provider cannot carry")
    raise CodecError(f"property {path} carries the signature {signature}, which this provider does not know")


def _encode(value: Any, path: str) -> Value:
    match value:
        case None:
            return Value(null_value=0)  # pyright: ignore[reportArgumentType]
        case Unknown():
            return Value(string_value=_UNKNOWN)
        case bool():
            return Value(bool_value=value)
        case int() | float():
            if isinstance(value, int) and abs(value) > _EXACT:
                raise CodecError(f"property {path} is the number {value}, too large to be carried exactly")
            return Value(number_value=value)
        case str():
            return Value(string_value=value)
        case list() | tuple():
            items = [_encode(item, f"{path}[{at}]") for at, item in enumerate(value)]
            return Value(list_value=ListValue(values=items))
        case Secret():
            return _special(_CONCEALED, {"value": value.value}, path)
        case Output():
            known = {} if value.value is UNKNOWN else {"value": value.value}
            secret = {"secret": True} if value.secret else {}
            depends = {"dependencies": list(value.dependencies)} if value.dependencies else {}
            return _special(_OUTPUT, {**known, **secret, **depends}, path)
        case Asset():
            return _special(_ASSET, _given(value, "text", "path", "uri", "hash"), path)
        case Archive():
            return _special(_ARCHIVE, _given(value, "assets", "path", "uri", "hash"), path)
        case Mapping():
            fields = {key: _encode(item, f"{path}.{key}") for key, item in value.items()}
            return Value(struct_value=Struct(fields=fields))
    raise CodecError(f"property {path} is a {type(value).__name__}, which cannot be sent to the engine")


def _special(signature: str, content: Mapping[str, Any], path: str) -> Value:
    return _encode({SIGNATURE: signature, **content}, path)


def _given(value: Asset | Archive, *names: str) -> dict[str, Any]:
    return {name: item for name in names if (item := getattr(value, name))}
