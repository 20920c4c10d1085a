"""The columns of a table: those of the density, those it is conditional on, and copies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from invflow import _checks
from invflow.density.table.column import Column
from invflow.density.table.copies import Copy
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
        copies: columns that are determined by a feature.
    """

    names: tuple[Label, ...]
    features: tuple[Column, ...]
    context: tuple[Column, ...]
    rows: int
    missing: bool
    copies: tuple[Copy, ...] = ()

    @property
    def tells(self) -> list[int]:
        """The places of features that tell whether values are missing."""
        return [i for i, column in enumerate(self.features) if column.gap_of is not None]

    @property
    def gaps(self) -> dict[int, list[int]]:
        """The places of features whose values may be missing, and of all that tell whether.

        A value is known from its copies, too: it is missing if all of these are.
        """
        told = {self.features[i].gap_of: i for i in self.tells}
        found: dict[int, list[int]] = {}
        for i, column in enumerate(self.features):
            names = [column.of, *(copy.name for copy in self.copies if copy.of == column.of)]
            if column.gap_of is None and all(name in told for name in names):
                found[i] = [told[name] for name in names]
        return found

    @property
    def originals(self) -> list[int]:
        """The places of the features that the copies are of."""
        places = {c.name: i for i, c in enumerate(self.features) if c.kind == "continuous"}
        return [places[copy.of] for copy in self.copies]

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
            "features": [each.to_dict() for each in self.features],
            "context": [each.to_dict() for each in self.context],
            "rows": self.rows,
            "missing": self.missing,
            "copies": [copy.to_dict() for copy in self.copies],
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
                tuple(map(Column.from_dict, content[part])) for part in ("features", "context")
            )
            # Files of earlier versions have no copies.
            copies = tuple(map(Copy.from_dict, content.get("copies", ())))
            each = [column for column in (*features, *context) if column.gap_of is None]
            parts = [*dict.fromkeys(column.of for column in each), *(copy.name for copy in copies)]
            if not features or len(parts) != len(names) or set(parts) != set(names):
                raise ValueError("the names differ from those of the features and the context")
            originals = {column.name for column in features if column.kind == "continuous"}
            if not originals.issuperset(copy.of for copy in copies):
                raise ValueError("copies must be of continuous features")
            return cls(
                names,
                features,
                context,
                _checks.positive_integer("rows", content["rows"]),
                _checks.boolean("missing", content["missing"]),
                copies,
            )
        except KeyError as error:
            raise ValueError(f"not the columns of a table: {error} is missing") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"not the columns of a table: {error}") from error
