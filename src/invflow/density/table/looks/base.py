"""What is common to the looks at columns of different kinds."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any

from invflow.density.table.column import Column
from invflow.density.table.kinds import Kind
from invflow.density.table.labels import Label
from invflow.density.table.levels import kind_of
from invflow.density.table.samples import Floats

#: The fewest values of a column for conclusions from how they are distributed.
FEWEST_WARNED = 100


class Look(ABC):
    """What has been seen of a column of some kind.

    Args:
        name: of the column.
        declared: its kind in `kinds`.
    """

    def __init__(self, name: Label, declared: Kind | None) -> None:
        self.name, self.declared = name, declared
        self.dtype, self.count = "", 0

    def see(self, series: Any, first: int) -> Floats:
        self.count += int(series.notna().sum())
        self.dtype = self.dtype or kind_of(series)
        return self._add(series, first)

    @abstractmethod
    def _add(self, series: Any, first: int) -> Floats: ...

    @abstractmethod
    def column(self) -> Column: ...

    def columns(self) -> tuple[Column, ...]:
        return (self.column(),)

    def constant(self, value: Any, shown: str) -> Column:
        """Return the column of a single value: a category, whose probability is nearly one."""
        warnings.warn(
            f"column {self.name!r} is constant ({shown}): it hardly adds to the score of a row",
            UserWarning,
            stacklevel=5,
        )
        return Column(
            self.name, "categorical", self.dtype, categories=(value,), counts=(self.count,)
        )
