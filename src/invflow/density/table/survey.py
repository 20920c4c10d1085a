"""A first pass over a table: the kinds of its columns, and whether they have a density."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from numbers import Integral
from typing import Any

import numpy as np

from invflow import _checks
from invflow.density.table import source as sources
from invflow.density.table.column import Column
from invflow.density.table.columns import Columns
from invflow.density.table.copies import find
from invflow.density.table.kinds import Kind, check_kinds
from invflow.density.table.labels import Label, column_label, is_label
from invflow.density.table.looks import Context, Feature
from invflow.density.table.moments import Correlations
from invflow.density.table.numbers import numbers
from invflow.density.table.source import Source
from invflow.density.table.standard import standardise

#: What to do with missing values.
MISSING = ("refuse", "marginalise", "learn")
#: Columns are copies if their correlation is closer to one than this,
COPY = 1e-9
#: and cause a warning if it is closer than this.
NEAR_COPY = 1e-4
#: Correlations are those of this many rows or more, evenly spread over a large table.
CORRELATED_ROWS = 2**18
#: The fewest rows with both values for which a correlation is judged.
FEWEST_CORRELATED = 10
#: A column takes part in a linear equation if its coefficient is larger than this.
INVOLVED = 0.05


def survey(
    source: Source,
    kinds: Mapping[Any, Any] | None = None,
    conditional_on: Iterable[Any] = (),
    missing: str = "refuse",
) -> Columns:
    """Return the columns of a table.

    Numbers that move in steps, such as whole numbers or cents, are on a grid, and so are dates;
    other numbers are continuous. A continuous column that is offset + slope times another, up to
    rounding, is a copy (`Copy`). Text, booleans and pandas' categories are categorical. All
    rows are read twice, a few at a time, as any row may have another category or decimal place:
    what columns hold, then their means and scales. Correlations of a large table are those of some
    rows; whether a column is a copy is then seen from all.

    Args:
        source: the table.
        kinds: of some columns, by label (`column_label`), as `check_kinds` describes.
        conditional_on: labels of the columns that the density is conditional on.
        missing: "refuse" missing values, "marginalise" over them, or "learn" where they are: then a
            category tells of each column with missing values whether one is missing.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range; if the table has no rows; if a column does not
            have a density, because it is free text or has infinite values; or if
            values are missing and `missing` is "refuse".

    Example:
        >>> import pandas as pd
        >>> table = {"age": [31, 44, 28], "height": [1.62, 1.8, 1.75], "sex": ["m", "f", "m"]}
        >>> [column.kind for column in survey(sources.Frame(pd.DataFrame(table))).features]
        ['integer', 'continuous', 'categorical']
    """
    _checks.choice("missing", missing, MISSING)
    names = source.names
    declared = check_kinds({} if kinds is None else kinds, names)
    given = _conditions(conditional_on, names)
    features = [name for name in names if name not in given]
    if not features:
        raise ValueError("conditional_on names all columns; leave out at least one")
    count = sum(source.blocks)
    if count < 2:
        raise ValueError(
            f"the table has {count} row(s) (n_samples={count}); a minimum of 2 is required"
        )
    surveyed = {name: Feature(name, declared.get(name)) for name in features}
    context = {name: Context(name, declared.get(name)) for name in given}
    correlations = Correlations(len(features))
    # Of bounded columns, the flow sees logarithms; copies are copies of the values.
    bounded = [name for name in features if _is_bounded(declared.get(name))]
    plain = Correlations(len(features)) if bounded else correlations
    first = 0
    for i, block in enumerate(sources.pieces(source)):
        values = [surveyed[name].add(block[name], first) for name in features]
        if i % max(1, count // CORRELATED_ROWS) == 0:
            correlations.add(np.column_stack(values))
            if bounded:
                for name in bounded:
                    values[features.index(name)] = numbers(block[name], name, first)
                plain.add(np.column_stack(values))
        for name in given:
            context[name].add(block[name], first)
        first += len(block)
    each = {name: surveyed[name].columns(missing) for name in features}
    copies = find(source, _alike(each, plain, bounded))
    for copy in copies:
        warnings.warn(
            f"column {copy.name!r} is a copy of {copy.of!r} ({copy}): it is computed, not "
            "learned, and rows where it differs have density zero",
            UserWarning,
            stacklevel=2,
        )
    copied = {copy.name for copy in copies}
    left = [i for i, name in enumerate(features) if name not in copied]
    columns = Columns(
        names,
        tuple(
            column
            for name, own in each.items()
            for column in own
            if column.gap_of is not None or name not in copied
        ),
        tuple(chain.from_iterable(context[name].columns() for name in given)),
        count,
        missing != "refuse",
        tuple(copies),
    )
    _warn([features[i] for i in left], correlations.among(left))
    return standardise(columns, source)


def _conditions(conditional_on: Any, names: Sequence[Label]) -> list[Label]:
    # A tuple may be a label itself.
    if is_label(conditional_on, names) or isinstance(conditional_on, str | Integral):
        conditional_on = [conditional_on]
    if not isinstance(conditional_on, Iterable):
        raise TypeError(f"conditional_on must name columns, got {conditional_on!r}")
    return list(dict.fromkeys(column_label("conditional_on", key, names) for key in conditional_on))


def _is_bounded(kind: Kind | None) -> bool:
    return kind is not None and (kind.low, kind.high) != (None, None)


def _alike(
    columns: Mapping[Label, Sequence[Column]],
    correlations: Correlations,
    bounded: Collection[Label],
) -> list[tuple[Label, Label]]:
    """Return the pairs of continuous columns whose correlation is one, originals first.

    Columns with bounds come before others, so that they are originals and keep their bounds.
    """
    names = sorted(columns, key=lambda name: name not in bounded)
    correlations = correlations.among([list(columns).index(name) for name in names])
    enough = correlations.counts >= FEWEST_CORRELATED
    same = np.triu(enough & (np.abs(correlations.correlation) > 1 - COPY), 1)
    return [
        (names[i], names[j])
        for i, j in zip(*np.nonzero(same), strict=True)
        if columns[names[i]][-1].kind == columns[names[j]][-1].kind == "continuous"
    ]


def _warn(names: Sequence[Label], correlations: Correlations) -> None:
    """Warn of columns that determine each other: there is no density on a surface."""
    enough = correlations.counts >= FEWEST_CORRELATED
    correlation = np.where(enough, correlations.correlation, 0.0)
    near = np.triu(np.abs(correlation) > 1 - NEAR_COPY, 1)
    pairs = list(zip(*np.nonzero(near), strict=True))
    for i, j in pairs:
        warnings.warn(
            f"columns {names[i]!r} and {names[j]!r} have the correlation {correlation[i, j]:.7g}; "
            "if one determines the other, leave one out: draws need not agree",
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
