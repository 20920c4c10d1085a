"""Whether to trust an approximation, and how to correct it."""
