"""Limits on what a file may claim: beyond them it is damaged or malicious, and is not read."""

from __future__ import annotations

from pathlib import Path

#: The most bytes that one byte of a file may expand to, in files that expand beyond `HARMLESS`.
MOST_EXPANSION = 200
#: Expanded size in bytes that is always accepted.
HARMLESS = 2**28
#: The most columns of a table.
MOST_COLUMNS = 100_000


def check_expansion(path: Path, expanded: int, size: int) -> None:
    """Check the size that a file expands to, before memory is used.

    Args:
        path: of the file.
        expanded: its size in memory, in bytes, as far as known.
        size: of the file, in bytes.

    Raises:
        ValueError: if it expands too much.
    """
    if expanded > max(HARMLESS, MOST_EXPANSION * size):
        raise ValueError(
            f"{path} expands from {size:,} to {expanded:,} bytes or more, which looks like damage "
            "or an attack; if it is right, save it uncompressed"
        )


def check_columns(path: Path, columns: int) -> None:
    """Check the number of columns.

    Raises:
        ValueError: if there are too many.
    """
    if columns > MOST_COLUMNS:
        raise ValueError(f"{path} has {columns:,} columns; at most {MOST_COLUMNS:,} are supported")
