"""Whether an approximation can be trusted, and what mends it."""
