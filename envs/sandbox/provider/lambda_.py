"""Functions and what becomes of their failed asynchronous calls."""

from typing import Any, Final

from envs.sandbox.provider.archives import zipped
from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.resource import Args, AutoName, Resource, Tagging
from envs.sandbox.provider.schema import archive, block, boolean, integer, mapping, sequence, text, unordered
from envs.sandbox.provider.translate import answer, request

_FUNCTION_SOURCE: Final = "internal/service/lambda/function.go"
_FUNCTION: Final = {
    "architectures": sequence(text(), computed=True),
    "code": archive(),
    "codeSha256": text(computed=True),
    "deadLetterConfig": block({"targetArn": text(required=True)}),
    "description": text(),
    "environment": block({"variables": mapping(text())}),
    "ephemeralStorage": block({"size": integer(computed=True)}, computed=True),
    "handler": text(),
    "kmsKeyArn": text(api="KMSKeyArn"),
    "layers": sequence(text()),
    "loggingConfig": block(
        {
            "applicationLogLevel": text(),
            "logFormat": text(required=True),
            "logGroup": text(computed=True),
            "systemLogLevel": text(),
        },
        computed=True,
    ),
    "memorySize": integer(default=128),
    "name": text(computed=True, api="FunctionName"),
    "packageType": text(default="Zip"),
    "publish": boolean(default=False, write_only=True),
    "reservedConcurrentExecutions": integer(default=-1),
    "role": text(required=True),
    "runtime": text(),
    "sourceCodeHash": text(computed=True, write_only=True),
    "timeout": integer(default=3),
    "tracingConfig": block({"mode": text(required=True)}, computed=True),
    "vpcConfig": block(
        {
            "ipv6AllowedForDualStack": boolean(default=False),
            "securityGroupIds": unordered(text(), required=True),
            "subnetIds": unordered(text(), required=True),
        }
    ),
}
_NO_CONFIGURATION: Final = ("code", "codeSha256", "publish", "reservedConcurrentExecutions", "sourceCodeHash")
_CONFIGURATION: Final = tuple(name for name in _FUNCTION if name not in _NO_CONFIGURATION)
_FIXED: Final = ("name", "packageType")
_CODE: Final = ("architectures", "code", "codeSha256", "sourceCodeHash")


def _add_tags(aws: Aws, _: str, state: Args, tags: dict[str, str]) -> None:
    aws.client("lambda").tag_resource(Resource=state["arn"], Tags=tags)


def _remove_tags(aws: Aws, _: str, state: Args, keys: list[str]) -> None:
    aws.client("lambda").untag_resource(Resource=state["arn"], TagKeys=keys)


def _create_function(aws: Aws, args: Args) -> str:
    wanted = request(_FUNCTION, args, _CONFIGURATION)
    wanted |= {"Code": {"ZipFile": zipped(args["code"])}, "Publish": bool(args.get("publish"))}
    aws.client("lambda").create_function(**wanted, Tags=args.get("tagsAll") or {})
    return args["name"]


def _finish_function(aws: Aws, identifier: str, args: Args) -> None:
    _wait(aws, identifier, "State", "Active")
    _reserve(aws, identifier, args)


def _wait(aws: Aws, identifier: str, field: str, wanted: str) -> None:
    client = aws.client("lambda")
    aws.wait(
        f"function {identifier} becomes {wanted}",
        lambda: client.get_function_configuration(FunctionName=identifier).get(field, wanted) == wanted,
        minutes=10,
    )


def _reserve(aws: Aws, identifier: str, args: Args) -> None:
    reserved = args.get("reservedConcurrentExecutions", -1)
    if reserved >= 0:
        aws.client("lambda").put_function_concurrency(FunctionName=identifier, ReservedConcurrentExecutions=reserved)


def _read_function(aws: Aws, identifier: str, _: Args) -> Args | None:
    client = aws.client("lambda")
    found = find(lambda: client.get_function(FunctionName=identifier), "ResourceNotFoundException")
    if found is None:
        return None
    told = found["Configuration"]
    arn = told["FunctionArn"].removesuffix(":$LATEST")
    invoke = f"arn:{aws.partition}:apigateway:{aws.region}:lambda:path/2015-03-31/functions/"
    streaming = invoke.replace("2015-03-31", "2021-11-15")
    vpc = told.get("VpcConfig") or {}
    return {
        **answer(_FUNCTION, told, _CONFIGURATION),
        # Functions outside of a VPC are told with an empty one.
        "vpcConfig": answer(_FUNCTION, told, ("vpcConfig",)).get("vpcConfig") if vpc.get("SubnetIds") else None,
        "reservedConcurrentExecutions": found.get("Concurrency", {}).get("ReservedConcurrentExecutions", -1),
        "arn": arn,
        "codeSha256": told["CodeSha256"],
        "invokeArn": f"{invoke}{arn}/invocations",
        "lastModified": told["LastModified"],
        "qualifiedArn": f"{arn}:{told['Version']}",
        "qualifiedInvokeArn": f"{invoke}{arn}:{told['Version']}/invocations",
        "responseStreamingInvokeArn": f"{streaming}{arn}/response-streaming-invocations",
        "signingJobArn": told.get("SigningJobArn", ""),
        "signingProfileVersionArn": told.get("SigningProfileVersionArn", ""),
        "sourceCodeSize": told["CodeSize"],
        "version": told["Version"],
        "tagsAll": found.get("Tags", {}),
    }


