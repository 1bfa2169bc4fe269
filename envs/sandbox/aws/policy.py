"""Reads IAM policy documents far enough to say whether a principal may do something.

What is evaluated: Effect, Principal, Action and NotAction, Resource and NotResource, and the condition operators that
the program and AWS's own default policies use, with policy variables in what conditions compare (IAM User Guide,
"Policy evaluation logic", "IAM JSON policy elements: Condition operators" and "... Variables and tags"). What is not
known here is refused, never passed over. moto's own evaluation
(`moto.iam.access_control.IAMPolicy`) is not used for this: it passes over every condition operator but StringEquals,
takes an Allow whose condition does not hold for a denial, and reads dots and brackets of ARNs as a pattern.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from envs.errors import FleetstreamError

_NEGATED: Final = "Not"
_OPERATORS: Final = frozenset(
    {"ArnEquals", "ArnLike", "Bool", "StringEquals", "StringEqualsIgnoreCase", "StringLike"}
)
_ABSENT: Final = "Null"
_QUANTIFIERS: Final = {"ForAllValues": all, "ForAnyValue": any}
_TAG_KEYS: Final = "aws:tagkeys"
_REQUEST_TAG: Final = "aws:requesttag/"
_ARN_PARTS: Final = 6
_VARIABLE: Final = re.compile(r"\$\{(?P<key>[\w:/-]+)\}")


class PolicyError(FleetstreamError):
    """A document that is no policy, or that uses what this evaluator does not know; the text names it."""


@dataclass(frozen=True)
class Call:
    """Who wants to do what: an action, the caller's service principal or ARN, and the request's condition keys.

    `arn` of an assumed role is its session's, and `role` the role's own. A condition key in `ignored` holds whatever
    the policy compares it with: its value is not known here. With `known` (lower case, ``*`` stands for anything), a
    policy may compare only these keys and those of the request: whether any other has a value cannot be said.
    """

    action: str
    service: str | None = None
    arn: str | None = None
    role: str | None = None
    account: str | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    known: frozenset[str] | None = None


@dataclass(frozen=True)
class Refusal:
    """Why a call does not pass, in AWS's words, and the statement that would let it, or that forbids it."""

    reason: str
    statement: Mapping[str, Any]
    forbidden: bool


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


def decide(
    call: Call,
    resource: str,
    identity: Iterable[str | Mapping[str, Any]],
    attached: str | Mapping[str, Any] | None = None,
    *,
    key: bool = False,
) -> Refusal | None:
    """Whether a principal may do something to a resource of its own account: None, or why it may not.

    `identity` are the principal's own policies, `attached` is the resource's. One of them is enough, unless the
    resource is a `key`: then its policy lets the principal in by name, or the account as a whole, and only in the
    second case the principal's own policies count (KMS Developer Guide, "Key policies in AWS KMS"). Raises
    `PolicyError`.
    """
    own = [
        each
        for document in identity
        for each in statements(document)
        if _resource_matches(each, resource) and _action_and_conditions_match(each, call)
    ]
    theirs = [
        each
        for each in (statements(attached) if attached else [])
        if _resource_matches(each, resource, attached=True) and _matches(each, call)
    ]
    for kind, found in (("an identity", own), ("a resource", theirs)):
        for each in found:
            if each["Effect"] == "Deny":
                return Refusal(f"with an explicit deny in {kind}-based policy", each, forbidden=True)
    admitted = any(not _names_account_only(each, call) for each in theirs)
    if admitted or (own and (theirs or not key)):
        return None
    missing: dict[str, Any] = {"Effect": "Allow", "Action": call.action, "Resource": resource}
    if key and not theirs:
        missing = {**missing, "Principal": {"AWS": call.role or call.arn}, "Resource": "*"}
    kind = "resource" if key and not theirs else "identity"
    reason = f"because no {kind}-based policy allows the {call.action} action"
    return Refusal(reason, missing, forbidden=False)


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


def _names_account_only(statement: Mapping[str, Any], call: Call) -> bool:
    """An account as principal is its root: it leaves the decision to the account's own policies."""
    return not any(
        kind == "*" or (kind == "Service" and value == call.service) or value in ("*", call.arn, call.role)
        for kind, value in _principals(statement.get("Principal"))
    )


