"""Lambda: functions that are checked as AWS checks them, and run: invoked at once, later, or for messages of a queue.

moto runs functions in Docker and forgets settings that it does not use. Here the deployed artifact runs through
`envs.sandbox.functions`, with the credentials of the function's role. What runs in the background is in
`lambda_async` and `lambda_pollers`.
"""

import base64
import json
import threading
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import unquote

from moto.awslambda import urls
from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError, UnknownEventConfig
from moto.awslambda.models import EventInvokeConfig, LambdaBackend, LambdaFunction, lambda_backends
from moto.awslambda.responses import LambdaResponse
from moto.core.common_types import TYPE_RESPONSE
from moto.core.utils import utcnow

from envs.sandbox.aws import lambda_mappings as mappings
from envs.sandbox.aws import lambda_policy
from envs.sandbox.aws import lambda_rules as rules
from envs.sandbox.aws.host import Host
from envs.sandbox.aws.lambda_async import AsyncInvocations, Event
from envs.sandbox.aws.lambda_function import Function, check_surroundings, check_target, function_role
from envs.sandbox.aws.lambda_mappings import QueueMapping
from envs.sandbox.aws.lambda_pollers import Poller
from envs.sandbox.aws.lambda_run import NotRunnableError, Runner, ThrottledError

if TYPE_CHECKING:
    from envs.sandbox.functions import InvokeResult


