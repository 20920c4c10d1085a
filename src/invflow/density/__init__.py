"""Density models: data in, log densities and samples out."""
