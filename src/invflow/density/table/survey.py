"""A first look at a table: what its columns hold, and whether they have a density."""

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
#: A continuous column of which one value makes up such a part is suspect,
COMMON = 0.2
#: or with so few values, each so many times.
FEW, OFTEN = 50, 10
#: Whole numbers of which one makes up more are nearly constant.
NEARLY = 0.99
#: Of fewer values nothing is said.
ENOUGH = 100
#: Correlations as near to one make columns copies of each other, and as near are worth a word.
COPY = 1e-9
ALIKE = 1e-4
#: Whole numbers from here on have no digits left for what is between them.
EXACT = 2.0**52
#: The squares of larger numbers cannot be summed up.
LARGEST = 1e150


def survey(
    source: Source,
    kinds: Mapping[Any, Any] | None = None,
    conditional_on: Iterable[Any] = (),
    missing: str = "refuse",
) -> Columns:
    """Return what the columns of a table hold.

    Columns of whole numbers are taken for integers, other numbers for continuous, and so are
    whole numbers beyond 2**52. The rows are read once, block by block.

    Args:
        source: the table.
        kinds: of some columns, by label (`column_label`): "continuous", "integer", "categorical";
            the open interval (low, high) in which a continuous one lies, None where there is no
            bound; or ("integer", low, high), bounds included.
        conditional_on: labels of the columns that the density is conditional on, which may be
            categorical.
        missing: "refuse" values that are missing, or "marginalise" over them.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an argument out of range; a table without rows; a column that has no density:
            text, infinite values, constant, a copy of another; or with missing values that are
            refused.

    Example:
        >>> table = pd.DataFrame({"age": [31, 44, 28], "height": [1.62, 1.8, 1.75]})
        >>> [column.kind for column in survey(sources.Frame(table)).features]
        ['integer', 'continuous']
    """
    _checks.choice("missing", missing, MISSING)
    names = source.names
    said = check_kinds({} if kinds is None else kinds, names)
    given = _conditions(conditional_on, names)
    features = [name for name in names if name not in given]
    if not features:
        raise ValueError("conditional_on names all columns: none is left to have a density")
    for name in features:
        if name in said and said[name].name == "categorical":
            raise ValueError(
                f"kinds: column {name!r} is categorical; only columns in conditional_on can be"
            )
    count = sum(source.blocks)
    if count < 2:
        raise ValueError(
            f"the table has {count} row(s) (n_samples={count}), while a minimum of 2 is required"
        )
    notes = {name: _Note(name, said.get(name)) for name in features}
    context = {name: _Given(name, said.get(name)) for name in given}
    together = Correlations(len(features))
    first = 0
    for block in sources.blocks(source):
        values = [notes[name].add(block[name], first) for name in features]
        together.add(np.column_stack(values))
        for name in given:
            context[name].add(block[name], first)
        first += len(block)
    columns = Columns(
        names,
        tuple(notes[name].column(missing) for name in features),
        tuple(context[name].column() for name in given),
        count,
        missing == "marginalise",
    )
    _compare(columns, together)
    return columns


def _conditions(conditional_on: Any, names: Sequence[Label]) -> list[Label]:
    # A tuple may be a label itself.
    if is_label(conditional_on, names) or isinstance(conditional_on, str | Integral):
        conditional_on = [conditional_on]
    if not isinstance(conditional_on, Iterable):
        raise TypeError(f"conditional_on must name columns, got {conditional_on!r}")
    return list(dict.fromkeys(column_label("conditional_on", key, names) for key in conditional_on))


