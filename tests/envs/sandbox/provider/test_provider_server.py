"""What the engine is told: names, defaults, plans, and refusals that a user can act on."""

import json
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from provider_stage import REGION, SETTINGS, Connect
from pulumi.runtime.proto import provider_pb2
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderStub

from envs.sandbox.provider.codec import UNKNOWN, Output, Secret, decode, encode

_SEED = b"\x01" * 32
_VPC = "aws:ec2/vpc:Vpc"
_QUEUE = "aws:sqs/queue:Queue"


def _urn(kind: str, name: str = "thing") -> str:
    return f"urn:pulumi:dev::test::fleet$component${kind}::{name}"


def _check(
    stub: ResourceProviderStub,
    kind: str,
    news: dict[str, Any],
    olds: dict[str, Any] | None = None,
    name: str = "thing",
    seed: bytes = _SEED,
) -> tuple[dict[str, Any], dict[str, str]]:
    answer = stub.Check(
        provider_pb2.CheckRequest(urn=_urn(kind, name), olds=encode(olds or {}), news=encode(news), randomSeed=seed)
    )
    return decode(answer.inputs), {failure.property: failure.reason for failure in answer.failures}


def _diff(
    stub: ResourceProviderStub, kind: str, state: dict[str, Any], news: dict[str, Any], ignore: tuple[str, ...] = ()
) -> provider_pb2.DiffResponse:
    return stub.Diff(
        provider_pb2.DiffRequest(
            id="x", urn=_urn(kind), olds=encode(state), news=encode(news), ignoreChanges=list(ignore)
        )
    )


def _refusal(call: Any, request: Any) -> str:
    with pytest.raises(grpc.RpcError) as refused:
        call(request)
    message = str(refused.value.details())  # type: ignore[attr-defined]
    assert "Traceback" not in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("GetSchema", provider_pb2.GetSchemaRequest()),
        ("Construct", provider_pb2.ConstructRequest()),
        ("Call", provider_pb2.CallRequest()),
        ("Parameterize", provider_pb2.ParameterizeRequest()),
        ("GetMapping", provider_pb2.GetMappingRequest()),
    ],
)
def test_what_is_not_implemented_says_so_by_name(provider: ResourceProviderStub, method: str, request_: Any) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        getattr(provider, method)(request_)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]
    assert method in refused.value.details()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "named", "words"),
    [
        ({"allowedAccountIds": None}, "allowedAccountIds", "must be exactly ['123456789012']"),
        ({"allowedAccountIds": '["999999999999"]'}, "allowedAccountIds", "the number of the emulated account"),
        ({"allowedAccountIds": '["123456789012","999999999999"]'}, "allowedAccountIds", "must be exactly"),
        ({"allowedAccountIds": UNKNOWN}, "allowedAccountIds", "must be exactly"),
        ({"profile": "prod"}, "profile", "is not emulated by the sandbox's aws provider"),
        ({"assumeRoles": "[{}]"}, "assumeRoles", "leave it out"),
        ({"defaultTags": '{"tags":{},"more":1}'}, "defaultTags", "must be an object with only `tags`"),
        ({"region": UNKNOWN}, "region", "is missing or not known"),
    ],
)
def test_settings_of_another_stack_are_refused(
    connect: Connect, settings: dict[str, Any], named: str, words: str
) -> None:
    news = {name: value for name, value in {**SETTINGS, **settings}.items() if value is not None}
    answer = connect(None).CheckConfig(provider_pb2.CheckRequest(urn=_urn("pulumi:providers:aws"), news=encode(news)))
    assert [failure.property for failure in answer.failures] == [named]
    assert words in answer.failures[0].reason


def test_settings_that_the_sdk_sends_are_accepted(connect: Connect) -> None:
    news = {**SETTINGS, "skipCredentialsValidation": "false", "skipRegionValidation": "true", "version": "7.51.1"}
    answer = connect(None).CheckConfig(provider_pb2.CheckRequest(news=encode(news)))
    assert not answer.failures
    assert decode(answer.inputs) == news


def test_another_region_replaces_the_provider_and_other_tags_do_not(connect: Connect) -> None:
    def diff(changes: dict[str, str]) -> provider_pb2.DiffResponse:
        request = provider_pb2.DiffRequest(old_inputs=encode(SETTINGS), news=encode({**SETTINGS, **changes}))
        return connect(None).DiffConfig(request)

    assert list(diff({"region": "us-east-1"}).replaces) == ["region"]
    assert list(diff({"defaultTags": "{}"}).diffs) == ["defaultTags"]
    assert not diff({"defaultTags": "{}"}).replaces
    assert diff({}).changes == provider_pb2.DiffResponse.DIFF_NONE


