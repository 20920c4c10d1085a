"""Normalizing flows built around the inverse autoregressive flow."""

__version__ = "0.1.0"
