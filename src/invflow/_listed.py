"""Errors that list several things at once."""

from __future__ import annotations


class Listed(ValueError):
    """An error with a line for each thing that is wrong, all of which are shown."""
