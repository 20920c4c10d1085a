"""Density models of tables and images: data in, a density that can be asked anything out."""
