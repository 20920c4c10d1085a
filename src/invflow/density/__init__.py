"""Density estimation: data in, a density out, and what tells whether it is right."""
