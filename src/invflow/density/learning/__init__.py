"""The model of a table, and its training."""
