"""Errors with several lines, all of which are shown."""

from __future__ import annotations


class UndecidedError(ValueError):
    """Several things are to be decided: a line for each, with the option that does it."""
