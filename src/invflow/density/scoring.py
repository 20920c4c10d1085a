"""What a density of a table gives: scores of rows, and draws."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from invflow import _checks
from invflow.density.learning import draws, inputs
from invflow.density.learning.imputer import Imputer
from invflow.density.learning.model import TableDensity
from invflow.density.learning.scores import log_density
from invflow.density.table import Columns, Rows, arrays
from invflow.density.table.containers import Container
from invflow.density.table.labels import Label
from invflow.density.table.samples import Floats
from invflow.training.batches import generator

#: Rows encoded or filled at once.
ROWS_AT_ONCE = 8192


class Scoring(DensityMixin):
    """Scores and draws of a fitted density, whose attributes `FlowDensity` describes."""

    columns_: Columns
    model_: TableDensity
    imputer_: Imputer | None
    reference_: Floats
    container_: Container
    levels_: tuple[Label, ...]

    @property
    def log_cell_(self) -> float:
        check_is_fitted(self, "model_")
        return self.columns_.log_cell

    def score_samples(self, X: Any) -> Floats:
        """Return the log density of rows, in nats and the units of the table, shape (rows,).

        It is the density of the other columns given those in `conditional_on`. For categories and
        numbers that move in steps it is a probability (see `log_cell_`). Rows with a value outside
        declared bounds of its column have density zero. Missing values are integrated out.

        Args:
            X: as for `fit`.

        Raises:
            ValueError: if columns differ from training, or a value is not of its column's kind.
        """
        rows = self._rows(X)
        return log_density(self.model_, self.imputer_, rows)

    def score(self, X: Any, y: Any = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the mean log density of rows, in nats.

        Args:
            X: as for `fit`.
            y: ignored.
        """
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, *, given: Any = None, random_state: Any = None) -> Any:
        """Return rows drawn from the density, with the columns and types of the table.

        Args:
            n_samples: number of rows.
            given: for a conditional density, a DataFrame or a mapping with the columns that it is
                conditional on, or a DataFrame of whole rows, whose other columns are ignored; if
                it was trained on an array, also an array, shape (rows, contexts), in the order of
                `conditional_on`. One row for all draws, or one for each.
            random_state: random seed.

        Returns:
            A table of the library that the density was trained on, or an array.

        Raises:
            TypeError: if `given` has another type.
            ValueError: if a column of `given` is missing, unknown or not allowed, or the number of
                its rows is wrong.
        """
        check_is_fitted(self, "model_")
        count = _checks.positive_integer("n_samples", n_samples)
        given = inputs.contexts(self, given, count, self.columns_)
        context = torch.from_numpy(arrays.context(given, self.columns_))
        noise = generator("cpu", seed_of(random_state))
        return self._table(draws.draw(self.model_, context, noise), given)

    def _rows(self, X: Any) -> Rows:
        check_is_fitted(self, "model_")
        return inputs.scored(self, X, self.columns_)

    def _tensors(self, X: Any) -> tuple[Tensor, Tensor]:
        parts = list(self._rows(X).parts(ROWS_AT_ONCE))
        x, context = (torch.cat(part) for part in zip(*parts, strict=True))
        return x, context

    def _table(self, x: Tensor, given: pd.DataFrame) -> Any:
        return self.container_.give(arrays.frame(x.numpy(), given, self.columns_, self.levels_))


def seed_of(random_state: Any) -> int:
    """Return a seed for what scikit-learn calls a random state."""
    return int(check_random_state(random_state).randint(2**31))
