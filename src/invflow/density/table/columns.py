"""The columns of a table: kind, dtype, bounds and scale of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any, NamedTuple

from invflow import _checks
from invflow.density.table.labels import Label, are_names, decode, encode, unique

#: Real numbers, whole numbers, or one of a few values.
KINDS = ("continuous", "integer", "categorical")
#: The most column names in an error.
SHOWN_NAMES = 20


class Kind(NamedTuple):
    """The declared kind of a column.

    Attributes:
        name: one of `KINDS`.
        low: lower bound, None for none; excluded for continuous columns, included for integers.
        high: upper bound, like `low`.
    """

    name: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: label of any type.
        kind: one of `KINDS`.
        dtype: pandas dtype, in which values are returned.
        low: lower bound, None for none; excluded for continuous columns, included for integers.
        high: upper bound, like `low`.
        location: mean of the encoded numbers, by which the flow's input is standardised.
        scale: their standard deviation.
        categories: the values of a categorical column.
        smallest: the smallest value seen.
        largest: the largest value seen.
    """

    name: Label
    kind: str
    dtype: str
    low: float | None = None
    high: float | None = None
    location: float = 0.0
    scale: float = 1.0
    categories: tuple[Any, ...] = ()
    smallest: float | None = None
    largest: float | None = None

    @property
    def width(self) -> int:
        """Number of context entries that encode a value."""
        return len(self.categories) if self.kind == "categorical" else 1


@dataclass(frozen=True)
class Columns:
    """The columns of a table: those whose density is learned, and those it is conditional on.

    Attributes:
        names: labels of all columns, in the order of the table.
        features: the columns of the density.
        context: the columns that it is conditional on.
        rows: number of rows seen.
        missing: whether features may have missing values.
    """

    names: tuple[Label, ...]
    features: tuple[Column, ...]
    context: tuple[Column, ...]
    rows: int
    missing: bool

    @property
    def context_size(self) -> int:
        """Size of the context."""
        return sum(column.width for column in self.context)

    @property
    def has_integers(self) -> bool:
        """Whether a feature is integer."""
        return any(column.kind == "integer" for column in self.features)

    def to_dict(self) -> dict[str, Any]:
        """Return the columns as a mapping for JSON.

        Raises:
            ValueError: if a label has a type that cannot be saved.
        """
        return {
            "names": [encode(name) for name in self.names],
            "features": [{**asdict(each), "name": encode(each.name)} for each in self.features],
            "context": [{**asdict(each), "name": encode(each.name)} for each in self.context],
            "rows": self.rows,
            "missing": self.missing,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Columns:
        """Return the columns in a mapping from `to_dict`.

        Raises:
            ValueError: if the mapping does not describe columns.
        """
        try:
            names = unique(decode(name) for name in content["names"])
            features, context = (
                tuple(_column(each) for each in content[part]) for part in ("features", "context")
            )
            parts = [column.name for column in (*features, *context)]
            if not features or len(parts) != len(names) or set(parts) != set(names):
                raise ValueError("the names differ from those of the features and the context")
            return cls(
                names,
                features,
                context,
                _checks.positive_integer("rows", content["rows"]),
                _checks.boolean("missing", content["missing"]),
            )
        except KeyError as error:
            raise ValueError(f"not the columns of a table: {error} is missing") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"not the columns of a table: {error}") from error


def _column(content: Mapping[str, Any]) -> Column:
    """Return a column from JSON.

    Raises:
        TypeError, ValueError, OverflowError: if it is not one.
    """
    fields: dict[str, Any] = {**content, "name": decode(content["name"])}
    fields["categories"] = tuple(content["categories"])
    column = Column(**fields)
    _checks.choice("kind", column.kind, KINDS)
    if not isinstance(column.dtype, str):
        raise TypeError(f"dtype must be a string, got {column.dtype!r}")
    for name in ("low", "high", "smallest", "largest", "location", "scale"):
        value: Any = getattr(column, name)
        if name in ("location", "scale") or value is not None:
            _finite(name, value)
    least = -math.inf if column.low is None else column.low
    if not column.scale > 0 or not least < (math.inf if column.high is None else column.high):
        raise ValueError(
            f"column {column.name!r} must have a positive scale, and bounds in ascending order"
        )
    categorical = column.kind == "categorical"
    scalars = all(isinstance(value, bool | int | float | str) for value in column.categories)
    distinct = len(set(column.categories)) == len(column.categories)
    if not scalars or not distinct or categorical != bool(column.categories):
        raise ValueError(f"column {column.name!r} must have distinct categories, or none")
    return column


def _finite(name: str, value: Any) -> None:
    if not math.isfinite(_checks.number(name, value)):
        raise ValueError(f"{name} must be finite, got {value}")


def check_kinds(kinds: Mapping[Any, Any], names: Sequence[Label]) -> dict[Label, Kind]:
    """Return the declared kinds of columns, by label.

    A kind is one of `KINDS`; (low, high), the open interval of a continuous column; or a kind with
    both bounds, such as ("integer", 0, None) for counts.

    Raises:
        TypeError: if `kinds` is not a mapping.
        ValueError: if a column or kind is unknown, or bounds are invalid.

    Example:
        >>> found = check_kinds({"age": "integer", "rate": (0, 1)}, ["age", "rate", "sex"])
        >>> found["rate"]
        Kind(name='continuous', low=0.0, high=1.0)
    """
    if not isinstance(kinds, Mapping):
        raise TypeError(f"kinds must be a mapping from columns to kinds, got {kinds!r}")
    checked: dict[Label, Kind] = {}
    for key, kind in kinds.items():
        name = column_label("kinds", key, names)
        if name in checked:
            raise ValueError(f"kinds declares the column {name!r} twice")
        named = isinstance(kind, str) and kind in KINDS
        checked[name] = Kind(kind) if named else _bounded(name, kind)
    return checked


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


def _bounded(name: Label, kind: Any) -> Kind:
    try:
        what, *bounds = kind if len(kind) == 3 else ("continuous", *kind)
        low, high = (None if bound is None else float(bound) for bound in bounds)
        if what not in KINDS:
            raise ValueError
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"kinds must declare {name!r} as continuous, integer or categorical, or by its bounds "
            f"(low, high), got {kind!r}"
        ) from error
    low, high = (None if low == -math.inf else low), (None if high == math.inf else high)
    least, most = (-math.inf if low is None else low), (math.inf if high is None else high)
    if not least < most:
        raise ValueError(f"kinds: the bounds of {name!r} must be in ascending order, got {kind!r}")
    whole = all(bound is None or bound.is_integer() for bound in (low, high))
    if what == "categorical" and (low, high) != (None, None):
        raise ValueError(f"kinds: the categorical column {name!r} cannot have bounds, got {kind!r}")
    if what == "integer" and not whole:
        raise ValueError(
            f"kinds: the bounds of the integer column {name!r} must be whole numbers, got {kind!r}"
        )
    return Kind(what, low, high)
