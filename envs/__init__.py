"""Environments: what they are set to, and how one is operated."""