def _resource_matches(statement: Mapping[str, Any], resource: str, *, attached: bool = False) -> bool:
    if attached and not {"Resource", "NotResource"} & statement.keys():
        # A role's trust policy: it speaks of the role.
        return True
    if "NotResource" in statement:
        return not any(_like(resource, pattern) for pattern in _texts(statement["NotResource"]))
    return any(_like(resource, pattern) for pattern in _texts(statement.get("Resource", [])))


def _action_and_conditions_match(statement: Mapping[str, Any], call: Call) -> bool:
    if "NotAction" in statement:
        if any(_like_action(call.action, pattern) for pattern in _texts(statement["NotAction"])):
            return False
    elif not any(_like_action(call.action, pattern) for pattern in _texts(statement.get("Action", []))):
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
        return value in ("*", call.arn, call.role, call.account) or value.endswith(f"::{call.account}:root")
    return False


def _condition_holds(operator: str, key: str, wanted: list[str], call: Call) -> bool:
    if ":" in operator:
        return _quantified_holds(operator, key, wanted, call)
    base = operator.removesuffix("IfExists")
    plain = base.replace(_NEGATED, "", 1)
    if plain not in _OPERATORS and operator != _ABSENT:
        raise PolicyError(f"the condition operator {operator!r} is not evaluated by the emulated AWS")
    name = key.lower()
    if name in call.ignored:
        return True
    present = _value(key, call)
    if operator == _ABSENT:
        return (present is None) is (wanted[0].lower() == "true")
    negated = base != plain
    if present is None:
        return operator.endswith("IfExists") or negated
    patterns = [pattern for each in wanted if (pattern := _resolved(each, call)) is not None]
    return any(_compare(plain, present, pattern) for pattern in patterns) is not negated


def _value(key: str, call: Call) -> str | None:
    """What the request says of a condition key; None: it surely has no value."""
    name = key.lower()
    values = {each.lower(): value for each, value in call.context.items()}
    if call.known is not None and name not in values and not any(_like(name, each) for each in call.known):
        raise PolicyError(f"the condition key {key!r} is not evaluated by the emulated AWS")
    return values.get(name)


def _resolved(pattern: str, call: Call) -> str | None:
    """A value to compare with, its variables replaced; None: one has no value, and nothing is equal to it."""
    found = {each: _value(each, call) for each in _VARIABLE.findall(pattern)}
    if None in found.values():
        return None
    resolved = _VARIABLE.sub(lambda match: str(found[match["key"]]), pattern)
    if "${" in resolved:
        raise PolicyError(f"the policy variable in {pattern!r} is not evaluated by the emulated AWS")
    return resolved


def _quantified_holds(operator: str, key: str, wanted: list[str], call: Call) -> bool:
    """Of the keys with several values only the names of the request's tags are known here. Of none, all are as wanted
    (IAM User Guide, "Set operators for multivalued context keys")."""
    quantifier, _, plain = operator.partition(":")
    if quantifier not in _QUANTIFIERS or plain not in _OPERATORS or key.lower() != _TAG_KEYS:
        raise PolicyError(f"the condition {operator!r} on {key!r} is not evaluated by the emulated AWS")
    names = [each.partition("/")[2] for each in call.context if each.lower().startswith(_REQUEST_TAG)]
    return _QUANTIFIERS[quantifier](any(_compare(plain, name, pattern) for pattern in wanted) for name in names)


def _compare(operator: str, value: str, wanted: str) -> bool:
    match operator:
        case "StringEquals":
            return value == wanted
        case "StringEqualsIgnoreCase" | "Bool":
            return value.lower() == wanted.lower()
        case "StringLike":
            return _like(value, wanted)
        case _:
            # A wildcard of an ARN does not reach over a colon, except in the last part.
            parts, patterns = value.split(":", _ARN_PARTS - 1), wanted.split(":", _ARN_PARTS - 1)
            return len(parts) == len(patterns) and all(map(_like, parts, patterns))


def _like_action(action: str, pattern: str) -> bool:
    return _like(action.lower(), pattern.lower())


def _like(value: str, pattern: str) -> bool:
    if "${" in pattern:
        raise PolicyError(f"the policy variable in {pattern!r} is not evaluated by the emulated AWS")
    # fnmatch would take brackets as character sets; IAM knows only * and ?.
    return fnmatchcase(value, pattern.replace("[", "[[]"))


def _texts(values: Any) -> list[str]:
    return [str(value) for value in (values if isinstance(values, list) else [values])]