class FunctionsBackend(LambdaBackend):
    """moto's backend, with AWS's refusals and with functions that run."""

    host: ClassVar[Host]
    runner: ClassVar[Runner]
    waiting: ClassVar[AsyncInvocations]

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._mappings: dict[str, QueueMapping] = {}
        self._event_source_mappings = self._mappings  # type: ignore[assignment] (moto looks tags up here)
        self._pollers: dict[str, Poller] = {}
        self._changing = threading.RLock()

    @property
    def _url_module(self) -> Any:
        return urls

    def create_function(self, spec: dict[str, Any]) -> LambdaFunction:
        rules.check_settings(spec)
        rules.check_code(spec["Code"])
        check_surroundings(spec, self._role(spec["Role"]), self.account_id, self.region_name)
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
        check_surroundings(body, self._role(body.get("Role") or found.role), self.account_id, self.region_name)
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
        rules.check_event_settings(config)
        for outcome in (config.get("DestinationConfig") or {}).values():
            if target := outcome.get("Destination"):
                check_target(target, self._role(found.role))
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

    def add_permission(self, function_name: str, qualifier: str, raw: str) -> dict[str, Any]:
        found = self.get_function(function_name, qualifier)
        return super().add_permission(function_name, qualifier, lambda_policy.checked(found, raw))

    # Invocations

    def run(self, function_name: str, qualifier: str | None, payload: bytes) -> tuple[LambdaFunction, "InvokeResult"]:
        """Invokes a function and waits for its answer. Raises Lambda's errors for what cannot be run at all."""
        found = self.get_function(function_name, qualifier)
        try:
            return found, self.runner.run(found, payload)
        except ThrottledError:
            throttled = LambdaClientError("TooManyRequestsException", "Rate Exceeded.")
            throttled.code = 429
            raise throttled from None
        except NotRunnableError as error:
            raise InvalidParameterValueException(str(error)) from error

    def run_later(self, function_name: str, qualifier: str | None, payload: bytes) -> None:
        """Accepts an asynchronous invocation."""
        self.get_function(function_name, qualifier)
        rules.check_event(payload)
        self.waiting.take(Event(lambda: self.get_function(function_name, qualifier), payload or b"{}"))

    # Event source mappings

    def create_event_source_mapping(self, spec: dict[str, Any]) -> Any:
        queue = mappings.queue_of(spec.get("EventSourceArn", ""))
        found = self.get_function(spec["FunctionName"])
        mappings.check_new(spec, queue, found, self._role(found.role))
        with self._changing:
            for each in self._mappings.values():
                if (each.event_source_arn, each.function_arn) == (queue.queue_arn, found.function_arn):
                    raise mappings.exists_already(each)
            made = QueueMapping(queue.queue_arn, found, spec)
            self._mappings[made.uuid] = made
            self._follow(made)
        return made

    def get_event_source_mapping(self, uuid: str) -> Any:
        return self._mappings.get(uuid)

    def list_event_source_mappings(self, event_source_arn: str, function_name: str) -> Any:
        wanted = self.get_function(function_name).function_arn if function_name else None
        return [
            each
            for each in list(self._mappings.values())
            if event_source_arn in (None, each.event_source_arn) and wanted in (None, each.function_arn)
        ]

    def update_event_source_mapping(self, uuid: str, spec: dict[str, Any]) -> Any:
        with self._changing:
            mapping = self._settled(uuid)
            found = self.get_function(spec.get("FunctionName") or mapping.function_arn)
            queue = mappings.queue_of(mapping.event_source_arn)
            mappings.check(spec, {**mapping.settings, **spec}, queue, found, self._role(found.role))
            mapping.change(spec)
            mapping.function_arn = found.function_arn
            if poller := self._pollers.get(uuid):
                mapping.state = "Updating" if mapping.enabled else "Disabling"
                poller.stop()
            else:
                self._follow(mapping)
            return mapping

    def delete_event_source_mapping(self, uuid: str) -> Any:
        with self._changing:
            mapping = self._settled(uuid)
            mapping.state = "Deleting"
            if poller := self._pollers.get(uuid):
                poller.stop()
            else:
                del self._mappings[uuid]
            return mapping

    def _settled(self, uuid: str) -> QueueMapping:
        """A mapping that can be changed now."""
        mapping = self._mappings.get(uuid)
        if mapping is None:
            raise _error("ResourceNotFoundException", "The resource you requested does not exist.", 404)
        if mapping.state not in ("Enabled", "Disabled"):
            raise _error(
                "ResourceInUseException",
                f"Cannot update the event source mapping because it is in state {mapping.state}.",
                400,
            )
        return mapping

    def _follow(self, mapping: QueueMapping) -> None:
        """Starts what a mapping asks for."""
        if not mapping.enabled:
            mapping.state = "Disabled"
            return

        def ended() -> None:
            with self._changing:
                del self._pollers[mapping.uuid]
                if mapping.state == "Deleting":
                    del self._mappings[mapping.uuid]
                elif mapping.state != "Stopped":
                    self._follow(mapping)

        poller = Poller(
            self.host.account, self.runner, mapping, lambda: self.get_function(mapping.function_arn), ended
        )
        self._pollers[mapping.uuid] = poller
        poller.start()

    def stop_reading(self) -> None:
        """Ends all pollers; nothing follows them."""
        with self._changing:
            for uuid, poller in self._pollers.items():
                self._mappings[uuid].state = "Stopped"
                poller.stop()

    def _role(self, arn: str) -> Any:
        return function_role(self.host.account, arn)


def _error(code: str, text: str, status: int) -> LambdaClientError:
    error = LambdaClientError(code, text)
    error.code = status
    return error


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
        if kind == "Event":
            backend.run_later(name, qualifier, self.raw_body)
            return 202, {"status": "202"}, ""
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
    FunctionsBackend.runner = Runner(host)
    FunctionsBackend.waiting = AsyncInvocations(host.account, FunctionsBackend.runner)
    lambda_backends.backend = FunctionsBackend
    # A name may end in :$LATEST. (A plain dollar is taken out of every path on the way to the server.)
    paths = (path.replace(r"[\w_:%-]+", r"[\w_:%\x24-]+") for path in urls.url_paths)
    urls.url_paths = dict.fromkeys(paths, _Response.dispatch)


def backend_of(account_id: str, region: str) -> FunctionsBackend:
    """The functions of an account in a region."""
    backend = lambda_backends[account_id][region]
    assert isinstance(backend, FunctionsBackend)  # noqa: S101 (for the type checker; `install` sees to it)
    return backend


def close() -> None:
    """Ends what runs functions, and what makes them run."""
    for regions in lambda_backends.values():
        for backend in regions.values():
            if isinstance(backend, FunctionsBackend):
                backend.stop_reading()
    FunctionsBackend.waiting.close()
    FunctionsBackend.runner.close()
