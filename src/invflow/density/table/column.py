"""A column of a table: its kind, dtype, bounds and scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from invflow import _checks
from invflow.density.table.calendar import PARTS, Part
from invflow.density.table.dates import OBJECTS, TICKS
from invflow.density.table.grids import Grid
from invflow.density.table.labels import Label, decode, encode
from invflow.density.table.samples import Floats

#: Real numbers; whole numbers; numbers or times that move in steps; one of a few values, without
#: and with an order.
KINDS = ("continuous", "integer", "grid", "date", "categorical", "ordinal")
#: A bound this close to a number of the grid is that number.
ON_GRID = 1e-6
_NUMBERS = ("location", "scale", "origin", "digits", "beyond")
_OPTIONAL_NUMBERS = ("low", "high", "smallest", "largest", "step")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    The flow sees the codes of values: numbers themselves, the k of origin + step * k on a grid (the
    whole numbers have origin 0 and step 1), and 0, 1, ... for categories.

    Attributes:
        name: label of any type.
        kind: one of `KINDS`.
        dtype: pandas dtype, in which values are returned.
        low: lower bound, None for none; excluded for continuous columns, included on a grid.
        high: upper bound, like `low`.
        location: mean of the encoded numbers, by which the flow's input is standardised.
        scale: their standard deviation.
        categories: the values of a categorical or ordinal column.
        smallest: the smallest value seen.
        largest: the largest value seen.
        counts: how often each of the categories was seen.
        step: of a grid, None for columns that are not on one, and for integers, whose step is 1.
        origin: of a grid.
        digits: number of decimal places on a grid.
        unit: of dates, one of `dates.TICKS`; their grid, or the category of constant ones, is in
            ticks.
        beyond: probability of values beyond a bound, of those on the bound: zero for bounds that
            were declared, small for bounds that were found in the data.
        part: of a column of dates, which this is; None for a column of the table.
        gap_of: the column of the table of which it tells whether a value is missing; None for
            others.
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
    counts: tuple[int, ...] = ()
    step: float | None = None
    origin: float = 0.0
    digits: int = 0
    unit: str | None = None
    beyond: float = 0.0
    part: Part | None = None
    gap_of: Label | None = None

    @property
    def of(self) -> Label:
        """The column of the table that it is, is a part of, or tells the gaps of."""
        if self.gap_of is not None:
            return self.gap_of
        return self.name if self.part is None else self.part.of

    @property
    def width(self) -> int:
        """Number of context entries that encode a value."""
        return len(self.categories) if self.is_categorical else 1

    @property
    def is_categorical(self) -> bool:
        """Whether it holds categories, ordered or not."""
        return self.kind in ("categorical", "ordinal")

    @property
    def has_numbers(self) -> bool:
        """Whether it holds the few values of a column of numbers, in their order."""
        return self.kind == "ordinal" and set(map(type, self.categories)) == {float}

    @property
    def grid(self) -> Grid | None:
        """The grid that its values lie on."""
        if self.kind == "integer":
            return Grid(1.0)
        return None if self.step is None else Grid(self.step, self.origin, self.digits)

    @property
    def cells(self) -> tuple[float | None, float | None]:
        """The bounds of its codes; on a grid those of the cells within, the last one included."""
        if self.grid is None:
            return self.low, self.high
        low, high = (None if end is None else self.grid.exact(end) for end in (self.low, self.high))
        first = None if low is None else float(np.ceil(low - ON_GRID))
        return first, None if high is None else float(np.floor(high + ON_GRID)) + 1

    def numbers(self, codes: Floats) -> Floats:
        """Return the numbers of codes: for categories the codes, for dates the ticks."""
        return codes if self.grid is None else self.grid.values(codes)

    def to_dict(self) -> dict[str, Any]:
        """Return the column for JSON."""
        part = self.part and {**asdict(self.part), "of": encode(self.part.of)}
        gap_of = None if self.gap_of is None else encode(self.gap_of)
        return {**asdict(self), "name": encode(self.name), "part": part, "gap_of": gap_of}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Column:
        """Return a column from JSON.

        Raises:
            TypeError, ValueError, OverflowError: if it is not one.
        """
        fields: dict[str, Any] = {**content, "name": decode(content["name"])}
        fields["categories"] = tuple(content["categories"])
        fields["counts"] = tuple(content.get("counts", ()))
        if (part := content.get("part")) is not None:
            own: dict[str, Any] = {**part, "of": decode(part["of"])}
            fields["part"] = Part(**own)
            _checks.choice("part", fields["part"].name, PARTS)
            _checks.choice("unit", fields["part"].unit, TICKS)
        if (gap_of := content.get("gap_of")) is not None:
            fields["gap_of"] = decode(gap_of)
        column = cls(**fields)
        _check(column)
        return column


def _check(column: Column) -> None:
    """Check what a column has been read with.

    Raises:
        TypeError, ValueError, OverflowError: if it is not a column.
    """
    _checks.choice("kind", column.kind, KINDS)
    if not isinstance(column.dtype, str):
        raise TypeError(f"dtype must be a string, got {column.dtype!r}")
    for name in (*_OPTIONAL_NUMBERS, *_NUMBERS):
        value: Any = getattr(column, name)
        if name in _NUMBERS or value is not None:
            _finite(name, value)
    least = -math.inf if column.low is None else column.low
    steps = column.kind in ("grid", "date")
    if steps != (column.step is not None) or not (1.0 if column.step is None else column.step) > 0:
        raise ValueError(f"column {column.name!r} must have a positive step, or none")
    dated = column.kind == "date" or (column.is_categorical and column.unit is not None)
    if (column.unit not in TICKS) if dated else column.unit is not None:
        raise ValueError(f"column {column.name!r} must have a unit of dates, or none")
    if dated and not all(isinstance(value, int) for value in column.categories):
        raise ValueError(f"column {column.name!r} must have ticks as categories of dates")
    if not 0 <= column.beyond < 1:
        raise ValueError(f"column {column.name!r} must have a probability as beyond")
    if not column.scale > 0 or not least < (math.inf if column.high is None else column.high):
        raise ValueError(
            f"column {column.name!r} must have a positive scale, and bounds in ascending order"
        )
    scalars = all(isinstance(value, bool | int | float | str) for value in column.categories)
    distinct = len(set(column.categories)) == len(column.categories)
    if not scalars or not distinct or column.is_categorical != bool(column.categories):
        raise ValueError(f"column {column.name!r} must have distinct categories, or none")
    if column.dtype in OBJECTS and column.is_categorical and not dated and column.part is None:
        try:
            list(map(OBJECTS[column.dtype].fromisoformat, column.categories))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"column {column.name!r} must have ISO 8601 texts as categories of the dtype "
                f"{column.dtype!r}"
            ) from error
    counts = [_checks.positive_integer("counts", count, minimum=0) for count in column.counts]
    if counts and len(counts) != len(column.categories):
        raise ValueError(f"column {column.name!r} must have a count of each category")


def _finite(name: str, value: Any) -> None:
    if not math.isfinite(_checks.number(name, value)):
        raise ValueError(f"{name} must be finite, got {value}")
