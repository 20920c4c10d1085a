"""Limits on what a table may claim: beyond them its file is damaged or malicious."""

from __future__ import annotations

from pathlib import Path

#: The most columns of a table.
MOST_COLUMNS = 100_000


def check_columns(path: Path, columns: int) -> None:
    """Check the number of columns.

    Raises:
        ValueError: if there are too many.
    """
    if columns > MOST_COLUMNS:
        raise ValueError(f"{path} has {columns:,} columns; at most {MOST_COLUMNS:,} are supported")
