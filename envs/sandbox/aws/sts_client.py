"""How an emulated AWS service takes on a role: a boto3 session with credentials that the emulated STS gave to it.

On AWS a service such as Firehose or Lambda calls AssumeRole under its own service principal, which no caller of the
public API can present. The emulated STS therefore has one more door, for the executors of emulated services only::

    GET {AWS_ENDPOINT_URL}/fleetstream/sts/assume?role=<role ARN>&service=firehose.amazonaws.com[&instance=<id>]
    200 {"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration": ISO 8601, "Arn": assumed role session ARN}
    403 {"error": what the role or its trust policy lacks}

The role must exist and its trust policy must name the service; an `instance` that EC2 gives it to must have it in its
profile. The server's side is `envs.sandbox.aws.sts`.

What a service will need, it can ask before it begins, to show what is missing at once::

    GET {AWS_ENDPOINT_URL}/fleetstream/kafka/authorize?role=&service=&action=kafka-cluster:ReadData&resource=<ARN>
    200 {}
    403 {"error": AWS's words}

This module needs no moto, so that any process of a sandbox can import it.
"""

import json
import os
from typing import Any

import boto3
import urllib3
from botocore.credentials import RefreshableCredentials
from botocore.session import get_session

from envs.errors import FleetstreamError


class AssumeRoleError(FleetstreamError):
    """The service cannot assume the role or may not act as it wants to, or the emulated AWS does not answer."""


def service_session(role_arn: str, service: str, instance: str | None = None) -> boto3.Session:
    """A session that acts as `role_arn`, assumed by `service` (e.g. ``firehose.amazonaws.com``).

    With `instance`, the session of that machine (`service` is ``ec2.amazonaws.com``).

    The first credentials are fetched at once, so that a role that cannot be assumed shows here; later ones are
    fetched by botocore before they expire, and show `AssumeRoleError` at the call that needed them.
    Needs AWS_ENDPOINT_URL and AWS_REGION, which every process of a sandbox has.
    """
    session = get_session()
    # botocore has no public way to give a session refreshable credentials.
    session._credentials = RefreshableCredentials.create_from_metadata(  # type: ignore[attr-defined]
        metadata=_metadata(assume(role_arn, service, instance)),
        refresh_using=lambda: _metadata(assume(role_arn, service, instance)),
        method="fleetstream-service-role",
    )
    return boto3.Session(botocore_session=session, region_name=os.environ.get("AWS_REGION"))


def assume(role_arn: str, service: str, instance: str | None = None) -> dict[str, Any]:
    """Temporary credentials of `role_arn` for `service`, or its `instance`: the fields listed at this module's top.

    Raises `AssumeRoleError` with the reason of the emulated STS, or when nothing answers at AWS_ENDPOINT_URL.
    """
    more = {"instance": instance} if instance else {}
    return _ask("sts/assume", role_arn, service, f"{service} cannot assume {role_arn}", **more)


def require(role_arn: str, service: str, action: str, resource: str) -> None:
    """Raises `AssumeRoleError` unless the role, in the hands of `service`, may do `action` on `resource` (an ARN)."""
    what = f"{service} cannot tell whether {role_arn} may do {action}"
    _ask("kafka/authorize", role_arn, service, what, action=action, resource=resource)


def _ask(route: str, role_arn: str, service: str, failure: str, **more: str) -> dict[str, Any]:
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        raise AssumeRoleError("AWS_ENDPOINT_URL is not set: service roles are assumed inside a sandbox only")
    try:
        answer = urllib3.request(
            "GET",
            f"{endpoint.rstrip('/')}/fleetstream/{route}",
            fields={"role": role_arn, "service": service, **more},
            timeout=10,
            retries=urllib3.Retry(connect=3, read=3, backoff_factor=0.2),
        )
    except urllib3.exceptions.HTTPError as error:
        raise AssumeRoleError(f"{failure}: no answer from {endpoint} ({error})") from error
    try:
        body = json.loads(answer.data)
    except ValueError:
        body = {"error": answer.data.decode(errors="replace")[:500]}
    if answer.status != 200:
        raise AssumeRoleError(body.get("error") or f"{failure}: HTTP {answer.status}")
    return body


def _metadata(credentials: dict[str, Any]) -> dict[str, str]:
    return {
        "access_key": credentials["AccessKeyId"],
        "secret_key": credentials["SecretAccessKey"],
        "token": credentials["SessionToken"],
        "expiry_time": credentials["Expiration"],
    }
