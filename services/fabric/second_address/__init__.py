"""A machine that needs a stable second address gets its network interface."""
