"""Checks the token with which an IAM client opens a connection to MSK: a presigned request, signed again here.

The token is the base64url form (no padding) of a URL that the client signed with Signature Version 4 for the action
``kafka-cluster:Connect`` (`MSKAuthTokenProvider.py` of aws-msk-iam-sasl-signer-python, `README.md` of
aws-msk-iam-auth). Nothing here knows accounts or HTTP: who owns an access key is asked of the caller.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote, unquote

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from envs.errors import FleetstreamError

SERVICE: Final = "kafka-cluster"
ACTION: Final = "kafka-cluster:Connect"
LONGEST: Final = timedelta(seconds=900)
"""How long AWS's signers make a token valid (DEFAULT_TOKEN_EXPIRY_SECONDS)."""
CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far ahead of ours the signer's clock may be (Signature Version 4, "Handling dates": five minutes)."""

_SIGNED: Final = frozenset(
    {
        "Action",
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
    }
)
_SESSION_TOKEN: Final = "X-Amz-Security-Token"  # noqa: S105 - the name of a parameter
_SIGNATURE: Final = "X-Amz-Signature"
_USER_AGENT: Final = "User-Agent"


class TokenError(FleetstreamError):
    """The token is refused; the text says why."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who signed, and until when the signature holds (milliseconds since the Unix epoch)."""

    arn: str
    expires_ms: int


SecretOf = Callable[[str, str | None], tuple[str, str] | None]
"""(access key, session token or None) -> (secret key, ARN of the principal); None for a key that nobody owns."""


def verify(token: str, secret_of: SecretOf, now: datetime, region: str) -> Principal:
    """Checks a token for a cluster of `region` at the time `now` (aware) and returns who signed it.

    Raises `TokenError` with the reason.
    """
    host = f"kafka.{region}.amazonaws.com"
    parameters = _parameters(_decode(token), host)
    signature = parameters.pop(_SIGNATURE)
    parameters.pop(_USER_AGENT, None)

    _require(parameters["Action"] == ACTION, f"Action is {parameters['Action']!r}, not {ACTION!r}")
    _require(parameters["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256", "X-Amz-Algorithm is not AWS4-HMAC-SHA256")
    _require(parameters["X-Amz-SignedHeaders"] == "host", "X-Amz-SignedHeaders is not 'host'")
    signed_at, expires_at = _lifetime(parameters["X-Amz-Date"], parameters["X-Amz-Expires"])
    access_key, _, scope = parameters["X-Amz-Credential"].partition("/")
    expected_scope = f"{signed_at:%Y%m%d}/{region}/{SERVICE}/aws4_request"
    _require(scope == expected_scope, f"the credential's scope is {scope!r}, not {expected_scope!r}")

    owner = secret_of(access_key, parameters.get(_SESSION_TOKEN))
    if owner is None:
        raise TokenError(
            f"nobody owns the access key {access_key!r}, or its session token is not the one it came with"
        )
    secret, arn = owner
    expected = _sign(host, parameters, access_key, secret, region)
    _require(hmac.compare_digest(signature.encode(), expected.encode()), "the signature does not match")

    _require(signed_at <= now + CLOCK_SKEW, f"signed in the future, at {signed_at:%Y-%m-%dT%H:%M:%SZ}")
    _require(now < expires_at, f"expired at {expires_at:%Y-%m-%dT%H:%M:%SZ}")
    return Principal(arn, int(expires_at.timestamp() * 1000))


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise TokenError(reason)


def _decode(token: str) -> str:
    try:
        raw = token.encode("ascii")
        url = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
        # Several last characters decode to the same bytes; only one of them is what an encoder writes.
        _require(base64.urlsafe_b64encode(url).rstrip(b"=") == raw, "the token is not in canonical base64url form")
        return url.decode("ascii")
    except (UnicodeError, binascii.Error):
        raise TokenError("the token is not base64url of a URL") from None


def _parameters(url: str, host: str) -> dict[str, str]:
    """The query of the URL, each parameter once, all required ones present and no other."""
    start = f"https://{host}/?"
    _require(url.startswith(start), f"the token is not for {start}")
    parameters: dict[str, str] = {}
    for pair in url.removeprefix(start).split("&"):
        name, _, value = pair.partition("=")
        _require(name not in parameters, f"{name!r} is there twice")
        parameters[name] = unquote(value)
        canonical = quote(parameters[name], safe="-_.~") == value
        _require(canonical or name == _USER_AGENT, f"the value of {name!r} is not in canonical percent-encoding")
    names = parameters.keys()
    for missing in sorted((_SIGNED | {_SIGNATURE}) - names):
        raise TokenError(f"{missing} is missing")
    for unknown in sorted(names - _SIGNED - {_SESSION_TOKEN, _SIGNATURE, _USER_AGENT}):
        raise TokenError(f"{unknown!r} has no place in a token")
    return parameters


def _lifetime(date: str, expires: str) -> tuple[datetime, datetime]:
    # strptime alone also takes single digits and blanks, so that two texts would mean one date.
    if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", date):
        raise TokenError(f"X-Amz-Date {date!r} is not like 20250101T000000Z")
    if not re.fullmatch(r"[1-9][0-9]{0,5}", expires) or timedelta(seconds=int(expires)) > LONGEST:
        raise TokenError(
            f"X-Amz-Expires {expires!r} is not a number of seconds from 1 to {LONGEST.total_seconds():g}"
        )
    try:
        signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return signed_at, signed_at + timedelta(seconds=int(expires))
    except (ValueError, OverflowError):
        raise TokenError(f"X-Amz-Date {date!r} is no date") from None


def _sign(host: str, parameters: dict[str, str], access_key: str, secret: str, region: str) -> str:
    query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in parameters.items())
    request = AWSRequest(method="GET", url=f"https://{host}/?{query}")
    request.context["timestamp"] = parameters["X-Amz-Date"]
    auth = SigV4QueryAuth(Credentials(access_key, secret), SERVICE, region)
    return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))
