"""What the provider says when it refuses or fails: one readable paragraph that names AWS's error."""

from fnmatch import fnmatchcase
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from envs.errors import FleetstreamError

AWS_ERRORS: Final = (ClientError, BotoCoreError, ResponseParserError)
"""All ways in which a call of boto3 fails."""


class ProviderError(FleetstreamError):
    """The provider refuses, or AWS did: the message is shown to the user as it is."""


class NotReadyError(ProviderError):
    """A resource exists now but did not become what it should; state must remember it. `state` is what AWS has."""

    def __init__(self, message: str, identifier: str, state: dict[str, object]) -> None:
        super().__init__(message)
        self.identifier = identifier
        self.state = state


def explain(error: Exception) -> str:
    """An error in words: AWS's operation, code and message, or our own."""
    if isinstance(error, ClientError):
        told = error.response.get("Error", {})
        return f"{error.operation_name}: {told.get('Code', 'an error')}: {told.get('Message') or 'no message'}"
    if isinstance(error, BotoCoreError):
        return f"the emulated AWS did not answer: {error}"
    if isinstance(error, ResponseParserError):
        return "the emulated AWS failed inside (its log tells where)"
    return str(error)


def is_code(error: ClientError, *codes: str) -> bool:
    """Whether AWS refused with one of these error codes; a ``*`` in a code stands for anything."""
    code = error.response.get("Error", {}).get("Code", "")
    return any(fnmatchcase(code, wanted) for wanted in codes)
