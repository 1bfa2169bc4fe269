"""What Lambda refuses of a function's settings and code.

Sources: Lambda API Reference (CreateFunction, UpdateFunctionConfiguration), Lambda Developer Guide ("Lambda quotas",
"Defined runtime environment variables", "Configuring advanced logging controls", "Giving Lambda functions access to
resources in an Amazon VPC"). What AWS accepts although it cannot
run, an artifact without the handler's module for one, is accepted here too and fails when it is invoked.
"""

import base64
import binascii
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, Final

from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError
from moto.iam.models import Role

from envs.sandbox.aws import policy

MAX_ZIPPED: Final = 50 * 1024 * 1024
"""Bytes of an artifact that is uploaded directly."""
MAX_UNZIPPED: Final = 250 * 1024 * 1024
"""Bytes of all files of an artifact and its layers."""
MAX_ENVIRONMENT: Final = 4096
"""Bytes of all environment variables, names and values."""

_RESERVED: Final = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)
MAX_EVENT: Final = 1024 * 1024
"""Bytes of an asynchronous invocation's event."""


def check_settings(spec: Mapping[str, Any]) -> None:
    """The settings that a request carries, as far as they need no look at other services."""
    variables = (spec.get("Environment") or {}).get("Variables") or {}
    if reserved := sorted(_RESERVED & variables.keys()):
        raise InvalidParameterValueException(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. Reserved keys used "
            f"in this request: {', '.join(reserved)}"
        )
    size = sum(len(name.encode()) + len(value.encode()) for name, value in variables.items())
    if size > MAX_ENVIRONMENT:
        raise InvalidParameterValueException(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {size} bytes"
        )
    _in_range("memorySize", spec.get("MemorySize", 128), 128, 10240)
    _in_range("timeout", spec.get("Timeout", 3), 1, 900)
    logging = spec.get("LoggingConfig") or {}
    if logging.get("LogFormat", "Text") != "JSON" and (
        logging.get("ApplicationLogLevel") or logging.get("SystemLogLevel")
    ):
        raise InvalidParameterValueException("Log levels can be set for the log format JSON only.")


def check_code(code: Mapping[str, Any]) -> None:
    """A directly uploaded artifact: its size, and that it is a zip."""
    if "ZipFile" not in code:
        return
    try:
        zipped = base64.b64decode(code["ZipFile"])
    except binascii.Error as error:
        raise InvalidParameterValueException(f"The code is not base64: {error}") from error
    if len(zipped) > MAX_ZIPPED:
        refused = LambdaClientError(
            "RequestEntityTooLargeException",
            f"An artifact of {len(zipped)} bytes cannot be uploaded directly, the limit is {MAX_ZIPPED}: use S3.",
        )
        refused.code = 413
        raise refused
    check_zip(zipped)


def check_zip(zipped: bytes) -> None:
    """An artifact, wherever it came from: a zip whose files are not too large together."""
    try:
        with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
            unzipped = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        raise InvalidParameterValueException(
            "Could not unzip uploaded file. Please check your file, then try to upload again."
        ) from None
    if unzipped > MAX_UNZIPPED:
        raise InvalidParameterValueException(f"Unzipped size must be smaller than {MAX_UNZIPPED} bytes")


def role_documents(role: Role) -> list[str]:
    """All policies of a role: inline and attached."""
    return [*role.policies.values(), *(str(each.document) for each in role.managed_policies.values())]  # type: ignore[attr-defined]


def check_may_send(role: Role, target: str) -> None:
    """The role may send to a dead-letter queue or destination (an ARN), and that is a queue."""
    service = target.split(":")[2] if target.count(":") >= 5 else ""
    if service != "sqs":
        raise LambdaClientError(
            "NotImplemented", f"the emulated Lambda sends to SQS queues only: {target} is no destination here"
        )
    check_may(role, "SendMessage", target)


def check_may(role: Role, call: str, queue_arn: str) -> None:
    """The role may do something to a queue."""
    if not policy.permits(role_documents(role), f"sqs:{call}", queue_arn):
        raise InvalidParameterValueException(
            f"The provided execution role does not have permissions to call {call} on SQS"
        )


def check_may_attach(role: Role, subnets: Sequence[str], groups: Sequence[str], account_id: str, region: str) -> None:
    """The role may manage the network interfaces of a function in a VPC: make them in its subnets with its groups,
    take any of them away, and look all of them up (Lambda Developer Guide, "Giving Lambda functions access to
    resources in an Amazon VPC")."""
    here = f"arn:aws:ec2:{region}:{account_id}"
    interface = f"{here}:network-interface/eni-0123456789abcdef0"
    placed = [*(f"{here}:subnet/{each}" for each in subnets), *(f"{here}:security-group/{each}" for each in groups)]
    needed = [
        *(("CreateNetworkInterface", resource) for resource in (interface, *placed)),
        ("DescribeNetworkInterfaces", "*"),
        ("DeleteNetworkInterface", interface),
    ]
    for action, resource in needed:
        if not policy.permits(role_documents(role), f"ec2:{action}", resource):
            raise InvalidParameterValueException(
                f"The provided execution role does not have permissions to call {action} on EC2"
            )


def check_event(payload: bytes) -> None:
    """The event of an asynchronous invocation: JSON, and not too large."""
    if len(payload) > MAX_EVENT:
        refused = LambdaClientError(
            "RequestTooLargeException",
            f"{len(payload)} byte payload is too large for the Event invocation type (limit {MAX_EVENT} bytes)",
        )
        refused.code = 413
        raise refused
    try:
        json.loads(payload or b"{}")
    except ValueError as error:
        raise LambdaClientError(
            "InvalidRequestContentException", f"Could not parse request body into json: {error}"
        ) from error


def check_event_settings(config: Mapping[str, Any]) -> None:
    """What becomes of asynchronous invocations that fail."""
    _in_range("maximumRetryAttempts", config.get("MaximumRetryAttempts", 2), 0, 2)
    _in_range("maximumEventAgeInSeconds", config.get("MaximumEventAgeInSeconds", 21600), 60, 21600)


def _in_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InvalidParameterValueException(f"Value {value} at '{name}' must be from {low} to {high}.")
