"""A Service Fabric cluster's model and its HTTP gateway: what the fleet's tools and functions talk to."""