def _update_function(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    client = aws.client("lambda")
    if configured := changed & set(_CONFIGURATION) - {"architectures"}:
        wanted = request(_FUNCTION, new, set(_CONFIGURATION) - {"architectures", *_FIXED})
        # What the program no longer says is taken back with an empty value.
        wanted |= {
            api: empty for name, (api, empty) in _TAKEN_BACK.items() if name in configured and new.get(name) is None
        }
        client.update_function_configuration(FunctionName=identifier, **wanted)
        _wait(aws, identifier, "LastUpdateStatus", "Successful")
    if changed & set(_CODE):
        wanted = request(_FUNCTION, new, ("architectures",)) | {"ZipFile": zipped(new["code"])}
        client.update_function_code(FunctionName=identifier, **wanted, Publish=bool(new.get("publish")))
        _wait(aws, identifier, "LastUpdateStatus", "Successful")
    if "reservedConcurrentExecutions" in changed:
        if new.get("reservedConcurrentExecutions", -1) < 0:
            client.delete_function_concurrency(FunctionName=identifier)
        _reserve(aws, identifier, new)


_TAKEN_BACK: Final[dict[str, tuple[str, Any]]] = {
    "deadLetterConfig": ("DeadLetterConfig", {"TargetArn": ""}),
    "description": ("Description", ""),
    "environment": ("Environment", {"Variables": {}}),
    "kmsKeyArn": ("KMSKeyArn", ""),
    "layers": ("Layers", []),
    "vpcConfig": ("VpcConfig", {"SubnetIds": [], "SecurityGroupIds": []}),
}


def _delete_function(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("ResourceNotFoundException"):
        aws.client("lambda").delete_function(FunctionName=identifier)


FUNCTION: Final = Resource(
    type_name="aws:lambda/function:Function",
    inputs=_FUNCTION,
    outputs=(
        "arn",
        "invokeArn",
        "lastModified",
        "qualifiedArn",
        "qualifiedInvokeArn",
        "responseStreamingInvokeArn",
        "signingJobArn",
        "signingProfileVersionArn",
        "sourceCodeSize",
        "version",
    ),
    replaces=dict.fromkeys(_FIXED, _FUNCTION_SOURCE),
    create=_create_function,
    finish=_finish_function,
    read=_read_function,
    update=_update_function,
    delete=_delete_function,
    tagging=Tagging(_add_tags, _remove_tags),
    name=AutoName(longest=64),
    recomputed_by={
        "lastModified": (*_CONFIGURATION, *_CODE),
        "codeSha256": ("code",),
        "sourceCodeSize": ("code",),
    },
)


# What becomes of asynchronous calls -----------------------------------------------------------------------------

_DESTINATION: Final = block({"destination": text(required=True)})
_EVENTS: Final = {
    "destinationConfig": block({"onFailure": _DESTINATION, "onSuccess": _DESTINATION}),
    "functionName": text(required=True),
    "maximumEventAgeInSeconds": integer(),
    "maximumRetryAttempts": integer(default=2),
    "qualifier": text(),
}


def _put_events(aws: Aws, args: Args) -> str:
    aws.client("lambda").put_function_event_invoke_config(**request(_EVENTS, args))
    return ":".join(part for part in (args["functionName"], args.get("qualifier")) if part)


def _which(identifier: str, prior: Args) -> dict[str, str]:
    if prior.get("functionName"):
        return request(_EVENTS, prior, ("functionName", "qualifier"))
    # An import's id: a name or an ARN, and perhaps a qualifier (`functionEventInvokeConfigParseResourceID`).
    parts = identifier.split(":")
    plain = 7 if identifier.startswith("arn:") else 1
    qualified = {"Qualifier": parts[plain]} if len(parts) > plain else {}
    return {"FunctionName": ":".join(parts[:plain]), **qualified}


def _read_events(aws: Aws, identifier: str, prior: Args) -> Args | None:
    where = _which(identifier, prior)
    ask = aws.client("lambda").get_function_event_invoke_config
    found = find(lambda: ask(**where), "ResourceNotFoundException")
    return found and {
        **answer(_EVENTS, found, ("destinationConfig", "maximumEventAgeInSeconds", "maximumRetryAttempts")),
        **answer(_EVENTS, where, ("functionName", "qualifier")),
    }


def _update_events(aws: Aws, _: str, __: Args, new: Args, ___: set[str]) -> None:
    _put_events(aws, new)


def _delete_events(aws: Aws, identifier: str, state: Args) -> None:
    with ignoring("ResourceNotFoundException"):
        aws.client("lambda").delete_function_event_invoke_config(**_which(identifier, state))


EVENT_INVOKE_CONFIG: Final = Resource(
    type_name="aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig",
    inputs=_EVENTS,
    outputs=(),
    replaces=dict.fromkeys(("functionName", "qualifier"), "internal/service/lambda/function_event_invoke_config.go"),
    create=_put_events,
    read=_read_events,
    update=_update_events,
    delete=_delete_events,
    identity=("functionName", "qualifier"),
)

RESOURCES: Final = (FUNCTION, EVENT_INVOKE_CONFIG)
