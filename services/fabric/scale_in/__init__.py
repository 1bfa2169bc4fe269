"""Workers leave the cluster before their machines end."""
