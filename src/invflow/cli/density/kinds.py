"""What a user says of columns, in words of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Bounds = tuple[float | None, float | None]
Kind = str | Bounds | tuple[str, float | None, float | None]


def kinds(named: Mapping[str, Sequence[str]], bounded: Sequence[str]) -> dict[str, Kind]:
    """Return the kinds of columns by name.

    Args:
        named: of each kind, the columns.
        bounded: columns with bounds, as COLUMN:LOW:HIGH, empty for none; of real numbers, unless
            the column is named among the integers.

    Raises:
        ValueError: a column of two kinds, or bounds that are none.

    Example:
        >>> kinds({"integer": ["age"]}, ["rate:0:1", "age:0:"])
        {'age': ('integer', 0.0, None), 'rate': (0.0, 1.0)}
    """
    found: dict[str, Kind] = {}
    said = [(name, kind) for kind in named for name in named[kind]]
    for name, kind in said:
        if found.setdefault(name, kind) != kind:
            raise ValueError(f"column {name!r} is said to be {found[name]} and {kind}")
    for name, bounds in map(_bounded, bounded):
        kind = found.get(name)
        if kind == "categorical":
            raise ValueError(f"column {name!r} is said to be categorical and {bounds}")
        if isinstance(kind, tuple):
            raise ValueError(f"column {name!r} has bounds twice")
        found[name] = ("integer", *bounds) if kind == "integer" else bounds
    return found


def _bounded(text: str) -> tuple[str, Bounds]:
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
