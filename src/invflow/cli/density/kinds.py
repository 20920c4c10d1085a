"""What a user says of columns, in words of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Kind = str | tuple[float | None, float | None]


def kinds(named: Mapping[str, Sequence[str]], bounded: Sequence[str]) -> dict[str, Kind]:
    """Return the kinds of columns by name.

    Args:
        named: of each kind, the columns.
        bounded: columns with bounds, as COLUMN:LOW:HIGH, empty for none.

    Raises:
        ValueError: a column of two kinds, or bounds that are none.

    Example:
        >>> kinds({"integer": ["age"]}, ["rate:0:1", "income:0:"])
        {'age': 'integer', 'rate': (0.0, 1.0), 'income': (0.0, None)}
    """
    said: list[tuple[str, Kind]] = [(name, kind) for kind in named for name in named[kind]]
    said += [_bounded(text) for text in bounded]
    found: dict[str, Kind] = {}
    for name, kind in said:
        if found.setdefault(name, kind) != kind:
            raise ValueError(f"column {name!r} is said to be {found[name]} and {kind}")
    return found


def _bounded(text: str) -> tuple[str, Kind]:
    name, *bounds = text.rsplit(":", 2)
    try:
        if len(bounds) != 2 or not name:
            raise ValueError
        low, high = (float(bound) if bound.strip() else None for bound in bounds)
    except ValueError as error:
        raise ValueError(
            f"--bounded must be COLUMN:LOW:HIGH, with nothing for no bound, got {text!r}"
        ) from error
    if low is None and high is None:
        raise ValueError(f"--bounded must have a bound at least, got {text!r}")
    return name, (low, high)
