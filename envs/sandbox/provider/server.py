"""The gRPC face of the provider: what the engine calls, answered by the declared resource types."""

# ruff: noqa: ARG002, N802 (the names and arguments of the methods are those of pulumi's provider.proto)

import logging
from collections.abc import Callable, Mapping
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty
from google.protobuf.struct_pb2 import Struct
from google.rpc.status_pb2 import Status
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from envs.errors import FleetstreamError
from envs.sandbox.provider import configuration, invokes
from envs.sandbox.provider.aws import Aws
from envs.sandbox.provider.codec import conceal, decode, encode, plain
from envs.sandbox.provider.errors import AWS_ERRORS, NotReadyError, ProviderError, explain
from envs.sandbox.provider.journal import Journal
from envs.sandbox.provider.registry import find_type
from envs.sandbox.provider.resource import Resource

_VERSION: Final = "7.51.1"
"""The pulumi-aws release whose resources are emulated (pyproject.toml pins its SDK)."""
_THREADS: Final = 64
_LOG: Final = logging.getLogger(__name__)


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The `aws` provider on the emulated account. What it has not answers UNIMPLEMENTED with its name."""

    def __init__(self, account: str, journal: Journal) -> None:
        self._account = account
        self._journal = journal
        self._instances: dict[str, Aws] = {}

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.ProviderHandshakeResponse:
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True, accept_resources=False, accept_outputs=True
        )

    def Attach(self, request: Any, context: grpc.ServicerContext) -> Empty:
        return Empty()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=_VERSION)

    def cancel_all(self) -> None:
        """Ends every wait."""
        for instance in list(self._instances.values()):
            instance.cancelled.set()

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Empty:
        if instance := self._instances.get(context.peer()):
            instance.cancelled.set()
        return Empty()

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        news = decode(request.news)
        failures = configuration.check(plain(news), self._account)
        return provider_pb2.CheckResponse(inputs=request.news, failures=[_failure(*failure) for failure in failures])

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        old, new = plain(decode(request.old_inputs)), plain(decode(request.news))
        changed, replaced = configuration.diff(old, new)
        changes = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=changes, diffs=changed, replaces=replaced)

    def Configure(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.ConfigureResponse:
        values = plain(decode(request.args))
        self._instances[context.peer()] = configuration.instance(values, self._account)
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True, acceptOutputs=True)

    def Check(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        kind, aws = self._of(request, context)
        inputs, failures = kind.check(
            aws, _name(request.urn), request.randomSeed, decode(request.olds), decode(request.news)
        )
        return provider_pb2.CheckResponse(
            inputs=encode(inputs), failures=[_failure(failure.path, failure.reason) for failure in failures]
        )

    def Diff(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        kind, _ = self._of(request, context)
        state, new = plain(decode(request.olds)), plain(decode(request.news))
        answer = provider_pb2.DiffResponse(hasDetailedDiff=True, changes=provider_pb2.DiffResponse.DIFF_NONE)
        for difference in kind.diff(state, new):
            if any(_covers(path, difference.path) for path in request.ignoreChanges):
                continue
            replaces = kind.forces(difference)
            change = provider_pb2.PropertyDiff.Kind.Value(
                difference.change.upper() + ("_REPLACE" if replaces else "")
            )
            answer.changes = provider_pb2.DiffResponse.DIFF_SOME
            answer.detailedDiff[difference.path].CopyFrom(provider_pb2.PropertyDiff(kind=change))
            if difference.name not in answer.diffs:
                answer.diffs.append(difference.name)
            if replaces and difference.path not in answer.replaces:
                answer.replaces.append(difference.path)
        answer.deleteBeforeReplace = bool(answer.replaces) and kind.delete_first(state, new)
        return answer

    def Create(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        kind, aws = self._of(request, context)
        new = decode(request.properties)
        if request.preview:
            state = kind.plan(plain(new), None, set())
            return provider_pb2.CreateResponse(properties=encode(conceal(state, new)))
        with self._journal.creating(request.urn) as made:
            identifier, state = kind.create_it(aws, plain(new), made)
        return provider_pb2.CreateResponse(id=identifier, properties=encode(conceal(state, new)))

    def Read(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        kind, aws = self._of(request, context)
        prior, old = decode(request.properties), decode(request.inputs)
        found = kind.state(aws, request.id, plain(prior))
        if found is None:
            return provider_pb2.ReadResponse()
        identifier, state = found
        inputs = kind.inputs_of(state, old or None)
        return provider_pb2.ReadResponse(
            id=identifier, properties=encode(conceal(state, prior, old)), inputs=encode(conceal(inputs, prior, old))
        )

    def Update(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        kind, aws = self._of(request, context)
        old, new = decode(request.olds), decode(request.news)
        state = plain(old)
        if request.preview:
            changed = {difference.name for difference in kind.diff(state, plain(new))}
            planned = kind.plan(plain(new), state, changed)
        else:
            planned = kind.update_it(aws, request.id, state, plain(new))
        return provider_pb2.UpdateResponse(properties=encode(conceal(planned, new, _outputs_only(kind, old))))

    def Delete(self, request: Any, context: grpc.ServicerContext) -> Empty:
        kind, aws = self._of(request, context)
        kind.delete_it(aws, request.id, plain(decode(request.properties)))
        return Empty()

    def Invoke(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.InvokeResponse:
        args = decode(request.args)
        answer = invokes.call(self._instance(context), request.tok, plain(args))
        return _invoked(encode(conceal(answer, args)))

    def _of(self, request: Any, context: grpc.ServicerContext) -> tuple[Resource, Aws]:
        timeout = getattr(request, "timeout", 0) or 0
        return find_type(_type(request.urn)), self._instance(context).within(timeout)

    def _instance(self, context: grpc.ServicerContext) -> Aws:
        try:
            return self._instances[context.peer()]
        except KeyError:
            raise ProviderError("the engine used this provider instance before it configured it") from None


class _Readable(grpc.ServerInterceptor):
    """Turns what the methods raise into gRPC statuses with one readable paragraph, and logs every other surprise."""

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        handler = continuation(handler_call_details)
        method = str(handler_call_details.method).rpartition("/")[2]
        if handler is None or handler.unary_unary is None:
            return handler
        inner = handler.unary_unary

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                return inner(request, context)
            except NotImplementedError:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the sandbox's aws provider has no {method}")
            except Exception as error:
                _refuse(error, method, request, context)

        return grpc.unary_unary_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)


@dataclass(frozen=True)
class Serving:
    """A provider that answers on a port of the loopback interface."""

    port: int
    _server: grpc.Server
    _calls: futures.ThreadPoolExecutor
    _provider: Provider

    def stop(self, grace_s: float) -> None:
        """Ends all waits, and returns when the last call has come to its end: nothing is made after that."""
        self._provider.cancel_all()
        self._server.stop(grace_s).wait()
        # A call whose engine has died counts as over, and goes on all the same.
        self._calls.shutdown()


def serve(account: str, journal: Path, port: int = 0) -> Serving:
    """Starts the provider on this port, or on a free one; what it makes is noted in the journal."""
    calls = futures.ThreadPoolExecutor(_THREADS)
    server = grpc.server(
        calls,
        interceptors=[_Readable()],
        options=(("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)),
    )
    provider = Provider(account, Journal(journal))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return Serving(bound, server, calls, provider)


def _refuse(error: Exception, method: str, request: Any, context: grpc.ServicerContext) -> NoReturn:
    subject = f"{_type(request.urn)} {_name(request.urn)!r}" if getattr(request, "urn", "") else "the aws provider"
    message = " ".join(f"{subject}: {method.lower()}: {explain(error)}".split())
    if isinstance(error, NotReadyError):
        detail = provider_pb2.ErrorResourceInitFailed(
            id=error.identifier, properties=encode(conceal(error.state, decode(_new(request)))), reasons=[message]
        )
        detail.inputs.CopyFrom(_new(request))
        packed = AnyMessage()
        packed.Pack(detail, type_url_prefix="type.googleapis.com")
        status = Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message, details=[packed])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.UNKNOWN, message)
    if not isinstance(error, (FleetstreamError, *AWS_ERRORS)):
        _LOG.exception("%s failed", method)
        message = f"{message} ({type(error).__name__}: a fault of the sandbox's provider; its log tells where)"
    context.abort(grpc.StatusCode.UNKNOWN, message)


def _invoked(answer: Struct) -> provider_pb2.InvokeResponse:
    # `return` is a word of Python: the field has no attribute.
    response = provider_pb2.InvokeResponse()
    getattr(response, "return").CopyFrom(answer)
    return response


def _new(request: Any) -> Any:
    return request.news if hasattr(request, "news") else request.properties


def _outputs_only(kind: Resource, state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in kind.fields}


def _covers(ignored: str, path: str) -> bool:
    return path == ignored or path.startswith((f"{ignored}.", f"{ignored}["))


def _failure(path: str, reason: str) -> provider_pb2.CheckFailure:
    return provider_pb2.CheckFailure(property=path, reason=f"{path} {reason}" if path else reason)


def _type(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _name(urn: str) -> str:
    return urn.split("::", 3)[3]
