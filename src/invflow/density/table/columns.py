"""What the columns of a table hold, and what is known of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any, NamedTuple, cast

#: A whole number, a real one, or one of a few values.
KINDS = ("continuous", "integer", "categorical")


class Kind(NamedTuple):
    """What a user says of a column.

    Attributes:
        name: one of `KINDS`.
        low: lower bound, None for none: of real numbers, which lie above it, or of whole ones, the
            smallest.
        high: upper bound, None for none.
    """

    name: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its name.
        kind: one of `KINDS`.
        dtype: as pandas names it, what values are given back as.
        low: lower bound, None for none: of real numbers, which lie above it, or of whole ones, the
            smallest.
        high: upper bound, None for none.
        location: mean of the numbers that a flow is to see before they are standardised.
        scale: their standard deviation.
        categories: the values of a categorical column.
        smallest: of all values seen.
        largest: of all values seen.
    """

    name: str
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
        """How many numbers stand for a value in a context."""
        return len(self.categories) if self.kind == "categorical" else 1


@dataclass(frozen=True)
class Columns:
    """The columns of a table: those whose density is learned, and those that it depends on.

    Attributes:
        names: of all columns, in the order of the table.
        features: the columns of the density.
        context: the columns that it is conditional on.
        rows: how many rows were seen.
        missing: whether values may be missing in the features.
    """

    names: tuple[str, ...]
    features: tuple[Column, ...]
    context: tuple[Column, ...]
    rows: int
    missing: bool

    @property
    def context_size(self) -> int:
        """How many numbers the context has."""
        return sum(column.width for column in self.context)

    @property
    def has_integers(self) -> bool:
        """Whether there are whole numbers among the features."""
        return any(column.kind == "integer" for column in self.features)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Columns:
        """Return the columns that `to_dict` has turned into a mapping.

        Raises:
            ValueError: a mapping of another kind.
        """
        try:
            parts = {
                name: tuple(_column(each) for each in content[name])
                for name in ("features", "context")
            }
            names = tuple(content["names"])
            return cls(names, **parts, rows=content["rows"], missing=content["missing"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"columns of a table expected, got {content!r}: {error}") from error


def _column(content: Mapping[str, Any]) -> Column:
    fields: dict[str, Any] = {**content, "categories": tuple(content["categories"])}
    return Column(**fields)


def check_kinds(kinds: Mapping[Any, Any], names: Sequence[str]) -> dict[str, Kind]:
    """Return what a user has said of the columns, by name.

    A kind is one of `KINDS`; (low, high), the open interval in which real numbers lie; or a kind
    and both bounds, as in ("integer", 0, None) for whole numbers from 0 on.

    Raises:
        TypeError: no mapping.
        ValueError: an unknown column or kind, or bounds that are none.

    Example:
        >>> found = check_kinds({"age": "integer", "rate": (0, 1)}, ["age", "rate", "sex"])
        >>> found["rate"]
        Kind(name='continuous', low=0.0, high=1.0)
    """
    if not isinstance(kinds, Mapping):
        raise TypeError(f"kinds must be a mapping from columns to kinds, got {kinds!r}")
    checked: dict[str, Kind] = {}
    for key, kind in kinds.items():
        name = column_name("kinds", key, names)
        named = isinstance(kind, str) and kind in KINDS
        checked[name] = Kind(kind) if named else _bounded(name, kind)
    return checked


def column_name(argument: str, key: Any, names: Sequence[str]) -> str:
    """Return the name of a column, given by its name or its number.

    Raises:
        ValueError: there is none.
    """
    if isinstance(key, Integral) and not isinstance(key, bool) and 0 <= int(key) < len(names):
        return names[int(key)]
    if key not in names:
        raise ValueError(
            f"{argument} names the column {key!r}; the table has {', '.join(map(repr, names))}"
        )
    return cast(str, key)


def numbered_names(columns: int) -> list[str]:
    """Return the names of columns that have none: x0, x1, ..."""
    return [f"x{i}" for i in range(columns)]


def column_names(names: Sequence[str] | None, columns: int) -> list[str]:
    """Return the columns' names; x0, x1, ... where none are given.

    Raises:
        TypeError: they are no sequence of strings.
        ValueError: there are too many or too few, or a name stands twice.
    """
    if names is None:
        return numbered_names(columns)
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"names must be a sequence of strings, got {names!r}")
    if len(names) != columns or len(set(names)) != columns:
        raise ValueError(f"names must be {columns} different names, got {list(names)}")
    return list(names)


def _bounded(name: str, kind: Any) -> Kind:
    try:
        what, *bounds = kind if len(kind) == 3 else ("continuous", *kind)
        low, high = (None if bound is None else float(bound) for bound in bounds)
        if what not in KINDS:
            raise ValueError
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"kinds: the kind of {name!r} must be one of {', '.join(map(repr, KINDS))}, bounds "
            f"(low, high), or ('integer', low, high), got {kind!r}"
        ) from error
    low, high = (None if low == -math.inf else low), (None if high == math.inf else high)
    least, most = (-math.inf if low is None else low), (math.inf if high is None else high)
    if not least < most:
        raise ValueError(f"kinds: the bounds of {name!r} must be in order, got {kind!r}")
    whole = all(bound is None or bound.is_integer() for bound in (low, high))
    if what == "categorical" and (low, high) != (None, None):
        raise ValueError(f"kinds: a categorical column has no bounds, got {kind!r} for {name!r}")
    if what == "integer" and not whole:
        raise ValueError(f"kinds: the bounds of integers must be such, got {kind!r} for {name!r}")
    return Kind(what, low, high)
