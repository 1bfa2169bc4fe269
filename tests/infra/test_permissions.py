"""What the program's policies allow, held against IAM's own reference (policy-sentry carries its tables)."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from declared import ACCOUNT, Declaration, declare
from policy_sentry.querying.actions import get_action_data

from infra.checks import ACTIONS_WITHOUT_ARN

_IDENTITY = ("iam/rolePolicy:RolePolicy", "iam/policy:Policy", "iam/role:Role")
_ENVIRONMENTS = ("sandbox", "dev", "staging", "prod")

Statement = dict[str, Any]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def policies(declaration: Declaration) -> Iterator[tuple[str, str, list[Statement]]]:
    """Every policy document of a program: type and name of its resource, and its statements."""
    for one in declaration.resources:
        for key, value in one.properties.items():
            if isinstance(value, str) and value.startswith("{") and "Statement" in value:
                yield one.type, f"{one.name}.{key}", listed(json.loads(value)["Statement"])


def resource_formats(action: str) -> set[str]:
    """The kinds of resource that IAM knows for an action, as ARN formats; ``*`` where it knows none."""
    service, _, name = action.partition(":")
    found = get_action_data(service, name)
    return {row["resource_arn_format"] for row in found[service]} if found else set()


def faults(statement: Statement, of_identity: bool) -> list[str]:
    """What IAM's reference has against one statement that allows something."""
    if statement["Effect"] != "Allow":
        return []
    found = [f"{key} allows all but a few" for key in ("NotAction", "NotResource") if key in statement]
    for action in listed(statement.get("Action")):
        if "*" in action:
            found.append(f"{action} is a wildcard")
        elif not (formats := resource_formats(action)):
            found.append(f"IAM knows no action {action}")
        elif of_identity and "*" in listed(statement.get("Resource")) and formats != {"*"}:
            found.append(f"{action} on everything, although IAM knows {', '.join(sorted(formats - {'*'}))}")
    return found


def leaves_it_to_iam(type_: str, statement: Statement) -> bool:
    """KMS's own default statement: without it nobody could ever change the key (KMS Developer Guide, "Default key
    policy")."""
    root = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    return type_.endswith("kms/key:Key") and statement["Action"] == ["kms:*"] and statement["Principal"] == root


@pytest.mark.parametrize("name", _ENVIRONMENTS)
def test_every_statement_is_as_narrow_as_iam_lets_it_be(name: str) -> None:
    program = declare(name)
    documents = list(policies(program))
    assert len(documents) > 15
    broken = [
        f"{type_} {where}, {statement.get('Sid')}: {fault}"
        for type_, where, statements in documents
        for statement in statements
        # In a resource's own policy "*" is that resource.
        for fault in faults(statement, of_identity=type_.endswith(_IDENTITY))
        if not leaves_it_to_iam(type_, statement)
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("action", sorted(ACTIONS_WITHOUT_ARN))
def test_the_guardrail_lets_everything_pass_only_where_iam_knows_nothing_narrower(action: str) -> None:
    assert resource_formats(action) == {"*"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"Action": "sqs:*"}, "sqs:* is a wildcard"),
        ({"Action": ["sqs:SendMessage", "sqs:Send*"]}, "sqs:Send* is a wildcard"),
        ({"Action": "sqs:SendMesage"}, "IAM knows no action sqs:SendMesage"),
        ({"Resource": "*"}, "sqs:SendMessage on everything, although IAM knows arn:${Partition}:sqs:"),
        ({"NotAction": "iam:*"}, "NotAction allows all but a few"),
    ],
)
def test_a_wider_statement_is_found(change: Statement, fault: str) -> None:
    good = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:eu-west-1:1:q"}
    assert faults(good, of_identity=True) == []
    assert any(found.startswith(fault) for found in faults({**good, **change}, of_identity=True))
