"""What keeps something from being packaged."""


class PackagingError(Exception):
    """The message names the file, wheel or command and the remedy."""
