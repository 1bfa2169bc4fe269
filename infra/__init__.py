"""The Pulumi program: what exists in every environment."""
