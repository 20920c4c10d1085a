"""A first pass over a table: the kinds of its columns, and whether they have a density."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from invflow import _checks
from invflow.density.table import source as sources
from invflow.density.table.arrays import categories, numbers
from invflow.density.table.columns import Column, Columns, Kind, check_kinds, column_label, is_label
from invflow.density.table.labels import Label
from invflow.density.table.moments import Correlations, Moments
from invflow.density.table.samples import Floats
from invflow.density.table.source import Source
from invflow.density.table.standard import encoded, placed, varies

#: What to do with missing values.
MISSING = ("refuse", "marginalise")
#: A continuous column looks discrete if one value makes up more than this fraction of it,
COMMON_FRACTION = 0.2
#: or if it has at most this many distinct values, each this many times on average.
FEW_DISTINCT, REPEATS = 50, 10
#: An integer column is nearly constant if one value makes up more than this fraction of it.
CONSTANT_FRACTION = 0.99
#: The fewest values for which such warnings are given.
FEWEST_WARNED = 100
#: Columns are copies if their correlation is closer to one than this,
COPY = 1e-9
#: and cause a warning if it is closer than this.
NEAR_COPY = 1e-4
#: The fewest rows with both values for which a correlation is judged.
FEWEST_CORRELATED = 10
#: A column takes part in a linear equation if its coefficient is larger than this.
INVOLVED = 0.05
#: From here on, floats cannot represent numbers between integers.
LARGEST_INTEGER = 2.0**52
#: The squares of larger numbers overflow when summed.
LARGEST = 1e150


def survey(
    source: Source,
    kinds: Mapping[Any, Any] | None = None,
    conditional_on: Iterable[Any] = (),
    missing: str = "refuse",
) -> Columns:
    """Return the columns of a table.

    Columns of whole numbers up to 2**52 are integer, other columns of numbers continuous. The rows
    are read once, block by block.

    Args:
        source: the table.
        kinds: of some columns, by label (`column_label`): "continuous", "integer" or "categorical";
            the open interval (low, high) of a continuous column, with None for no bound; or
            ("integer", low, high), bounds included.
        conditional_on: labels of the columns that the density is conditional on. Only these may be
            categorical.
        missing: "refuse" missing values, or "marginalise" over them.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range; if the table has no rows; if a column does not
            have a density, because it is text, constant, a copy of another or has infinite values;
            or if values are missing and `missing` is "refuse".

    Example:
        >>> table = pd.DataFrame({"age": [31, 44, 28], "height": [1.62, 1.8, 1.75]})
        >>> [column.kind for column in survey(sources.Frame(table)).features]
        ['integer', 'continuous']
    """
    _checks.choice("missing", missing, MISSING)
    names = source.names
    declared = check_kinds({} if kinds is None else kinds, names)
    given = _conditions(conditional_on, names)
    features = [name for name in names if name not in given]
    if not features:
        raise ValueError("conditional_on names all columns; leave out at least one")
    for name in features:
        if name in declared and declared[name].name == "categorical":
            raise ValueError(
                f"column {name!r} is declared categorical in kinds, which is possible only for "
                "columns in conditional_on"
            )
    count = sum(source.blocks)
    if count < 2:
        raise ValueError(
            f"the table has {count} row(s) (n_samples={count}); a minimum of 2 is required"
        )
    surveyed = {name: _Feature(name, declared.get(name)) for name in features}
    context = {name: _Context(name, declared.get(name)) for name in given}
    correlations = Correlations(len(features))
    first = 0
    for block in sources.blocks(source):
        values = [surveyed[name].add(block[name], first) for name in features]
        correlations.add(np.column_stack(values))
        for name in given:
            context[name].add(block[name], first)
        first += len(block)
    columns = Columns(
        names,
        tuple(surveyed[name].column(missing) for name in features),
        tuple(context[name].column() for name in given),
        count,
        missing == "marginalise",
    )
    _compare(columns, correlations)
    return columns


def _conditions(conditional_on: Any, names: Sequence[Label]) -> list[Label]:
    # A tuple may be a label itself.
    if is_label(conditional_on, names) or isinstance(conditional_on, str | Integral):
        conditional_on = [conditional_on]
    if not isinstance(conditional_on, Iterable):
        raise TypeError(f"conditional_on must name columns, got {conditional_on!r}")
    return list(dict.fromkeys(column_label("conditional_on", key, names) for key in conditional_on))


@dataclass
class _Feature:
    """What has been seen of a column of the density.

    Attributes:
        name: of the column.
        declared: its kind in `kinds`.
    """

    name: Label
    declared: Kind | None

    def __post_init__(self) -> None:
        self.dtype = ""
        self.missing = 0
        #: The first value that is not a whole number, and its row.
        self.fractional: tuple[float, int] | None = None
        self.range = (math.inf, -math.inf)
        self.integer = self.declared is not None and self.declared.name == "integer"
        self.bounds = (
            (None, None) if self.declared is None else (self.declared.low, self.declared.high)
        )
        self.moments = Moments(1)
        #: The values of the first block that has any.
        self.sample: Floats | None = None
        #: The most common value of these, and its count in the whole column.
        self.most_common, self.count = math.nan, 0

    def add(self, series: Any, first: int) -> Floats:
        """Add a block, and return its numbers as the flow will see them."""
        values = numbers(series, self.name, first)
        there = values[~np.isnan(values)]
        self.missing += len(values) - len(there)
        self.dtype = self.dtype or str(series.dtype)
        if len(there):
            self._find_fractional(values, first)
            self.range = (
                min(self.range[0], float(there.min())),
                max(self.range[1], float(there.max())),
            )
            if self.sample is None:
                self.sample = there
                distinct, counts = np.unique(there, return_counts=True)
                self.most_common = float(distinct[counts.argmax()])
            self.count += int((there == self.most_common).sum())
            _check_size(self.name, there)
            self._check_bounds(there)
        seen = encoded(values, self.integer, *self.bounds)
        self.moments.add(seen[:, None])
        return seen

    def column(self, missing: str) -> Column:
        """Return the column, after all blocks.

        Raises:
            ValueError: if the column does not have a density, or values are missing.
        """
        if self.sample is None:
            raise ValueError(f"column {self.name!r} has only missing values; leave it out")
        if self.missing and missing == "refuse":
            raise ValueError(
                f"column {self.name!r} has {self.missing} missing value(s) (NaN); fill them in, "
                "leave the column out, or set missing to marginalise"
            )
        low, high = self.range
        if low == high:
            raise ValueError(
                f"column {self.name!r} is constant ({low:g}) and does not have a density; leave it "
                "out, or name it in conditional_on"
            )
        exact = max(abs(low), abs(high)) < LARGEST_INTEGER
        integer = self.integer or (self.declared is None and self.fractional is None and exact)
        if integer and self.fractional is not None:
            value, row = self.fractional
            raise ValueError(
                f"column {self.name!r} has {value:g} in row {row} but is declared integer; declare "
                "it continuous in kinds"
            )
        if integer and not exact:
            raise ValueError(
                f"column {self.name!r} is declared integer but has values beyond 2**52; declare it "
                "continuous in kinds"
            )
        if integer:
            self._warn_if_nearly_constant()
        else:
            if not varies(self.moments):
                raise ValueError(
                    f"column {self.name!r} hardly varies, from {low} to {high}; subtract a "
                    "constant to keep its precision, or leave it out"
                )
            self._warn_if_discrete(self.sample)
        kind = "integer" if integer else "continuous"
        column = Column(self.name, kind, self.dtype, *self.bounds, smallest=low, largest=high)
        return placed(column, self.moments)

    def _find_fractional(self, values: Floats, first: int) -> None:
        if self.fractional is None:
            found = np.flatnonzero(values % 1 > 0)
            if len(found):
                self.fractional = float(values[found[0]]), first + int(found[0])

    def _check_bounds(self, there: Floats) -> None:
        low = -math.inf if self.bounds[0] is None else self.bounds[0]
        high = math.inf if self.bounds[1] is None else self.bounds[1]
        inside = (
            (low <= there) & (there <= high) if self.integer else (low < there) & (there < high)
        )
        if not inside.all():
            bounds = " and ".join(
                f"{word} {bound:g}"
                for word, bound in zip(("lower", "upper"), self.bounds, strict=True)
                if bound is not None
            )
            on = "" if self.integer else " or on a bound, where a continuous column has no density"
            raise ValueError(
                f"column {self.name!r} has values outside its bounds ({bounds}){on}; correct the "
                "bounds in kinds"
            )

    def _warn_if_nearly_constant(self) -> None:
        count = self.moments.count
        if count >= FEWEST_WARNED and self.count > CONSTANT_FRACTION * count:
            warnings.warn(
                f"column {self.name!r} is nearly constant: {self.count} of its {count} values are "
                f"{self.most_common:g}; leave it out, or name it in conditional_on",
                UserWarning,
                stacklevel=4,
            )

    def _warn_if_discrete(self, values: Floats) -> None:
        """Warn if a continuous column looks discrete: its density can grow without limit."""
        distinct, counts = np.unique(values, return_counts=True)
        common = counts.max() / len(values)
        if len(values) < FEWEST_WARNED:
            return
        if common > COMMON_FRACTION:
            what = f"{100 * common:.0f} % of its values are {distinct[counts.argmax()]:g}"
        elif len(distinct) <= min(FEW_DISTINCT, len(values) / REPEATS):
            what = f"it has only {len(distinct)} distinct values"
        else:
            return
        warnings.warn(
            f"column {self.name!r} is treated as continuous, but {what}: the density can grow "
            "without limit there; whole numbers declared integer in kinds do not have this problem",
            UserWarning,
            stacklevel=4,
        )


@dataclass
class _Context:
    """What has been seen of a column that the density is conditional on."""

    name: Label
    declared: Kind | None

    def __post_init__(self) -> None:
        if self.declared is not None and self.declared[1:] != (None, None):
            raise ValueError(
                f"column {self.name!r} is in conditional_on and cannot have bounds in kinds"
            )
        self.dtype = ""
        self.values: set[Any] = set()
        self.moments = Moments(1)

    def add(self, series: Any, first: int) -> None:
        if series.isna().any():
            raise ValueError(
                f"column {self.name!r}, which the density is conditional on, has missing values"
            )
        self.dtype = self.dtype or str(series.dtype)
        if self._is_categorical(series):
            self.values.update(categories(series))
        else:
            values = numbers(series, self.name, first)
            _check_size(self.name, values)
            self.moments.add(values[:, None])

    def column(self) -> Column:
        if self.values:
            known = tuple(sorted(self.values, key=lambda value: (str(type(value)), value)))
            return Column(self.name, "categorical", self.dtype, categories=known)
        return placed(Column(self.name, "continuous", self.dtype), self.moments)

    def _is_categorical(self, series: Any) -> bool:
        if self.declared is not None:
            return self.declared.name == "categorical"
        dtype = series.dtype
        return pd.api.types.is_bool_dtype(dtype) or not pd.api.types.is_numeric_dtype(dtype)


def _check_size(name: Label, values: Floats) -> None:
    largest = np.abs(values).max(initial=0.0)
    if largest > LARGEST:
        raise ValueError(f"column {name!r} has values up to {largest:g}; use a larger unit")


def _compare(columns: Columns, correlations: Correlations) -> None:
    """Find columns that determine each other: there is no density on a surface."""
    names = [column.name for column in columns.features]
    enough = correlations.counts >= FEWEST_CORRELATED
    correlation = np.where(enough, correlations.correlation, 0.0)
    near = np.triu(np.abs(correlation) > 1 - NEAR_COPY, 1)
    pairs = list(zip(*np.nonzero(near), strict=True))
    for i, j in pairs:
        copy = abs(correlation[i, j]) > 1 - COPY
        if copy and columns.features[i].kind == columns.features[j].kind == "continuous":
            raise ValueError(
                f"columns {names[i]!r} and {names[j]!r} are copies of each other, up to scale; "
                "leave one out"
            )
    for i, j in pairs:
        warnings.warn(
            f"columns {names[i]!r} and {names[j]!r} have the correlation {correlation[i, j]:.7g}; "
            "if one determines the other, leave one out",
            UserWarning,
            stacklevel=3,
        )
    # Correlations of pairs over different rows need not form a covariance.
    few = correlations.counts.min() <= max(FEWEST_CORRELATED, len(names))
    if pairs or correlations.has_gaps or few:
        return
    value, vectors = np.linalg.eigh(correlation)
    if value[0] < COPY:
        involved = [
            repr(name)
            for name, part in zip(names, vectors[:, 0], strict=True)
            if abs(part) > INVOLVED
        ]
        warnings.warn(
            f"columns {', '.join(involved)} satisfy a linear equation, so their density can grow "
            "without limit; leave one out",
            UserWarning,
            stacklevel=3,
        )
