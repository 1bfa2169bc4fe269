"""The `aws` resource provider that the Pulumi engine attaches to."""
