"""What columns are called in pictures."""

from __future__ import annotations

from invflow.density.table.labels import Label


def short(label: Label, length: int) -> str:
    r"""Return a label of at most this many characters, none of which begins a formula.

    Example:
        >>> short("price in $ or in $100", 14)
        'price in \\$ or…'
    """
    text = str(label)
    text = text if len(text) <= length else f"{text[: length - 1]}…"
    return text.replace("$", "\\$")
