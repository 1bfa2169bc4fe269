"""EventBridge's event patterns: whether an event matches one, and what is no pattern.

Amazon EventBridge User Guide, "Creating Amazon EventBridge event patterns" and "Comparison operators for use in event
patterns"; where these leave a question open, aws/event-ruler decides. moto's matcher is not used: it lets every
event pass that an operator unknown to it is asked about, takes true for 1, and does not look into arrays of objects.
"""

import ipaddress
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Pattern = Mapping[str, Any]

_OR: Final = "$or"
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}
_NUMBER_LIMIT: Final = 5e9
_OPERATORS: Final = frozenset(
    {"anything-but", "cidr", "equals-ignore-case", "exists", "numeric", "prefix", "suffix", "wildcard"}
)
_ON_TEXT: Final = frozenset({"equals-ignore-case", "prefix", "suffix", "wildcard"})


class PatternError(ValueError):
    """A text that is no event pattern; the message is the reason that EventBridge gives."""


def parse(text: str) -> Pattern:
    """The pattern in a JSON text. Raises `PatternError`."""
    try:
        pattern = json.loads(text)
    except ValueError as error:
        raise PatternError(f"Filter is not valid JSON: {error}") from None
    if not isinstance(pattern, dict):
        raise PatternError("Filter is not an object")
    _check(pattern)
    return pattern


def matches(pattern: Pattern, event: Any) -> bool:
    """Whether an event, or a part of it, matches a parsed pattern."""
    if isinstance(event, list):
        # Fields of a pattern have to be found in one and the same element.
        return any(matches(pattern, each) for each in event)
    if not isinstance(event, Mapping):
        event = {}
    for key, wanted in pattern.items():
        if key == _OR and isinstance(wanted, list):
            if not any(matches(each, event) for each in wanted):
                return False
        elif isinstance(wanted, dict):
            if not matches(wanted, event.get(key)):
                return False
        elif not _any_holds(wanted, list(_leaves(event.get(key, ())))):
            return False
    return True


def _leaves(value: Any) -> Iterator[Any]:
    """What can be compared: a value, or those of an array. An object is none."""
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _leaves(each)
    elif not isinstance(value, Mapping):
        yield value


def _any_holds(wanted: list[Any], values: list[Any]) -> bool:
    for each in wanted:
        if isinstance(each, dict) and "exists" in each:
            if bool(values) is each["exists"]:
                return True
        elif any(_holds(each, value) for value in values):
            return True
    return False


def _holds(wanted: Any, value: Any) -> bool:
    if not isinstance(wanted, dict):
        return type(wanted) is type(value) and wanted == value
    ((name, operand),) = wanted.items()
    match name:
        case "anything-but":
            others = [operand] if isinstance(operand, dict) else _listed(operand)
            return not any(_holds(each, value) for each in others)
        case "numeric":
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            pairs = zip(operand[::2], operand[1::2], strict=True)
            return number and all(_COMPARISONS[sign](value, bound) for sign, bound in pairs)
        case "cidr":
            return _inside(value, operand)
        case _:
            return isinstance(value, str) and any(_text_holds(name, each, value) for each in _listed(operand))


def _text_holds(name: str, operand: Any, value: str) -> bool:
    if isinstance(operand, dict):
        operand, value = operand["equals-ignore-case"].lower(), value.lower()
    match name:
        case "prefix":
            return value.startswith(operand)
        case "suffix":
            return value.endswith(operand)
        case "equals-ignore-case":
            return value.lower() == operand.lower()
        case _:
            return _wildcard(operand).fullmatch(value) is not None


def _wildcard(pattern: str) -> re.Pattern[str]:
    r"""Only * stands for something; ``\*`` and ``\\`` are these characters themselves."""
    parts = re.findall(r"\\[*\\]|.", pattern, re.DOTALL)
    return re.compile("".join(".*" if part == "*" else re.escape(part[-1]) for part in parts), re.DOTALL)


def _inside(value: Any, network: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(network, strict=False)
    except (ValueError, TypeError):
        return False


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# What is no pattern


def _check(pattern: Mapping[str, Any]) -> None:
    if not pattern:
        raise PatternError("Empty objects are not allowed")
    for key, wanted in pattern.items():
        if key == _OR and isinstance(wanted, list):
            if len(wanted) < 2 or not all(isinstance(each, dict) for each in wanted):
                raise PatternError("There must have at least 2 Objects in $or relationship")
            for each in wanted:
                _check(each)
        elif isinstance(wanted, dict):
            _check(wanted)
        elif not isinstance(wanted, list):
            raise PatternError(f'"{key}" must be an object or an array')
        elif not wanted:
            raise PatternError("Empty arrays are not allowed")
        else:
            for each in wanted:
                _check_leaf(key, each)


def _check_leaf(key: str, wanted: Any) -> None:
    if isinstance(wanted, list):
        raise PatternError(f'"{key}" must not hold an array in its array')
    if not isinstance(wanted, dict):
        return
    if len(wanted) != 1:
        raise PatternError("Only one key allowed in match expression")
    ((name, operand),) = wanted.items()
    if name not in _OPERATORS:
        raise PatternError(f"Unrecognized match type {name}")
    match name:
        case "exists":
            _require(isinstance(operand, bool), "exists match pattern must be either true or false")
        case "numeric":
            _check_numeric(operand)
        case "cidr":
            _check_network(operand)
        case "anything-but":
            _check_anything_but(operand)
        case _:
            _check_text(name, operand)


def _check_text(name: str, operand: Any) -> None:
    if isinstance(operand, dict) and name in ("prefix", "suffix") and list(operand) == ["equals-ignore-case"]:
        operand = operand["equals-ignore-case"]
    _require(isinstance(operand, str), f"{name} match pattern must be a string")


def _check_anything_but(operand: Any) -> None:
    if isinstance(operand, dict):
        _require(len(operand) == 1 and operand.keys() <= _ON_TEXT, "Unsupported anything-but pattern")
        ((name, inner),) = operand.items()
        _require(inner != [], "Value of anything-but match list must not be empty")
        for each in _listed(inner):
            _check_text(name, each)
        return
    values = _listed(operand)
    plain = all(isinstance(each, (str, int, float)) and not isinstance(each, bool) for each in values)
    _require(bool(values) and plain, "Value of anything-but must be a string, a number or a list of these")


def _check_numeric(operand: Any) -> None:
    good = isinstance(operand, list) and len(operand) in (2, 4)
    _require(good, "Value of numeric must be an array of one or two comparisons")
    for sign, bound in zip(operand[::2], operand[1::2], strict=True):
        _require(sign in _COMPARISONS, f"Unrecognized numeric range operator: {sign}")
        number = isinstance(bound, (int, float)) and not isinstance(bound, bool)
        _require(number and abs(bound) <= _NUMBER_LIMIT, f"Value of {sign} must be numeric, up to 5e9 either way")


def _check_network(operand: Any) -> None:
    try:
        ipaddress.ip_network(str(operand), strict=False)
    except ValueError:
        raise PatternError(f"Malformed CIDR, one '/' required: {operand}") from None


def _require(good: bool, reason: str) -> None:
    if not good:
        raise PatternError(reason)
