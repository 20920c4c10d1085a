"""The columns of a table: those of the density, those it is conditional on, and copies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from invflow import _checks
from invflow.density.table.column import Column, content, from_content
from invflow.density.table.dates import TICKS
from invflow.density.table.labels import Label, decode, encode, unique


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
    def gaps(self) -> dict[int, list[int]]:
        """The places of features that tell whether values are missing, and of these values."""
        return {
            i: [j for j, own in enumerate(self.features) if own.of == column.of and j != i]
            for i, column in enumerate(self.features)
            if column.gap_of is not None
        }

    @property
    def context_size(self) -> int:
        """Size of the context."""
        return sum(column.width for column in self.context)

    @property
    def given(self) -> tuple[Label, ...]:
        """The columns of the table that the density is conditional on."""
        return tuple(dict.fromkeys(column.of for column in self.context))

    @property
    def log_cell(self) -> float:
        """The log volume of a cell of the grids, in the units of the table; of dates, in seconds.

        The log probability of a cell minus this is the log of the mean density in it.
        """
        steps: dict[Label, float] = {}
        for column in self.features:
            if column.part is not None:
                steps[column.of] = column.part.step / TICKS[column.part.unit]
            elif column.grid is not None:
                scale = 1 if column.unit is None else TICKS[column.unit]
                steps[column.of] = column.grid.step / scale
        return sum(map(math.log, steps.values()))

    @property
    def has_grids(self) -> bool:
        """Whether a feature moves in steps, so that its density is a probability."""
        return any(column.grid is not None for column in self.features)

    @property
    def has_categories(self) -> bool:
        """Whether a feature is categorical, so that its density is a probability."""
        return any(column.is_categorical for column in self.features)

    def to_dict(self) -> dict[str, Any]:
        """Return the columns as a mapping for JSON.

        Raises:
            ValueError: if a label has a type that cannot be saved.
        """
        return {
            "names": [encode(name) for name in self.names],
            "features": [content(each) for each in self.features],
            "context": [content(each) for each in self.context],
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
                tuple(from_content(each) for each in content[part]) for part in ("features", "context")
            )
            parts = list(dict.fromkeys(column.of for column in (*features, *context)))
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
