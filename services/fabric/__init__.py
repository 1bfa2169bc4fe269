"""The Service Fabric cluster: its client, its configuration, how it is formed, and what keeps it right."""
