"""The names of the columns of a text file, from its first line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from invflow.density.table.files.content import open_quote
from invflow.density.table.files.sniff import COMMENTS, Row
from invflow.density.table.labels import numbered_names


def names_of(path: Path, rows: Sequence[Row], above: int, header: bool) -> list[str]:
    """Return the names of columns, "" for those that have none.

    Raises:
        ValueError: if rows have more or fewer values than there are names.
    """
    below = rows[above:] or rows[:1]
    width = Counter(map(len, below)).most_common(1)[0][0]
    if not header:
        return numbered_names(width)
    names = list(rows[0])
    names[0] = names[0].lstrip("".join(COMMENTS) + " ") or names[0]
    while len(names) > width and not names[-1]:
        names.pop()
    full = [row for row in below if len(row) == width]
    if width == len(names) + 1:
        if not any(row[-1] for row in full):
            return [*names, ""]
        if len({row[0] for row in full}) == len(full):  # as R writes the names of rows
            return ["", *names]
    if width != len(names):
        raise ValueError(
            f"{path} has {len(names)} names of columns in its first line, but lines of {width} "
            f"values{open_quote(path)}: correct the first line, or leave lines out with --skip"
        )
    return names
