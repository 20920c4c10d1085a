"""From a target to an approximation of its posterior."""
