"""Permissions: what a role or user of the account asks for is held against its policies before anything is done.

Who asks, and which policies it has, is moto's (`moto.iam.access_control`); how these are read is `policy`, and what a
request needs `permission_needs`. The account's own key belongs to its administrator, who may do everything: the
provider, the developer and the sandbox's own services use it. A request without a signature is nobody's and left to
the service that gets it.

A refusal has AWS's wording (IAM User Guide, "Troubleshoot access denied error messages") and goes to the log with the
statement that is missing.
"""

import io
import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl

from botocore.exceptions import UnknownServiceError
from moto.core.request import Request
from moto.core.routing import get_service_router
from moto.iam.access_control import AssumedRoleAccessKey, IAMUserAccessKey
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from envs.sandbox.account import Account
from envs.sandbox.aws import policy, sts, unknown
from envs.sandbox.aws.permission_needs import Asked, Need, needs

log = logging.getLogger("envs.sandbox.aws")

_PARTITION: Final = "aws"
_CREDENTIAL: Final = re.compile(r"Credential=(?P<key>[^/]+)/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_ABSENT_KEYS: Final = frozenset(
    {
        # Only services that act for somebody send these (IAM User Guide, "AWS global condition context keys").
        *("aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths"),
        # Only credentials of an instance profile carry it.
        "ec2:sourceinstancearn",
        *("kms:calleraccount", "kms:encryptioncontext:*", "kms:grantisforawsresource", "kms:viaservice"),
        *("s3:prefix", "s3:x-amz-acl", "s3:x-amz-server-side-encryption"),
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
        "sts:externalid",
    }
)
"""Keys that a request which does not carry them surely has no value for."""


@dataclass(frozen=True)
class Caller:
    """A principal that is not the administrator: who it is in errors, who it is in policies, and its own policies.

    `machine` is the ARN of the EC2 instance that its credentials were given to.
    """

    arn: str
    principal: str
    documents: tuple[str, ...]
    machine: str | None = None


class AccessDeniedError(Exception):
    """A call that its caller may not make; the text is AWS's."""


class UnknownCallerError(Exception):
    """An access key or session token that nobody has, or has no longer."""


def caller(account: Account, access_key: str, session_token: str | None) -> Caller | None:
    """Who an access key belongs to; None for the administrator. Raises `UnknownCallerError`."""
    if access_key == account.access_key and session_token is None:
        return None
    owner = sts.secret_of(account, access_key, session_token)
    if owner is None:
        raise UnknownCallerError("The security token included in the request is invalid.")
    _, arn = owner
    headers = {} if session_token is None else {"X-Amz-Security-Token": session_token}
    kind = IAMUserAccessKey if session_token is None else AssumedRoleAccessKey
    principal, machine = arn, None
    if session_token is not None:
        role = sts_backends[account.account_id][_PARTITION].get_assumed_role_from_access_key(access_key)
        principal = role.role_arn if role is not None else arn
        machine = sts.machine_of(role)
    try:
        found = kind(account.account_id, _PARTITION, access_key, headers).collect_policies()
    except NotFoundException:
        raise UnknownCallerError(f"{principal} does not exist any more.") from None
    return Caller(arn, principal, tuple(map(_document, found)), machine)


def named(account: Account, arn: str) -> Caller | None:
    """Whose ARN this is, a user's or a role session's; None for the administrator. Raises `UnknownCallerError`."""
    if arn == sts.admin_arn(account):
        return None
    iam = iam_backends[account.account_id][_PARTITION]
    kind, *path = arn.rpartition(":")[2].split("/")
    if kind == "assumed-role":
        role = next((each for each in list(iam.roles.values()) if each.name == path[0]), None)
        if role is not None:
            return _of_role(role, arn)
    elif (user := iam.users.get(path[-1] if path else "")) is not None and user.arn == arn:
        for key in user.access_keys:
            if key.status == "Active":
                return caller(account, key.access_key_id, None)
    raise UnknownCallerError(f"{arn} does not exist any more.")