@dataclass
class _Note:
    """What has been seen of a column of the density.

    Attributes:
        name: its name.
        said: what the user says that it is.
    """

    name: Label
    said: Kind | None

    def __post_init__(self) -> None:
        self.dtype = ""
        self.missing = 0
        self.whole = True
        self.range = (math.inf, -math.inf)
        self.integer = self.said is not None and self.said.name == "integer"
        self.bounds = (None, None) if self.said is None else (self.said.low, self.said.high)
        self.moments = Moments(1)
        self.first: Floats | None = None
        #: The most common value at first, and how often it came in all.
        self.usual, self.common = math.nan, 0

    def add(self, series: Any, first: int) -> Floats:
        """Take note of a block, and return its numbers as a flow will see them."""
        values = numbers(series, self.name, first)
        there = values[~np.isnan(values)]
        self.missing += len(values) - len(there)
        self.dtype = self.dtype or str(series.dtype)
        if len(there):
            self.whole = self.whole and not (there % 1).any()
            self.range = (
                min(self.range[0], float(there.min())),
                max(self.range[1], float(there.max())),
            )
            if self.first is None:
                self.first = there
                distinct, counts = np.unique(there, return_counts=True)
                self.usual = float(distinct[counts.argmax()])
            self.common += int((there == self.usual).sum())
            _check_size(self.name, there)
            self._check_bounds(there)
        seen = encoded(values, self.integer, *self.bounds)
        self.moments.add(seen[:, None])
        return seen

    def column(self, missing: str) -> Column:
        """Return what is known in the end.

        Raises:
            ValueError: the column has no density, or values are missing.
        """
        if self.first is None:
            raise ValueError(f"column {self.name!r} has no values, they are all missing")
        if self.missing and missing == "refuse":
            raise ValueError(
                f"column {self.name!r} has {self.missing} missing value(s) (NaN): fill them in, "
                "leave the column out, or take missing='marginalise'"
            )
        low, high = self.range
        if low == high:
            raise ValueError(
                f"column {self.name!r} is constant, {low:g}, and has no density: leave it out, or "
                "name it in conditional_on"
            )
        exact = max(abs(low), abs(high)) < EXACT
        integer = self.integer or (self.said is None and self.whole and exact)
        if integer and not self.whole:
            raise ValueError(f"kinds: column {self.name!r} is no integer, it has other numbers")
        if integer and not exact:
            raise ValueError(f"kinds: column {self.name!r} is no integer, it goes beyond 2**52")
        if integer:
            self._warn_if_nearly_constant()
        else:
            if not varies(self.moments):
                raise ValueError(
                    f"column {self.name!r} hardly varies, from {low} to {high}: subtract a number "
                    "so that its digits are kept, or leave it out"
                )
            self._suspect(self.first)
        kind = "integer" if integer else "continuous"
        column = Column(self.name, kind, self.dtype, *self.bounds, smallest=low, largest=high)
        return placed(column, self.moments)

    def _check_bounds(self, there: Floats) -> None:
        low = -math.inf if self.bounds[0] is None else self.bounds[0]
        high = math.inf if self.bounds[1] is None else self.bounds[1]
        inside = (
            (low <= there) & (there <= high) if self.integer else (low < there) & (there < high)
        )
        if not inside.all():
            where = "" if self.integer else ", or on a bound, where no density is"
            raise ValueError(f"column {self.name!r} has values outside of {self.bounds}{where}")

    def _warn_if_nearly_constant(self) -> None:
        count = self.moments.count
        if count >= ENOUGH and self.common > NEARLY * count:
            warnings.warn(
                f"column {self.name!r} is nearly constant: {self.common} of its {count} values are "
                f"{self.usual:g}; there is little to learn the others from, leave it out or name "
                "it in conditional_on",
                UserWarning,
                stacklevel=4,
            )

    def _suspect(self, values: Floats) -> None:
        """Warn where a continuous column looks discrete: its density grows without limit."""
        distinct, counts = np.unique(values, return_counts=True)
        share = counts.max() / len(values)
        if len(values) < ENOUGH:
            return
        if share > COMMON:
            what = f"{100 * share:.0f} % of its values are {distinct[counts.argmax()]:g}"
        elif len(distinct) <= min(FEW, len(values) / OFTEN):
            what = f"it has only {len(distinct)} different values"
        else:
            return
        warnings.warn(
            f"column {self.name!r} is taken for continuous, but {what}: a density can grow there "
            "without limit; with whole numbers (kind 'integer') it cannot",
            UserWarning,
            stacklevel=4,
        )


@dataclass
class _Given:
    """What has been seen of a column that the density is conditional on."""

    name: Label
    said: Kind | None

    def __post_init__(self) -> None:
        if self.said is not None and self.said[1:] != (None, None):
            raise ValueError(f"kinds: column {self.name!r} is in conditional_on and has no bounds")
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
        if self.said is not None:
            return self.said.name == "categorical"
        dtype = series.dtype
        return pd.api.types.is_bool_dtype(dtype) or not pd.api.types.is_numeric_dtype(dtype)


def _check_size(name: Label, values: Floats) -> None:
    largest = np.abs(values).max(initial=0.0)
    if largest > LARGEST:
        raise ValueError(f"column {name!r} has values as large as {largest:g}: choose another unit")


def _compare(columns: Columns, together: Correlations) -> None:
    """Look for columns that determine each other: on a surface there is no density."""
    names = [column.name for column in columns.features]
    correlation = np.where(together.counts < 10, 0.0, together.correlation)
    alike = list(zip(*np.nonzero(np.triu(np.abs(correlation) > 1 - ALIKE, 1)), strict=True))
    for i, j in alike:
        copy = abs(correlation[i, j]) > 1 - COPY
        if copy and columns.features[i].kind == columns.features[j].kind == "continuous":
            raise ValueError(
                f"columns {names[i]!r} and {names[j]!r} are copies of each other, up to scale: "
                "leave one out"
            )
    for i, j in alike:
        warnings.warn(
            f"columns {names[i]!r} and {names[j]!r} have the correlation {correlation[i, j]:.7g}: "
            "little is left for a density of both",
            UserWarning,
            stacklevel=3,
        )
    # Of pairs that have other rows each, correlations need not fit together.
    if alike or together.has_gaps or together.counts.min() <= max(10, len(names)):
        return
    value, vectors = np.linalg.eigh(correlation)
    if value[0] < COPY:
        involved = [
            repr(name) for name, part in zip(names, vectors[:, 0], strict=True) if abs(part) > 0.05
        ]
        warnings.warn(
            f"columns {', '.join(involved)} determine each other by a linear equation: their "
            "density grows without limit; leave one out",
            UserWarning,
            stacklevel=3,
        )
