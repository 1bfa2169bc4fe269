"""The root of every error that this package raises on purpose."""


class AnalysisError(Exception):
    """Something a user can act on: the message names the thing and the remedy."""


class UsageError(AnalysisError):
    """Wrong use of the command: exit code 2."""