def role_caller(account: Account, role: Any, service: str) -> Caller:
    """A role in the hands of an emulated service (``lambda.amazonaws.com``), which acts inside this process."""
    session = sts.session_name(service)
    return _of_role(role, f"arn:{_PARTITION}:sts::{account.account_id}:assumed-role/{role.name}/{session}")


def _of_role(role: Any, arn: str) -> Caller:
    managed = [_document(each) for each in role.managed_policies.values()]
    return Caller(arn, role.arn, (*role.policies.values(), *managed))


def demand(account: Account, who: Caller, need: Need, region: str | None = None, *, told: bool = True) -> None:
    """Raises `AccessDeniedError` unless `who` may do this, and `policy.PolicyError` when that cannot be said.

    What is missing goes to the log when it is to be `told`.
    """
    context = {
        # The emulated endpoint stands for an HTTPS one.
        "aws:SecureTransport": "true",
        "aws:PrincipalAccount": account.account_id,
        "aws:PrincipalArn": who.principal,
        "aws:PrincipalType": "AssumedRole" if ":assumed-role/" in who.arn else "User",
        "aws:RequestedRegion": region or account.region,
        "aws:ViaAWSService": "true" if "kms:ViaService" in need.context else "false",
        **({"ec2:SourceInstanceARN": who.machine} if who.machine else {}),
        **need.context,
    }
    call = policy.Call(
        need.action,
        arn=who.arn,
        role=who.principal,
        account=account.account_id,
        context=context,
        known=_ABSENT_KEYS | need.complete,
    )
    refusal = policy.decide(call, need.resource, who.documents, need.attached, key=need.key)
    if refusal is None:
        return
    # An error without a resource is IAM's way where it knows none.
    place = "" if need.resource == "*" else f" on resource: {need.resource}"
    text = f"User: {who.arn} is not authorized to perform: {need.action}{place} {refusal.reason}"
    where = f"the policy of {need.resource}" if "Principal" in refusal.statement else f"a policy of {who.principal}"
    if told:
        lack = "it is forbidden by" if refusal.forbidden else f"missing in {where}:"
        log.error("%s; %s %s", text, lack, json.dumps(refusal.statement))
    raise AccessDeniedError(text)


def demand_of_service(account: Account, service: str, source_arn: str, need: Need) -> None:
    """Raises `AccessDeniedError` unless the resource's own policy lets a service (``events.amazonaws.com``) do this.

    `source_arn` is what the service acts for. A service has no policies of its own (IAM User Guide, "AWS service
    principals"), and keys that AWS manages let no service in that is not theirs.
    """
    call = policy.Call(
        need.action,
        service=service,
        account=account.account_id,
        context={
            "aws:SecureTransport": "true",
            "aws:PrincipalIsAWSService": "true",
            "aws:PrincipalServiceName": service,
            "aws:SourceAccount": account.account_id,
            "aws:SourceArn": source_arn,
            **need.context,
        },
        known=_ABSENT_KEYS,
    )
    refusal = policy.decide(call, need.resource, (), need.attached)
    if refusal is None:
        return
    text = f"{service} is not authorized to perform: {need.action} on resource: {need.resource} for {source_arn}"
    wanted = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": need.action,
        "Resource": "*" if need.key else need.resource,
        "Condition": {"ArnEquals": {"aws:SourceArn": source_arn}},
    }
    told = "it is forbidden by" if refusal.forbidden else f"missing in the policy of {need.resource}:"
    log.error("%s; %s %s", text, told, json.dumps(refusal.statement if refusal.forbidden else wanted))
    raise AccessDeniedError(text)


def may(account: Account, who: Caller, wanted: Iterable[Need]) -> bool:
    """Whether `who` may do all of this; what is missing is in the log."""
    try:
        for need in wanted:
            demand(account, who, need)
    except AccessDeniedError:
        return False
    except policy.PolicyError as error:
        log.error("%s: %s", who.principal, error)
        return False
    return True


