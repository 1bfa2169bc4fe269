"""The codec carries every value that the engine sends, there and back, and keeps secrets secret."""

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from envs.sandbox.provider.codec import (
    SIGNATURE,
    UNKNOWN,
    Archive,
    Asset,
    CodecError,
    Output,
    Secret,
    conceal,
    decode,
    encode,
    plain,
)

_TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
_KEYS = _TEXTS.filter(lambda key: key != SIGNATURE)
_SOME = _TEXTS.filter(bool)
_ASSETS = st.one_of(
    st.builds(lambda text, hash_: Asset(text=text, hash=hash_), _TEXTS, _TEXTS),
    st.builds(lambda path: Asset(path=path), _SOME),
    st.builds(lambda uri, hash_: Asset(uri=uri, hash=hash_), _SOME, _TEXTS),
)
_ARCHIVES = st.recursive(
    st.one_of(st.builds(lambda path: Archive(path=path), _SOME), st.builds(lambda uri: Archive(uri=uri), _SOME)),
    lambda inner: st.builds(
        lambda assets, hash_: Archive(assets=assets, hash=hash_),
        st.dictionaries(_KEYS, st.one_of(_ASSETS, inner), min_size=1, max_size=3),
        _TEXTS,
    ),
    max_leaves=4,
)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False),
    _TEXTS,
    st.just(UNKNOWN),
    _ASSETS,
    _ARCHIVES,
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(_KEYS, inner, max_size=4),
        st.builds(Secret, inner),
        st.builds(Output, inner, st.booleans(), st.lists(_TEXTS, max_size=3).map(tuple)),
    ),
    max_leaves=12,
)


@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_every_value_comes_back_as_it_was(properties: dict[str, Any]) -> None:
    sent = Struct.FromString(encode(properties).SerializeToString())
    assert decode(sent) == properties


@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_what_is_plain_has_no_wrappers(properties: dict[str, Any]) -> None:
    def wrappers(value: Any) -> int:
        match value:
            case Secret() | Output():
                return 1
            case dict():
                return sum(map(wrappers, value.values()))
            case list():
                return sum(map(wrappers, value))
        return 0

    assert wrappers(plain(properties)) == 0


@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_concealing_changes_no_value_and_conceals_what_was_secret(properties: dict[str, Any]) -> None:
    concealed = conceal(plain(properties), properties)
    assert plain(concealed) == plain(properties)
    for key, value in properties.items():
        if isinstance(value, Secret) or (isinstance(value, Output) and value.secret):
            assert isinstance(concealed[key], Secret)


def test_a_number_of_another_kind_of_unknown_is_unknown() -> None:
    assert decode(Struct(fields=encode({"count": "3eeb2bf0-c639-47a8-9e75-3b44932eb421"}).fields)) == {
        "count": UNKNOWN
    }


def test_an_output_without_a_value_is_unknown() -> None:
    sent = encode({"id": Output(UNKNOWN, secret=True, dependencies=("urn:a",))})
    assert "value" not in sent.fields["id"].struct_value.fields
    assert decode(sent) == {"id": Output(UNKNOWN, secret=True, dependencies=("urn:a",))}


def test_what_is_derived_from_a_secret_is_secret() -> None:
    inputs = {"name": Secret("confidential"), "tags": {"Owner": Secret("somebody"), "Env": "test"}}
    state = {
        "name": "confidential",
        "arn": "arn:aws:logs:eu-central-1:123456789012:log-group:confidential",
        "tags": {"Owner": "somebody", "Env": "test"},
        "tagsAll": {"Owner": "somebody", "Env": "test"},
        "zones": ["a"],
    }
    assert conceal(state, inputs) == {
        "name": Secret("confidential"),
        "arn": Secret("arn:aws:logs:eu-central-1:123456789012:log-group:confidential"),
        "tags": {"Owner": Secret("somebody"), "Env": "test"},
        "tagsAll": {"Owner": Secret("somebody"), "Env": "test"},
        "zones": ["a"],
    }


def test_a_secret_is_not_shown_by_its_representation() -> None:
    assert "hunter2" not in repr({"password": Secret("hunter2")})


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({SIGNATURE: "5cf8f73096256a8f31e491e813e4eb8e", "urn": "urn:x"}, "reference to a resource"),
        ({SIGNATURE: "00000000000000000000000000000000"}, "00000000000000000000000000000000"),
    ],
)
def test_what_cannot_be_carried_is_refused_with_the_property_that_has_it(content: dict[str, str], named: str) -> None:
    struct = Struct()
    struct.update({"outer": {"inner": [content]}})
    with pytest.raises(CodecError, match=r"outer\.inner\[0\]") as refusal:
        decode(struct)
    assert named in str(refusal.value)


@pytest.mark.parametrize("value", [2**60, object(), b"bytes"])
def test_what_cannot_be_sent_is_refused_by_its_place(value: object) -> None:
    with pytest.raises(CodecError, match=r"property outer\[0\]"):
        encode({"outer": [value]})
