"""The gate before the archive: only messages that keep the contract pass it."""