def call_of(account: Account, environ: dict[str, Any]) -> tuple[Caller, Asked] | None:
    """Who asks for what; None for the administrator, and for a request that nobody signed.

    Raises `UnknownCallerError`, and `NotImplementedError` for what cannot be read.
    """
    signed = _signature(environ)
    if signed is None:
        return None
    access_key, region, service, token = signed
    who = caller(account, access_key, token)
    return None if who is None else (who, _asked(account, environ, service, region))


def refuse(account: Account, environ: dict[str, Any]) -> Response | None:
    """The answer to a request that its caller may not make; None for one that may go on."""
    signed = _signature(environ)
    if signed is None:
        return None
    access_key, region, service, _ = signed
    try:
        if (found := call_of(account, environ)) is None:
            return None
        who, asked = found
        for need in needs(asked):
            demand(account, who, need, region)
    except UnknownCallerError as error:
        log.error("%s (%s of %s)", error, access_key, service)
        code = "InvalidAccessKeyId" if service == "s3" else "InvalidClientTokenId"
        return unknown.answer(environ, HTTPStatus.FORBIDDEN, code, str(error), service)
    except AccessDeniedError as error:
        return _denied(environ, service, str(error))
    except (NotImplementedError, policy.PolicyError) as error:
        log.error("%s", error)
        return unknown.answer(environ, HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", str(error), service)
    return None


def _denied(environ: dict[str, Any], service: str, text: str) -> Response:
    match service:
        case "ec2":
            code, text = "UnauthorizedOperation", f"You are not authorized to perform this operation. {text}"
        case "s3" | "sts" | "iam" | "sns":
            code = "AccessDenied"
        case _:
            code = "AccessDeniedException"
    plain_json = "HTTP_X_AMZ_TARGET" in environ
    status = HTTPStatus.BAD_REQUEST if plain_json else HTTPStatus.FORBIDDEN
    answer = unknown.answer(environ, status, code, text, service)
    if service == "sqs":
        # SQS spoke another protocol once: its clients still show that one's codes.
        answer.headers["x-amzn-query-error"] = "AccessDenied;Sender"
    return answer


def _document(found: Any) -> str:
    """A policy as moto keeps it: a text, an entry of a user, or a managed policy."""
    if isinstance(found, str):
        return found
    if isinstance(found, Mapping):
        return str(found["policy_document"])
    return str(next(version.document for version in found.versions if version.is_default))


def _signature(environ: dict[str, Any]) -> tuple[str, str, str, str | None] | None:
    """Access key, region, service and session token of a signed request; None for an unsigned one."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    if found := _CREDENTIAL.search(header):
        return found["key"], found["region"], found["service"], environ.get("HTTP_X_AMZ_SECURITY_TOKEN")
    query = parse_qs(environ.get("QUERY_STRING", ""))
    credential = query.get("X-Amz-Credential", [""])[0]
    if found := _CREDENTIAL.search(f"Credential={credential}"):
        return found["key"], found["region"], found["service"], query.get("X-Amz-Security-Token", [None])[0]
    return None


def _asked(account: Account, environ: dict[str, Any], service: str, region: str) -> Asked:
    """The operation and its parameters. Raises `NotImplementedError` when they cannot be read."""
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_X_AMZ_")
    }
    body = b"" if service == "s3" else _body(environ)
    parameters: dict[str, Any] = {}
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        operation = str(target).rpartition(".")[2]
        try:
            parameters = json.loads(body or b"{}")
        except ValueError:
            raise NotImplementedError(f"{operation} of {service} came with a body that is not JSON") from None
    elif environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        parameters = dict(parse_qsl(body.decode()))
        operation = parameters.get("Action", "")
    else:
        try:
            found, uri = get_service_router(service).match(Request(dict(environ)))
        except (NotFound, UnknownServiceError):
            raise NotImplementedError(unknown.message(environ)) from None
        operation = str(found.name)
        query = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        parameters = {**dict(query), **uri}
    return Asked(service, operation, account.account_id, region, parameters, headers)


def _body(environ: dict[str, Any]) -> bytes:
    """What the request carries, which stays readable."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if not length:
        return b""
    body = environ["wsgi.input"].read(length)
    environ["wsgi.input"] = io.BytesIO(body)
    return body
