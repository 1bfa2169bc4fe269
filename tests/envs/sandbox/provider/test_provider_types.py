"""Every row of every type's table of replacements, through the real Diff; and the types agree with Pulumi's SDK."""

import importlib
import inspect
import re
from typing import Any

import pulumi
import pytest
from provider_samples import changed, sample, samples
from pulumi import _types
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from envs.sandbox.provider.codec import encode
from envs.sandbox.provider.registry import TYPES
from envs.sandbox.provider.resource import Resource, When
from envs.sandbox.provider.schema import Kind, paths

_ROWS = [(name, path) for name, kind in sorted(TYPES.items()) for path in kind.replaces]
_OTHERS = [
    (name, path)
    for name, kind in sorted(TYPES.items())
    for path, prop in paths(kind.fields)
    if path not in kind.replaces
    and prop.kind is not Kind.BLOCK
    and path != "region"
    # A change inside a set whose elements are replaced, or of a block that is, is told by the rows above.
    and not any(path.startswith(f"{row}.") and not isinstance(rule, When) for row, rule in kind.replaces.items())
    and not (prop.of and prop.of.kind is Kind.BLOCK)
]


def _diff(
    provider: provider_pb2_grpc.ResourceProviderStub, kind: Resource, state: dict[str, Any], new: dict[str, Any]
) -> provider_pb2.DiffResponse:
    return provider.Diff(
        provider_pb2.DiffRequest(
            id="some-id",
            urn=f"urn:pulumi:dev::test::{kind.type_name}::thing",
            olds=encode(state),
            old_inputs=encode(state),
            news=encode(new),
        )
    )


def _values(kind: Resource, path: str) -> tuple[Any, Any]:
    rule = kind.replaces.get(path)
    prop = dict(paths(kind.fields))[path]
    return rule.example if isinstance(rule, When) else (sample(prop, 0), sample(prop, 1))


@pytest.mark.parametrize(("type_name", "path"), _ROWS)
def test_what_the_table_names_forces_a_replacement(
    provider: provider_pb2_grpc.ResourceProviderStub, type_name: str, path: str
) -> None:
    kind = TYPES[type_name]
    before, after = _values(kind, path)
    if dict(paths(kind.fields))[path].kind is Kind.BLOCK:
        before = None
    values = samples(kind.fields)
    state = changed(kind.fields, values, path, before)
    answer = _diff(provider, kind, state, changed(kind.fields, values, path, after))
    name = path.partition(".")[0]
    assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert list(answer.diffs) == [name]
    assert answer.replaces
    assert all(re.sub(r"\[\d+\]", "", replaced).startswith(name) for replaced in answer.replaces)
    kinds = [provider_pb2.PropertyDiff.Kind.Name(each.kind) for each in answer.detailedDiff.values()]
    assert all(each.endswith("_REPLACE") for each in kinds)


@pytest.mark.parametrize(("type_name", "path"), _OTHERS)
def test_what_the_table_does_not_name_is_updated_in_place(
    provider: provider_pb2_grpc.ResourceProviderStub, type_name: str, path: str
) -> None:
    kind = TYPES[type_name]
    before, after = _values(kind, path)
    values = samples(kind.fields)
    state = changed(kind.fields, values, path, before)
    answer = _diff(provider, kind, state, changed(kind.fields, values, path, after))
    assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert not answer.replaces
    assert kind.update or path.startswith("tags") or dict(paths(kind.fields))[path].write_only


@pytest.mark.parametrize("type_name", sorted(TYPES))
def test_nothing_differs_from_itself(provider: provider_pb2_grpc.ResourceProviderStub, type_name: str) -> None:
    values = samples(TYPES[type_name].fields)
    answer = _diff(provider, TYPES[type_name], {**values, "some-output": "computed"}, values)
    assert answer.changes == provider_pb2.DiffResponse.DIFF_NONE
    assert not answer.detailedDiff


@pytest.mark.parametrize("type_name", sorted(TYPES))
def test_every_row_cites_a_file_of_the_official_provider(type_name: str) -> None:
    for rule in TYPES[type_name].replaces.values():
        source = rule.source if isinstance(rule, When) else rule
        assert re.fullmatch(r"internal/service/[a-z0-9]+/[a-z0-9_]+\.go", source)


@pytest.mark.xdist_group("provider-sdk")
@pytest.mark.parametrize("type_name", sorted(TYPES))
def test_inputs_and_outputs_are_those_of_the_sdk(type_name: str) -> None:
    kind = TYPES[type_name]
    resource, inputs, required = _sdk(type_name)
    assert set(kind.inputs) <= inputs, "inputs that the SDK does not have"
    assert required <= {name for name, prop in kind.inputs.items() if prop.required}, "inputs the SDK requires"
    outputs = {
        getattr(value.fget, "_pulumi_name", name)
        for name, value in vars(resource).items()
        if isinstance(value, property)
    }
    common = {"tags", "tagsAll", "region"}
    assert set(kind.outputs) == outputs - inputs - common, "computed outputs that a program could ask for"
    assert ("tagsAll" in outputs) == (kind.tagging is not None)


@pytest.mark.xdist_group("provider-sdk")
@pytest.mark.parametrize("type_name", sorted(TYPES))
def test_nested_inputs_are_those_of_the_sdk(type_name: str) -> None:
    kind = TYPES[type_name]
    module = importlib.import_module(f"pulumi_aws.{_module(type_name)}._inputs")
    known = {
        name
        for _, cls in inspect.getmembers(module, inspect.isclass)
        for name in _names(cls)
        if cls.__name__[0] != "_"
    }
    for path, prop in paths(kind.inputs):
        for name in prop.fields or (prop.of.fields if prop.of else {}):
            assert name in known, f"{path}.{name}"


def _module(type_name: str) -> str:
    module = type_name.split(":")[1].split("/")[0]
    return {"lambda": "lambda_"}.get(module, module)


def _names(cls: type) -> set[str]:
    try:
        return set(_types.input_type_py_to_pulumi_names(cls).values())
    except AssertionError:
        return set()


def _sdk(type_name: str) -> tuple[type, set[str], set[str]]:
    """The resource's class in pulumi_aws, its inputs and the required ones, by their names in Pulumi."""
    module = importlib.import_module(f"pulumi_aws.{_module(type_name)}")
    resource = getattr(module, type_name.rpartition(":")[2])
    signature = inspect.signature(resource._internal_init)
    special = {"__self__", "resource_name", "opts", "__props__"}
    snake = {name for name in signature.parameters if name not in special}
    arguments = next(
        cls
        for name, cls in inspect.getmembers(inspect.getmodule(resource), inspect.isclass)
        if name.endswith("Args")
        and not name.startswith("_")
        and snake <= set(_types.input_type_py_to_pulumi_names(cls))
    )
    names = _types.input_type_py_to_pulumi_names(arguments)
    parameters = list(inspect.signature(arguments.__init__).parameters.values())[1:]
    required = {names[each.name] for each in parameters if each.default is inspect.Parameter.empty}
    assert issubclass(resource, pulumi.CustomResource)
    return resource, {names[name] for name in snake}, required
