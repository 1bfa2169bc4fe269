"""Lambda: functions that keep every setting, are checked as AWS checks them, and run when they are invoked.

moto runs functions in Docker and forgets settings that it does not use. Here Invoke runs the deployed artifact
through `envs.sandbox.functions`, with the credentials of the function's role, and what it wrote goes to its log group
as far as the role permits. Asynchronous invocation (``Event``) is refused: nothing here would retry it.
"""

import base64
import json
import uuid
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast
from urllib.parse import unquote

from moto.awslambda import urls
from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError, UnknownEventConfig
from moto.awslambda.models import EventInvokeConfig, LambdaBackend, LambdaFunction, lambda_backends
from moto.awslambda.responses import LambdaResponse
from moto.core.common_types import TYPE_RESPONSE
from moto.core.utils import iso_8601_datetime_with_milliseconds, unix_time_millis, utcnow
from moto.iam.models import Role
from moto.kms.models import kms_backends
from moto.sqs.models import sqs_backends

from envs.sandbox.aws import lambda_rules as rules
from envs.sandbox.aws import permissions, sts
from envs.sandbox.aws.host import Host
from envs.sandbox.aws.permission_needs import Asked, needs

if TYPE_CHECKING:
    from envs.sandbox.functions import FunctionPool, InvokeResult

_SERVICE: Final = "lambda.amazonaws.com"


