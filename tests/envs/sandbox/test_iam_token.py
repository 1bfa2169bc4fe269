"""The MSK token check against tokens of AWS's own signer."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import CredentialProvider, Credentials
from hypothesis import given
from hypothesis import strategies as st

from envs.sandbox.aws.iam_token import Principal, TokenError, verify

ARN = "arn:aws:iam::123456789012:user/driver"
REGION = "eu-west-1"
KEYS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=16, max_size=24)
SECRETS = st.text("abcXYZ0189+/=~ %&é", min_size=1, max_size=40)
SESSION_TOKENS = st.none() | st.text("abcXYZ019+/=", min_size=1, max_size=300)


class Fixed(CredentialProvider):
    def __init__(self, credentials: Credentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> Any:
        return self._credentials


def real_token(key: str, secret: str, session_token: str | None, region: str = REGION) -> str:
    provider = Fixed(Credentials(key, secret, session_token))
    token, _ = MSKAuthTokenProvider.generate_auth_token_from_credentials_provider(region, provider)
    return token


def made_token(
    action: str = "kafka-cluster:Connect",
    service: str = "kafka-cluster",
    expires: int = 900,
    host: str = f"kafka.{REGION}.amazonaws.com",
    suffix: str = "",
) -> str:
    """A token signed just as well as a real one, but for something else."""
    request = AWSRequest(method="GET", url=f"https://{host}/", params={"Action": action})
    SigV4QueryAuth(Credentials("AKIA", "secret"), service, REGION, expires=expires).add_auth(request)
    return encode(str(request.prepare().url) + suffix)


def encode(url: str) -> str:
    return base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def decode(token: str) -> str:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()


def one_owner(key: str, secret: str, session_token: str | None):
    return lambda k, s: (secret, ARN) if (k, s) == (key, session_token) else None


def check(token: str, now: datetime | None = None, region: str = REGION) -> Principal:
    return verify(token, one_owner("AKIA", "secret", None), now or datetime.now(UTC), region)


@given(KEYS, SECRETS, SESSION_TOKENS)
def test_a_token_of_the_real_signer_is_accepted(key: str, secret: str, session_token: str | None) -> None:
    now = datetime.now(UTC)
    token = real_token(key, secret, session_token)

    principal = verify(token, one_owner(key, secret, session_token), now, REGION)

    assert principal.arn == ARN
    signed_at = datetime.fromtimestamp(principal.expires_ms / 1000 - 900, UTC)
    assert now - timedelta(seconds=1) < signed_at <= datetime.now(UTC)


@given(st.data(), SESSION_TOKENS)
def test_a_flipped_character_is_refused(data: st.DataObject, session_token: str | None) -> None:
    token = real_token("AKIA", "secret", session_token)
    position = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != token[position]))
    flipped = token[:position] + other + token[position + 1 :]

    try:
        verify(flipped, one_owner("AKIA", "secret", session_token), datetime.now(UTC), REGION)
    except TokenError:
        pass
    else:
        # Only what the signature does not cover may change: the name of the client's program.
        before, after = (dict(parse_qsl(urlsplit(decode(text)).query)) for text in (token, flipped))
        assert before.pop("User-Agent") != after.pop("User-Agent", "")
        assert before == after


@given(KEYS, SECRETS, SECRETS)
def test_another_secret_is_refused(key: str, secret: str, other: str) -> None:
    if other == secret:
        other += "x"
    with pytest.raises(TokenError, match="the signature does not match"):
        verify(real_token(key, secret, None), one_owner(key, other, None), datetime.now(UTC), REGION)


def test_an_unknown_key_and_a_foreign_session_token_are_refused() -> None:
    with pytest.raises(TokenError, match="nobody owns the access key 'ASIA'"):
        check(real_token("ASIA", "secret", None))
    with pytest.raises(TokenError, match="nobody owns"):
        check(real_token("AKIA", "secret", "of somebody else"))


def test_a_token_holds_for_fifteen_minutes_and_not_before_it_was_signed() -> None:
    token = real_token("AKIA", "secret", None)
    now = datetime.now(UTC)

    assert check(token, now + timedelta(seconds=890))
    with pytest.raises(TokenError, match="expired at "):
        check(token, now + timedelta(seconds=900))
    assert check(token, now - timedelta(seconds=290))
    with pytest.raises(TokenError, match="signed in the future"):
        check(token, now - timedelta(seconds=310))


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (real_token("AKIA", "secret", None, region="us-east-1"), "not for https://kafka.eu-west-1.amazonaws.com/"),
        (made_token(action="kafka-cluster:DeleteTopic"), "Action is 'kafka-cluster:DeleteTopic'"),
        (made_token(service="s3"), "scope is '[0-9]*/eu-west-1/s3/aws4_request'"),
        (made_token(expires=901), "X-Amz-Expires '901'"),
        (made_token(host="kafka.eu-west-1.amazonaws.com.evil.example"), "not for https://kafka.eu-west-1"),
        (made_token(suffix="&Action=kafka-cluster%3AConnect"), "'Action' is there twice"),
        (made_token(suffix="&Extra=1"), "'Extra' has no place"),
        (made_token().rstrip("=") + "=", "base64url"),
        (encode(decode(made_token()).replace("%2F", "%2f")), "canonical percent-encoding"),
        (
            encode("https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect"),
            "X-Amz-Algorithm is missing",
        ),
        ("", "not for https"),
        ("é", "not base64url"),
        ("a", "not base64url"),
    ],
    # A token holds the time: it must not become part of a test's name.
    ids=lambda value: "token" if value.startswith("aHR0") else value,
)
def test_what_is_not_a_connect_token_of_this_region_is_refused(token: str, reason: str) -> None:
    with pytest.raises(TokenError, match=reason):
        check(token)


def test_a_token_without_user_agent_is_accepted() -> None:
    assert check(made_token()).arn == ARN
