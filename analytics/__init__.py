"""The Spark job over the archive."""