class Function(LambdaFunction):
    """A function with the settings that moto's loses."""

    def __init__(self, account_id: str, spec: dict[str, Any], region: str, version: str | int = 1) -> None:
        super().__init__(account_id, spec, region, version)
        self.dead_letter = (spec.get("DeadLetterConfig") or {}).get("TargetArn") or None
        self.logging = self._logging(spec.get("LoggingConfig"))
        self.revision = str(uuid.uuid4())
        self.log_stream = f"{utcnow():%Y/%m/%d}/[{version}]{uuid.uuid4().hex}"

    def get_configuration(self, on_create: bool = False) -> dict[str, Any]:
        told = super().get_configuration(on_create)
        told |= {"LoggingConfig": self.logging, "RevisionId": self.revision}
        if self.dead_letter:
            told["DeadLetterConfig"] = {"TargetArn": self.dead_letter}
        return told

    def get_code(self) -> dict[str, Any]:
        told = super().get_code()
        if self.reserved_concurrency is not None:
            told["Concurrency"] = {"ReservedConcurrentExecutions": self.reserved_concurrency}
        return told

    def update_configuration(self, config_updates: dict[str, Any]) -> dict[str, Any]:
        super().update_configuration({**config_updates, **_whole_environment(config_updates)})
        if "DeadLetterConfig" in config_updates:
            self.dead_letter = config_updates["DeadLetterConfig"].get("TargetArn") or None
        if "LoggingConfig" in config_updates:
            self.logging = self._logging(config_updates["LoggingConfig"])
        if "EphemeralStorage" in config_updates:
            self.ephemeral_storage = config_updates["EphemeralStorage"]["Size"]
        if "TracingConfig" in config_updates:
            self.tracing_config = config_updates["TracingConfig"]
        if "KMSKeyArn" in config_updates:
            self.kms_key_arn = config_updates["KMSKeyArn"] or None
        self.touch()
        return self.get_configuration()

    def touch(self) -> None:
        """Settings or code are new."""
        self.revision = str(uuid.uuid4())
        self.last_modified = iso_8601_datetime_with_milliseconds().replace("Z", "+0000")

    def _logging(self, wanted: dict[str, Any] | None) -> dict[str, Any]:
        told = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{self.function_name}", **(wanted or {})}
        if told["LogFormat"] == "JSON":
            told = {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO", **told}
        return told


class FunctionsBackend(LambdaBackend):
    """moto's backend, with AWS's refusals and with functions that run."""

    host: ClassVar[Host]
    pool: ClassVar["FunctionPool | None"] = None

    @property
    def _url_module(self) -> Any:
        return urls

    def create_function(self, spec: dict[str, Any]) -> LambdaFunction:
        rules.check_settings(spec)
        rules.check_code(spec["Code"])
        self._check_surroundings(spec, self._role(spec["Role"]))
        made = cast(Function, Function(self.account_id, spec, self.region_name, "$LATEST"))
        if "S3Bucket" in spec["Code"]:
            rules.check_zip(made.code_bytes)
        self._lambdas.put_function(made)
        if spec.get("Publish"):
            self.publish_version(made.function_name)
        return made

    def update_function_configuration(
        self, function_name: str, qualifier: str, body: dict[str, Any]
    ) -> dict[str, Any] | None:
        found = self.get_function(function_name, qualifier)
        rules.check_settings(body)
        role = self._role(body.get("Role") or found.role)
        self._check_surroundings(body, role)
        return found.update_configuration(body)

    def update_function_code(self, function_name: str, qualifier: str, body: dict[str, Any]) -> dict[str, Any] | None:
        found = self.get_function(function_name, qualifier)
        rules.check_code(body)
        if body.get("DryRun"):
            return found.get_configuration()
        if "Architectures" in body:
            found.architectures = body["Architectures"]
        found.update_function_code(body)
        if "S3Bucket" in body:
            rules.check_zip(found.code_bytes)
        if isinstance(found, Function):
            found.touch()
        if body.get("Publish"):
            self.publish_version(function_name)
        return found.get_configuration()

    def put_function_event_invoke_config(self, function_name: str, config: dict[str, Any]) -> dict[str, Any]:
        found = self.get_function(function_name)
        for outcome in (config.get("DestinationConfig") or {}).values():
            if target := outcome.get("Destination"):
                self._check_target(target, self._role(found.role))
        known = {"MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig"}
        kept = {name: value for name, value in config.items() if name in known}
        made = EventInvokeConfig(f"{found.function_arn}:$LATEST", str(utcnow().timestamp()), kept)
        made.last_modified = utcnow().timestamp()  # type: ignore[assignment]
        found.event_invoke_config = [made]
        return made.response()

    def update_function_event_invoke_config(self, function_name: str, config: dict[str, Any]) -> dict[str, Any]:
        found = self.get_function(function_name)
        if not found.event_invoke_config:
            raise UnknownEventConfig(found.function_arn)
        return self.put_function_event_invoke_config(function_name, {**found.event_invoke_config[0].config, **config})

    def run(self, function_name: str, qualifier: str | None, payload: bytes) -> tuple[LambdaFunction, "InvokeResult"]:
        """Invokes a function and waits for its answer. Raises Lambda's errors for what cannot be run at all."""
        # Imported late: a sandbox that deploys no function needs no runtime for them.
        from envs.sandbox.account import environment
        from envs.sandbox.functions import FunctionError, FunctionPool

        found = self.get_function(function_name, qualifier)
        if found.reserved_concurrency is not None and int(found.reserved_concurrency) == 0:
            throttled = LambdaClientError("TooManyRequestsException", "Rate Exceeded.")
            throttled.code = 429
            raise throttled
        if FunctionsBackend.pool is None:
            state_dir = self.host.state_dir
            FunctionsBackend.pool = FunctionPool(state_dir, environment=environment(state_dir))
        try:
            result = FunctionsBackend.pool.invoke(
                found.function_name,
                found.code_bytes,
                found.code_sha_256,
                found.handler or "",
                found.run_time or "",
                found.architectures[0],
                found.environment_vars,
                float(found.timeout),
                int(found.memory_size),
                payload or b"{}",
                version=str(found.version),
                function_arn=found.function_arn,
                credentials=lambda: self._credentials(found.role),
            )
        except (FunctionError, sts.TrustError) as error:
            raise InvalidParameterValueException(str(error)) from error
        self._write_log(found, result.log)
        return found, result

    def _credentials(self, role_arn: str) -> dict[str, str]:
        assumed = sts.assume_for_service(self.host.account, self.region_name, role_arn, _SERVICE)
        return {
            "AWS_ACCESS_KEY_ID": assumed.access_key_id,
            "AWS_SECRET_ACCESS_KEY": assumed.secret_access_key,
            "AWS_SESSION_TOKEN": assumed.session_token,
        }

    def _role(self, arn: str) -> Role:
        try:
            return sts.trusted_role(self.host.account, arn, _SERVICE)
        except sts.TrustError as error:
            raise InvalidParameterValueException(
                f"The role defined for the function cannot be assumed by Lambda. ({error})"
            ) from error

    def _check_surroundings(self, spec: dict[str, Any], role: Role) -> None:
        if key := spec.get("KMSKeyArn"):
            kms = kms_backends[self.account_id][self.region_name]
            if kms.get_key_id(key) not in kms.keys:
                raise InvalidParameterValueException(f"The KMS key {key} does not exist.")
        if target := (spec.get("DeadLetterConfig") or {}).get("TargetArn"):
            self._check_target(target, role)

    def _check_target(self, target: str, role: Role) -> None:
        rules.check_may_send(role, target)
        if (
            target.split(":")[2] == "sqs"
            and target.split(":")[-1] not in sqs_backends[self.account_id][self.region_name].queues
        ):
            raise InvalidParameterValueException(f"The queue {target} does not exist.")

    def _write_log(self, found: LambdaFunction, written: bytes) -> None:
        if not isinstance(found, Function):
            return
        account, group, stream = self.host.account, found.logging["LogGroup"], found.log_stream
        who = permissions.role_caller(account, self._role(found.role), _SERVICE)
        logs = found.logs_backend

        def may(operation: str, stream: str) -> bool:
            names = {"logGroupName": group, "logStreamName": stream}
            return permissions.may(
                account, who, needs(Asked("logs", operation, self.account_id, self.region_name, names))
            )

        if group not in logs.groups:
            if not may("CreateLogGroup", ""):
                return
            logs.create_log_group(group, {})
        if stream not in logs.groups[group].streams:
            if not may("CreateLogStream", stream):
                return
            logs.create_log_stream(group, stream)
        if may("PutLogEvents", stream):
            now = int(unix_time_millis())
            lines = written.decode(errors="replace").splitlines()
            logs.put_log_events(group, stream, [{"timestamp": now, "message": line} for line in lines])


class _Response(LambdaResponse):
    """moto's responses, with an Invoke that runs."""

    def invoke(self) -> TYPE_RESPONSE:  # type: ignore[override]
        backend = self.backend
        assert isinstance(backend, FunctionsBackend)  # noqa: S101 (for the type checker; `install` sees to it)
        name = unquote(self.path.rsplit("/", 2)[-2])
        qualifier = self._get_param("Qualifier")
        kind = self.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if kind == "DryRun":
            backend.get_function(name, qualifier)
            return 204, {"status": "204"}, ""
        if kind != "RequestResponse":
            raise LambdaClientError(
                "NotImplemented",
                f"the emulated Lambda does not invoke {name} asynchronously ({kind}): it would not retry it. Use "
                "RequestResponse",
            )
        found, result = backend.run(name, qualifier, self.raw_body)
        headers = {"content-type": "application/json", "X-Amz-Executed-Version": str(found.version)}
        if result.function_error:
            headers["X-Amz-Function-Error"] = result.function_error
        if self.headers.get("X-Amz-Log-Type") == "Tail":
            headers["X-Amz-Log-Result"] = base64.b64encode(result.log_tail).decode()
        return 200, headers, result.payload  # type: ignore[return-value]

    def put_function_event_invoke_config(self) -> TYPE_RESPONSE:  # type: ignore[override]
        name = unquote(self.path.rsplit("/", 2)[1])
        return 200, {}, json.dumps(self.backend.put_function_event_invoke_config(name, self.json_body))

    def get_function_event_invoke_config(self) -> TYPE_RESPONSE:  # type: ignore[override]
        name = unquote(self.path.rsplit("/", 2)[1])
        return 200, {}, json.dumps(self.backend.get_function_event_invoke_config(name))


def install(host: Host) -> None:
    """Puts this backend and its responses in the place of moto's."""
    FunctionsBackend.host = host
    lambda_backends.backend = FunctionsBackend
    # A name may end in :$LATEST. (A plain dollar is taken out of every path on the way to the server.)
    paths = (path.replace(r"[\w_:%-]+", r"[\w_:%\x24-]+") for path in urls.url_paths)
    urls.url_paths = dict.fromkeys(paths, _Response.dispatch)


def close() -> None:
    """Ends the workers that ran functions."""
    if FunctionsBackend.pool is not None:
        FunctionsBackend.pool.close()
        FunctionsBackend.pool = None


def _whole_environment(updates: dict[str, Any]) -> dict[str, Any]:
    if "Environment" not in updates:
        return {}
    return {"Environment": {"Variables": (updates["Environment"] or {}).get("Variables") or {}}}
