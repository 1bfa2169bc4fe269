"""The root of every error that this package raises on purpose."""


class FleetstreamError(Exception):
    """Something a user can act on: the message names the thing and the remedy."""


class UsageError(FleetstreamError):
    """Wrong use of a command: exit code 2."""
