"""Reads IAM policy documents far enough to say whether a principal may do something.

What is evaluated: Effect, Principal, Action and NotAction, Resource of a role's own policies, and the condition
operators that trust and resource policies of services use (IAM User Guide, "Policy evaluation logic" and "IAM JSON
policy elements: Condition operators"). Resource elements of resource policies are not looked at: they speak of the
one resource that they are attached to.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from envs.errors import FleetstreamError

_NEGATED: Final = "Not"
_OPERATORS: Final = frozenset({"Bool", "StringEquals", "StringLike", "ArnEquals", "ArnLike"})


class PolicyError(FleetstreamError):
    """A document that is no policy, or that uses what this evaluator does not know; the text names it."""


@dataclass(frozen=True)
class Call:
    """Who wants to do what: an action, the caller's service principal or ARN, and the request's condition keys.

    A condition key in `ignored` holds whatever the policy compares it with: its value is not known here.
    """

    action: str
    service: str | None = None
    arn: str | None = None
    account: str | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()


def statements(document: str | Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statements of a policy document. Raises `PolicyError` for what is not one."""
    try:
        parsed = json.loads(document) if isinstance(document, str) else document
    except ValueError as error:
        raise PolicyError(f"the policy is not JSON: {error}") from error
    found = parsed.get("Statement") if isinstance(parsed, Mapping) else None
    found = [found] if isinstance(found, dict) else found
    if not isinstance(found, list) or not found or not all(isinstance(each, dict) for each in found):
        raise PolicyError("the policy has no Statement")
    for each in found:
        if each.get("Effect") not in ("Allow", "Deny"):
            raise PolicyError(f"a statement's Effect is {each.get('Effect')!r}, not Allow or Deny")
    return found


def allows(document: str | Mapping[str, Any], call: Call) -> bool:
    """Whether a policy lets the call pass: at least one Allow matches and no Deny does. Raises `PolicyError`."""
    effects = {each["Effect"] for each in statements(document) if _matches(each, call)}
    return effects == {"Allow"}


def permits(documents: Iterable[str | Mapping[str, Any]], action: str, resource: str) -> bool:
    """Whether the policies of a role let it do something to a resource (an ARN). Raises `PolicyError`."""
    call = Call(action)
    effects = {
        each["Effect"]
        for document in documents
        for each in statements(document)
        if _resource_matches(each, resource) and _action_and_conditions_match(each, call)
    }
    return effects == {"Allow"}


def denies_everybody(statement: Mapping[str, Any], action: str, resource: str, context: Mapping[str, str]) -> bool:
    """Whether a Deny statement is for every principal and surely meets this request.

    One with a condition on a key that `context` lacks, or with an operator that is not known here, does not surely.
    """
    if ("*", "*") not in _principals(statement.get("Principal")) and ("AWS", "*") not in _principals(
        statement.get("Principal")
    ):
        return False
    known = {key.lower() for key in context}
    conditions = statement.get("Condition") or {}
    if any(operator not in _OPERATORS for operator in conditions):
        return False
    if any(key.lower() not in known for comparisons in conditions.values() for key in comparisons):
        return False
    return _resource_matches(statement, resource) and _action_and_conditions_match(
        statement, Call(action, context=context)
    )


def _matches(statement: Mapping[str, Any], call: Call) -> bool:
    if "NotPrincipal" in statement:
        raise PolicyError("NotPrincipal is not evaluated by the emulated AWS: name the principals instead")
    if not any(_principal_matches(kind, value, call) for kind, value in _principals(statement.get("Principal"))):
        return False
    return _action_and_conditions_match(statement, call)


def _resource_matches(statement: Mapping[str, Any], resource: str) -> bool:
    if "NotResource" in statement:
        return not any(_like(resource, pattern) for pattern in _texts(statement["NotResource"]))
    return any(_like(resource, pattern) for pattern in _texts(statement.get("Resource", [])))


def _action_and_conditions_match(statement: Mapping[str, Any], call: Call) -> bool:
    if "NotAction" in statement:
        if any(_like(call.action, pattern) for pattern in _texts(statement["NotAction"])):
            return False
    elif not any(_like(call.action, pattern) for pattern in _texts(statement.get("Action", []))):
        return False
    return all(
        _condition_holds(operator, key, _texts(values), call)
        for operator, comparisons in (statement.get("Condition") or {}).items()
        for key, values in comparisons.items()
    )


def _principals(principal: Any) -> Iterator[tuple[str, str]]:
    if principal == "*":
        yield "*", "*"
    elif isinstance(principal, Mapping):
        for kind, values in principal.items():
            for value in _texts(values):
                yield kind, value


def _principal_matches(kind: str, value: str, call: Call) -> bool:
    if kind == "*":
        return True
    if kind == "Service":
        return call.service == value
    if kind == "AWS" and call.arn is not None:
        # An account number or its root stands for everybody in the account whom its own policies allow it.
        return value in ("*", call.arn, call.account) or value.endswith(f"::{call.account}:root")
    return False


def _condition_holds(operator: str, key: str, wanted: list[str], call: Call) -> bool:
    base = operator.removesuffix("IfExists")
    plain = base.replace(_NEGATED, "", 1)
    if plain not in _OPERATORS:
        raise PolicyError(f"the condition operator {operator!r} is not evaluated by the emulated AWS")
    if key.lower() in call.ignored:
        return True
    values = {name.lower(): value for name, value in call.context.items()}
    present = values.get(key.lower())
    negated = base != plain
    if present is None:
        return operator.endswith("IfExists") or negated
    compare = _like if plain in ("Bool", "StringLike", "ArnEquals", "ArnLike") else str.__eq__
    return any(compare(present, pattern) for pattern in wanted) is not negated


def _like(value: str, pattern: str) -> bool:
    # fnmatch would take brackets as character sets; IAM knows only * and ?.
    return fnmatchcase(value.lower(), pattern.lower().replace("[", "[[]"))


def _texts(values: Any) -> list[str]:
    return [str(value) for value in (values if isinstance(values, list) else [values])]