def test_an_instance_that_was_not_configured_is_refused(connect: Connect) -> None:
    message = _refusal(connect(None).Check, provider_pb2.CheckRequest(urn=_urn(_VPC)))
    assert "before it configured it" in message


def test_each_instance_has_default_tags_of_its_own(connect: Connect) -> None:
    one = connect(SETTINGS)
    other = connect({**SETTINGS, "defaultTags": json.dumps({"tags": {"Team": "blue", "Env": "prod"}})})
    news = {"cidrBlock": "10.0.0.0/16", "tags": {"Name": "n", "Env": "mine"}}
    assert _check(one, _VPC, news)[0]["tagsAll"] == {"Name": "n", "Env": "mine"}
    assert _check(other, _VPC, news)[0]["tagsAll"] == {"Name": "n", "Env": "mine", "Team": "blue"}
    assert _check(one, _VPC, {"cidrBlock": "10.0.0.0/16"})[0]["tagsAll"] == {"Env": "test"}


def test_an_unknown_type_is_refused_with_a_way_to_add_it(provider: ResourceProviderStub) -> None:
    message = _refusal(provider.Check, provider_pb2.CheckRequest(urn=_urn("aws:dynamodb/table:Table")))
    assert "does not emulate the resource type aws:dynamodb/table:Table" in message
    assert "declare a Resource" in message
    assert _VPC in message


def test_unknown_properties_are_refused_by_their_paths(provider: ResourceProviderStub) -> None:
    rules = [{"id": "a", "status": "Enabled", "prefix": "old"}]
    news = {"bucket": "b", "rules": rules, "colour": "red"}
    _, failures = _check(provider, "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", news)
    assert set(failures) == {"rules[0].prefix", "colour"}
    assert "add it to aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration" in failures["colour"]


def test_a_region_of_its_own_is_refused(provider: ResourceProviderStub) -> None:
    assert not _check(provider, _VPC, {"cidrBlock": "10.0.0.0/16", "region": REGION})[1]
    assert set(_check(provider, _VPC, {"cidrBlock": "10.0.0.0/16", "region": "us-east-1"})[1]) == {"region"}


@pytest.mark.parametrize(
    ("kind", "news", "name", "property_", "pattern"),
    [
        (_QUEUE, {}, "Jobs", "name", "Jobs-"),
        (_QUEUE, {"fifoQueue": True}, "jobs", "name", "jobs-"),
        ("aws:s3/bucket:Bucket", {}, "Archive", "bucket", "archive-"),
        ("aws:kms/alias:Alias", {"targetKeyId": "k"}, "data", "name", "alias/data-"),
        ("aws:msk/cluster:Cluster", {}, "kafka", "clusterName", "kafka-"),
    ],
)
def test_names_are_made_from_the_seed(
    provider: ResourceProviderStub, kind: str, news: dict[str, Any], name: str, property_: str, pattern: str
) -> None:
    made = [_check(provider, kind, news, name=name, seed=seed)[0][property_] for seed in (_SEED, _SEED, b"other")]
    assert made[0] == made[1] != made[2]
    assert made[0].startswith(pattern)
    suffix = made[0].removeprefix(pattern).removesuffix(".fifo")
    assert len(suffix) == 7
    assert set(suffix) <= set("0123456789abcdef")
    assert made[0].endswith(".fifo") == bool(news.get("fifoQueue"))


def test_long_names_are_cut_to_what_aws_takes(provider: ResourceProviderStub) -> None:
    assert len(_check(provider, _QUEUE, {}, name="q" * 200)[0]["name"]) == 80


def test_made_up_names_are_kept_and_given_ones_are_not(provider: ResourceProviderStub) -> None:
    first, _ = _check(provider, _QUEUE, {})
    again, _ = _check(provider, _QUEUE, {"delaySeconds": 5}, olds=first, seed=b"another")
    assert again["name"] == first["name"]
    given, _ = _check(provider, _QUEUE, {"name": "mine"}, olds=first)
    assert given["name"] == "mine"
    without, _ = _check(provider, _QUEUE, {}, olds=given)
    assert without["name"] == first["name"]


