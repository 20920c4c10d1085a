"""The model of a table, and how it learns."""
