"""Errors with several lines, all of which are shown."""

from __future__ import annotations


class UndecidedError(ValueError):
    """Several decisions are needed: a line for each, with the option that makes it."""
