"""A seed that is replaced gets the data disk of the one before."""
