"""Labels of a table's columns: any hashable value, as in pandas, and their form in JSON."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import date, datetime
from numbers import Integral
from typing import Any, cast

import numpy as np
import pandas as pd

Label = Hashable
#: The most column names in an error.
SHOWN_NAMES = 20


def unique(labels: Iterable[Label]) -> tuple[Label, ...]:
    """Return the labels of columns, with NumPy scalars converted to Python's.

    Raises:
        ValueError: if there are none, or one is missing or occurs twice.

    Example:
        >>> unique([np.int64(1), "1", ("a", 2020)])
        (1, '1', ('a', 2020))
    """
    found: dict[Label, Label] = {}
    for i, label in enumerate(labels):
        label = _own(label)
        if _is_missing(label):
            raise ValueError(f"column {i + 1} of the table has no name")
        if label in found:
            raise ValueError(f"two columns of the table are named {label!r}")
        found[label] = label
    if not found:
        raise ValueError("the table has no columns")
    return tuple(found)


def are_names(labels: Iterable[Label]) -> bool:
    """Whether all labels are strings, so that an integer can only be a position."""
    return all(isinstance(label, str) for label in labels)


def axis(labels: Sequence[Label], levels: Sequence[Label] | None = None) -> Any:
    """Return an index of columns with these labels.

    Args:
        labels: of the columns.
        levels: names of the levels of the labels, as in the user's table; labels that are tuples
            may have several. None for an index that finds exact labels only: the indices of dates,
            intervals and tuples also match values similar to a label.
    """
    if levels is None:
        kind: Any = None if are_names(labels) else object
        return pd.Index(list(labels), dtype=kind, tupleize_cols=False)
    if len(levels) > 1:
        return pd.MultiIndex.from_tuples(cast(Any, list(labels)), names=list(levels))
    return pd.Index(list(labels), name=levels[0], tupleize_cols=False)


def column_label(argument: str, key: Any, names: Sequence[Label]) -> Label:
    """Return the label of a column: `key` itself, of any type.

    If all labels are strings, like those of arrays (x0, x1, ...), an integer is the position of a
    column.

    Args:
        argument: the argument with the key, for errors.
        key: a label or position.
        names: the labels of the table.

    Raises:
        ValueError: if the column does not exist.

    Example:
        >>> column_label("kinds", 1, ("a", "b")), column_label("kinds", 1, (1, 2, 3))
        ('b', 1)
    """
    if is_label(key, names):
        return names[names.index(key)]
    place = isinstance(key, Integral) and not isinstance(key, bool) and are_names(names)
    if not place or not 0 <= int(key) < len(names):
        shown = ", ".join(map(repr, names[:SHOWN_NAMES]))
        more = ", ..." if len(names) > SHOWN_NAMES else ""
        raise ValueError(
            f"{argument} names the column {key!r}, which the table does not have; its columns are "
            f"{shown}{more}"
        )
    return names[int(key)]


def columns_named(argument: str, texts: Sequence[str], names: Sequence[Label]) -> tuple[Label, ...]:
    """Return the columns that are named, each text one, or several with commas.

    Raises:
        ValueError: if a column does not exist.

    Example:
        >>> columns_named("drop", ["a,b", "c, d"], ["a", "b", "c, d", "e"])
        ('a', 'b', 'c, d')
    """
    found: dict[Label, None] = {}
    for text in texts:
        parts = [text] if text in names else [part.strip() for part in text.split(",")]
        found |= dict.fromkeys(column_label(argument, part, names) for part in parts)
    return tuple(found)


def is_label(key: Any, names: Sequence[Label]) -> bool:
    """Whether it is the label of a column."""
    try:
        return key in set(names)
    except TypeError:  # it cannot be hashed
        return False


def numbered_names(columns: int) -> list[str]:
    """Return names for columns without names: x0, x1, ..."""
    return [f"x{i}" for i in range(columns)]


def column_names(names: Sequence[Label] | None, columns: int) -> list[Label]:
    """Return the labels of columns; x0, x1, ... by default.

    Raises:
        TypeError: if `names` is not a sequence of labels.
        ValueError: if there are too many or too few, or a label occurs twice.
    """
    if names is None:
        return list(numbered_names(columns))
    try:
        found = None if isinstance(names, str) else dict.fromkeys(names)
    except TypeError:
        found = None
    if found is None:
        raise TypeError(f"names must be a sequence of labels, got {names!r}")
    if len(names) != columns or len(found) != columns:
        raise ValueError(f"names must be {columns} different names, got {list(names)}")
    return list(names)


def encode(label: Label) -> Any:
    """Return a label for JSON.

    Raises:
        ValueError: if it cannot be saved.

    Example:
        >>> encode(("a", 1)), encode(2.0)
        ({'tuple': ['a', 1]}, 2.0)
    """
    match _own(label):
        case str() | bool() | int() | float() as scalar:
            return scalar
        case tuple() as parts:
            return {"tuple": [encode(part) for part in parts]}
        case datetime() as time:
            stamp: Any = pd.Timestamp(time)
            zone = None if stamp.tz is None else str(stamp.tz)
            utc = stamp if zone is None else stamp.tz_convert(None)
            return {"time": utc.isoformat(), "unit": stamp.unit, "zone": zone}
        case date() as day:
            return {"date": day.isoformat()}
        case other:
            raise ValueError(
                f"the column {other!r} cannot be saved, because its label is a "
                f"{type(other).__name__}: rename it"
            )


def decode(content: Any) -> Label:
    """Return a label from the form that `encode` gives it.

    Raises:
        TypeError, ValueError: if it is not a label.
    """
    match content:
        case str() | bool() | int() | float():
            return content
        case {"tuple": list(parts)}:
            return tuple(decode(part) for part in cast(list[Any], parts))
        case {"time": str(text), "unit": str(unit), "zone": None | str() as zone}:
            time: Any = pd.Timestamp(text)
            time = time.as_unit(unit)
            return time if zone is None else time.tz_localize("UTC").tz_convert(zone)
        case {"date": str(text)}:
            return date.fromisoformat(text)
        case _:
            raise ValueError(f"not the label of a column: {content!r}")


def by_label(items: Any) -> dict[Label, Any]:
    """Return a mapping with labels as keys from JSON: a list of pairs, or an object.

    Raises:
        TypeError, ValueError: if it is neither.
    """
    pairs = items.items() if isinstance(items, Mapping) else items
    return {decode(key): value for key, value in cast(Iterable[tuple[Any, Any]], pairs)}


def _own(label: Label) -> Label:
    """Return NumPy numbers and strings as Python's; times stay, as they have more digits."""
    if isinstance(label, tuple):
        return tuple(map(_own, cast(tuple[Label, ...], label)))
    plain = isinstance(label, np.generic) and label.dtype.kind in "biufU"
    return cast(Any, label).item() if plain else label


def _is_missing(label: Label) -> bool:
    if isinstance(label, tuple):
        return not label or any(map(_is_nan, cast(tuple[Label, ...], label)))
    return not label.strip() if isinstance(label, str) else _is_nan(label)


def _is_nan(label: Any) -> bool:
    return bool(np.any(pd.isna(label)))
