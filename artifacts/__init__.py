"""What is shipped: sources of this project with their locked dependencies, the same on every machine and day."""
