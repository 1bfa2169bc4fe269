"""Functions on the way of a message into the platform and its archive."""
