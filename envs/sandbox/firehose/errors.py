"""What can keep a delivery stream from running."""

from envs.errors import FleetstreamError


class StreamError(FleetstreamError):
    """The stream cannot be executed as it is deployed, or could not finish; the message says why."""


class StreamGoneError(StreamError):
    """The stream does not exist (any more)."""
