"""Targets of posteriors: log densities from functions, and from models of other libraries."""
