"""This machine standing in for AWS."""
