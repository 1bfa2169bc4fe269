"""The root of every error that this package raises on purpose."""


class InfraError(Exception):
    """Something a user can act on: the message names the thing and the remedy."""
