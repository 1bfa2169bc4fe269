"""Differences are those that AWS would see: order, spelling and silence where they do not matter are none."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.sandbox.provider.codec import UNKNOWN, Archive
from envs.sandbox.provider.compare import differences, settle
from envs.sandbox.provider.policy import same_document
from envs.sandbox.provider.schema import (
    Property,
    archive,
    block,
    boolean,
    document,
    integer,
    mapping,
    sequence,
    text,
    unordered,
)

_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "s3:GetObject", "Resource": ["b", "a"]},
        {"Effect": "Deny", "Principal": "*", "Action": ["s3:*"], "Resource": "*"},
    ],
}
_SPELT_OTHERWISE = {
    "Statement": [
        {"Action": "s3:*", "Effect": "Deny", "Principal": {"AWS": "*"}, "Resource": ["*"]},
        {
            "Effect": "Allow",
            "Action": ["s3:getobject"],
            "Principal": {"AWS": ["arn:aws:iam::123456789012:root"]},
            "Resource": ["a", "b"],
        },
    ],
    "Version": "2012-10-17",
}


def _paths(prop: Property, old: Any, new: Any) -> list[tuple[str, str]]:
    return [(difference.path, difference.change) for difference in differences(prop, old, new, "p", "p")]


@pytest.mark.parametrize(
    ("prop", "old", "new", "expected"),
    [
        (text(), "a", "a", []),
        (text(), "a", "b", [("p", "update")]),
        (text(), None, "b", [("p", "add")]),
        (text(), "a", None, [("p", "delete")]),
        (text(computed=True), "a", None, []),
        (text(computed=True), "a", "b", [("p", "update")]),
        (text(), "a", UNKNOWN, [("p", "update")]),
        (text(), None, UNKNOWN, [("p", "add")]),
        (text(), "", None, []),
        (boolean(), False, None, []),
        (boolean(), None, False, []),
        (boolean(computed=True), True, False, [("p", "update")]),
        (boolean(), True, None, [("p", "delete")]),
        (integer(), 3, 0, [("p", "update")]),
        (unordered(text()), ["a", "b"], ["b", "a"], []),
        (unordered(text()), ["a", "b"], ["b", "c"], [("p", "update")]),
        (unordered(text(), computed=True), ["a"], [], [("p", "delete")]),
        (sequence(text()), ["a", "b"], ["b", "a"], [("p[0]", "update"), ("p[1]", "update")]),
        (sequence(text()), ["a"], ["a", "b"], [("p[1]", "add")]),
        (mapping(text()), {"a": "1", "b": "2"}, {"a": "1", "c": "3"}, [("p.b", "delete"), ("p.c", "add")]),
        (mapping(text()), {"a-b": "1"}, {"a-b": ""}, [('p["a-b"]', "update")]),
        (block({"x": text(), "y": text(computed=True)}), {"x": "1", "y": "2"}, {"x": "1"}, []),
        (block({"x": text()}), {"x": "1"}, {"x": "2"}, [("p.x", "update")]),
        (block({"x": boolean()}), {"x": False}, None, []),
        (block({"x": boolean()}), {"x": True}, {"x": False}, [("p.x", "update")]),
        (document(), json.dumps(_POLICY), json.dumps(_SPELT_OTHERWISE), []),
        (archive(), Archive(path="a", hash="1"), Archive(path="b", hash="1"), []),
        (archive(), Archive(path="a", hash="1"), Archive(path="a", hash="2"), [("p", "update")]),
        (text(same=lambda a, b: a.lower() == b.lower()), "A", "a", []),
    ],
)
def test_what_differs(prop: Property, old: Any, new: Any, expected: list[tuple[str, str]]) -> None:
    assert _paths(prop, old, new) == expected


def test_a_block_that_comes_tells_what_comes_with_it() -> None:
    nested = block({"source": block({"name": text(), "kept": boolean()})})
    (found,) = differences(nested, None, {"source": {"name": "x", "kept": False}}, "p", "p")
    assert found.inside == {"p.source", "p.source.name"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"Statement":[{"Effect":"Allow"}]}', '{"Statement":[{"Effect":"Deny"}]}'),
        ('{"Statement":{"Action":"a:b"}}', '{"Statement":{"Action":"a:c"}}'),
        ('{"a":[1,2]}', '{"a":[2,1]}'),
        ('{"a":1}', "no JSON"),
    ],
)
def test_documents_that_mean_something_else(one: str, other: str) -> None:
    assert not same_document(one, other)


_WORDS = st.text("abc", max_size=3)
_RULE = block({"name": text(), "ports": unordered(integer()), "note": text(computed=True), "on": boolean()})
_RULES = st.lists(
    st.fixed_dictionaries(
        {"name": _WORDS, "ports": st.lists(st.integers(1, 5), max_size=3), "note": _WORDS, "on": st.booleans()}
    ),
    max_size=4,
)


@given(_RULES, st.randoms())
def test_another_order_is_no_difference_and_settles_into_the_first(rules: list[Any], random: Any) -> None:
    told = [{**rule, "ports": random.sample(rule["ports"], len(rule["ports"]))} for rule in rules]
    random.shuffle(told)
    prop = unordered(_RULE)
    assert _paths(prop, told, rules) == []
    assert settle(prop, told, rules) == rules


@given(_RULES, _RULES)
def test_settled_values_mean_what_aws_has(actual: list[Any], prior: list[Any]) -> None:
    prop = unordered(_RULE)
    settled = settle(prop, actual, prior)
    assert _paths(prop, actual, settled) == []
    assert _paths(prop, settled, actual) == []