def test_a_replacement_under_the_same_fixed_name_deletes_first(provider: ResourceProviderStub) -> None:
    made_up, _ = _check(provider, _QUEUE, {"fifoQueue": False})
    changed = {**made_up, "fifoQueue": True}
    assert not _diff(provider, _QUEUE, made_up, changed).deleteBeforeReplace
    fixed, _ = _check(provider, _QUEUE, {"name": "jobs"})
    assert _diff(provider, _QUEUE, fixed, {**fixed, "fifoQueue": True}).deleteBeforeReplace
    assert not _diff(provider, _QUEUE, fixed, {**fixed, "name": "others"}).deleteBeforeReplace


def test_ignored_changes_are_no_difference(provider: ResourceProviderStub) -> None:
    state = {"cidrBlock": "10.0.0.0/16", "enableDnsSupport": True, "tags": {"a": "1", "b": "1"}}
    news = {**state, "enableDnsSupport": False, "tags": {"a": "2", "b": "1"}}
    answer = _diff(provider, _VPC, state, news, ignore=("enableDnsSupport", "tags.a"))
    assert answer.changes == provider_pb2.DiffResponse.DIFF_NONE


def test_a_difference_is_told_by_its_path(provider: ResourceProviderStub) -> None:
    rules = [{"id": "a", "status": "Enabled"}, {"id": "b", "status": "Enabled"}]
    changed = [rules[0], {**rules[1], "status": "Disabled", "expiration": {"days": 3}}]
    kind = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    answer = _diff(provider, kind, {"bucket": "x", "rules": rules}, {"bucket": "x", "rules": changed})
    kinds = {path: provider_pb2.PropertyDiff.Kind.Name(each.kind) for path, each in answer.detailedDiff.items()}
    assert kinds == {"rules[1].status": "UPDATE", "rules[1].expiration": "ADD"}
    assert list(answer.diffs) == ["rules"]


def test_a_preview_knows_inputs_and_no_outputs(provider: ResourceProviderStub) -> None:
    news, _ = _check(provider, _VPC, {"cidrBlock": "10.0.0.0/16", "tags": Secret({"Name": UNKNOWN})})
    answer = provider.Create(provider_pb2.CreateRequest(urn=_urn(_VPC), properties=encode(news), preview=True))
    planned = decode(answer.properties)
    assert answer.id == ""
    assert planned["cidrBlock"] == "10.0.0.0/16"
    assert planned["arn"] is UNKNOWN
    assert planned["enableDnsHostnames"] is UNKNOWN
    assert planned["tags"] == Secret({"Name": UNKNOWN})


def test_a_preview_of_an_update_keeps_what_it_does_not_change(provider: ResourceProviderStub) -> None:
    kind = "aws:ec2/launchTemplate:LaunchTemplate"
    state = {"name": "t", "imageId": "ami-1", "arn": "an-arn", "latestVersion": 3, "defaultVersion": 1}
    planned = provider.Update(
        provider_pb2.UpdateRequest(
            id="lt-1",
            urn=_urn(kind),
            olds=encode(state),
            news=encode({"name": "t", "imageId": Output("ami-2")}),
            preview=True,
        )
    )
    assert decode(planned.properties) == {
        "name": "t",
        "imageId": "ami-2",
        "arn": "an-arn",
        "latestVersion": UNKNOWN,
        "defaultVersion": 1,
        "metadataOptions": UNKNOWN,
        "region": UNKNOWN,
    }


@pytest.mark.parametrize(
    ("token", "args", "words"),
    [
        ("aws:ec2/getAmi:getAmi", {}, "does not emulate the data source aws:ec2/getAmi:getAmi"),
        (
            "aws:index/getAvailabilityZones:getAvailabilityZones",
            {"allAvailabilityZones": True},
            "allAvailabilityZones",
        ),
        ("aws:index/getRegion:getRegion", {"region": "us-east-1"}, "a region of its own is not emulated"),
    ],
)
def test_data_sources_that_are_not_emulated_are_refused(
    provider: ResourceProviderStub, token: str, args: dict[str, Any], words: str
) -> None:
    assert words in _refusal(provider.Invoke, provider_pb2.InvokeRequest(tok=token, args=encode(args)))


def test_region_and_partition_are_told(provider: ResourceProviderStub) -> None:
    def told(name: str) -> dict[str, Any]:
        answer = provider.Invoke(provider_pb2.InvokeRequest(tok=f"aws:index/{name}:{name}"))
        return decode(getattr(answer, "return"))

    assert told("getRegion")["region"] == REGION
    assert told("getPartition")["partition"] == "aws"


def test_the_provider_says_which_release_it_stands_for(provider: ResourceProviderStub) -> None:
    assert provider.GetPluginInfo(Empty()).version == "7.51.1"
