"""boto3 sessions on one sandbox's emulated account, whatever this process's own variables say."""

from typing import Any

import boto3

from envs.sandbox.account import Account


class _EmulatedSession(boto3.Session):
    """botocore takes an endpoint for all clients from AWS_ENDPOINT_URL or a profile only; this is a third way."""

    def __init__(self, endpoint: str, **options: Any) -> None:
        super().__init__(**options)
        self._endpoint = endpoint

    def client(self, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        return super().client(*args, **{"endpoint_url": self._endpoint, **options})


def emulated_session(account: Account) -> boto3.Session:
    """A session with the account's own key, region and endpoint; nothing of it comes from the environment."""
    return _EmulatedSession(
        account.endpoint,
        aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key,
        region_name=account.region,
    )
