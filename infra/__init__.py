"""The program of every environment: what exists in AWS."""
