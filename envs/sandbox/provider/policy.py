"""When two JSON documents mean the same, by IAM's rules where they are policies.

The rules are those of `policy_equivalence.go` in hashicorp/awspolicyequivalence, which the official provider uses.
"""

import json
import re
from typing import Any, Final

_ACCOUNT: Final = re.compile(r"\d{12}")
_SETS: Final = ("Action", "NotAction", "Resource", "NotResource")


def same_document(one: str, other: str) -> bool:
    """Whether two JSON texts mean the same. A text that is no JSON is only like itself."""
    if one == other:
        return True
    try:
        return _normal(json.loads(one)) == _normal(json.loads(other))
    except ValueError:
        return False


def _normal(document: Any) -> Any:
    if not isinstance(document, dict) or "Statement" not in document:
        return document
    statements = document["Statement"]
    statements = statements if isinstance(statements, list) else [statements]
    # The order of statements does not matter to IAM.
    normal = sorted(
        (_statement(statement) for statement in statements), key=lambda item: json.dumps(item, sort_keys=True)
    )
    return {**document, "Statement": normal}


def _statement(statement: Any) -> Any:
    if not isinstance(statement, dict):
        return statement
    normal = dict(statement)
    for name in _SETS:
        if name in normal:
            fold = str.lower if name.endswith("Action") else str
            normal[name] = sorted({fold(item) for item in _many(normal[name])})
    for name in ("Principal", "NotPrincipal"):
        if name in normal:
            normal[name] = _principal(normal[name])
    if isinstance(normal.get("Condition"), dict):
        normal["Condition"] = {
            operator: {key: sorted(_word(item) for item in _many(values)) for key, values in keys.items()}
            for operator, keys in normal["Condition"].items()
        }
    return normal


def _principal(principal: Any) -> Any:
    if not isinstance(principal, dict):
        return {"AWS": ["*"]} if principal == "*" else principal
    return {kind: sorted({_root(item) for item in _many(values)}) for kind, values in principal.items()}


def _root(principal: str) -> str:
    return f"arn:aws:iam::{principal}:root" if _ACCOUNT.fullmatch(principal) else principal


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
