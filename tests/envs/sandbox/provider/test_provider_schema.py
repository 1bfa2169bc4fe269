"""Inputs are checked down to the last nested property: what is unknown, missing or of the wrong kind is named."""

from typing import Any

import pytest

from envs.sandbox.provider.codec import UNKNOWN, Archive, Secret
from envs.sandbox.provider.schema import (
    Failure,
    archive,
    block,
    boolean,
    check_fields,
    document,
    integer,
    mapping,
    sequence,
    text,
)

_FIELDS = {
    "name": text(required=True),
    "size": integer(default=3),
    "on": boolean(),
    "tags": mapping(text()),
    "policy": document(),
    "code": archive(),
    "rules": sequence(block({"id": text(required=True), "days": integer(), "status": text(default="Enabled")})),
}


def _check(values: dict[str, Any]) -> tuple[dict[str, Any], list[Failure]]:
    failures: list[Failure] = []
    return check_fields(_FIELDS, values, "", failures, "Add it."), failures


def test_defaults_are_filled_in_nested_ones_too() -> None:
    checked, failures = _check({"name": "n", "rules": [{"id": "a"}]})
    assert not failures
    assert checked == {"name": "n", "size": 3, "rules": [{"id": "a", "status": "Enabled"}]}


def test_unknowns_and_secrets_pass_as_they_are() -> None:
    values = {"name": Secret("n"), "size": UNKNOWN, "rules": Secret([{"id": UNKNOWN, "status": "x"}])}
    checked, failures = _check(values)
    assert not failures
    assert checked == values


def test_numbers_and_strings_are_converted_as_the_official_provider_does() -> None:
    checked, failures = _check({"name": 7, "size": "12", "on": "true"})
    assert not failures
    assert checked == {"name": "7", "size": 12, "on": True}


@pytest.mark.parametrize(
    ("wrong", "path", "words"),
    [
        ({"colour": "red"}, "colour", "is not emulated. Known here: code, name,"),
        ({"rules": [{"id": "a"}, {"id": "b", "weekday": 1}]}, "rules[1].weekday", "is not emulated"),
        ({"rules": [{"days": 1}]}, "rules[0].id", "is required and missing"),
        ({"size": 2.5}, "size", "must be a whole number"),
        ({"size": True}, "size", "must be a whole number, not a boolean"),
        ({"on": "perhaps"}, "on", "must be a boolean"),
        ({"tags": {"a-b": ["x"]}}, 'tags["a-b"]', "must be a string, not a list"),
        ({"rules": {"id": "a"}}, "rules", "must be a list, not an object"),
        ({"policy": "{"}, "policy", "must be a JSON document"),
        ({"code": "text"}, "code", "must be an archive"),
        ({"tags": Archive(path="x")}, "tags", "must be a map, not an asset"),
        ({"name": None}, "name", "is required and missing"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(wrong: dict[str, Any], path: str, words: str) -> None:
    _, failures = _check({"name": "n", **wrong})
    assert [failure.path for failure in failures] == [path]
    assert words in failures[0].reason


def test_every_mistake_is_told_at_once() -> None:
    _, failures = _check({"colour": 1, "size": "x", "rules": [{"weekday": 1}]})
    assert {failure.path for failure in failures} == {"colour", "size", "rules[0].weekday", "rules[0].id", "name"}
