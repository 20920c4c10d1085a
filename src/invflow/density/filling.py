"""Gaps of rows filled by a density: draws, and best guesses."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from invflow import _checks
from invflow.density.learning import conditional, expectation
from invflow.density.learning.imputer import Imputer
from invflow.density.scoring import ROWS_AT_ONCE, Scoring, seed_of
from invflow.density.table import Rows, arrays
from invflow.training.batches import generator


class Filling(Scoring):
    """Fills the gaps of rows, given their observed values."""

    def sample_conditional(self, X: Any, n_samples: int = 1, *, random_state: Any = None) -> Any:
        """Return rows whose missing values are drawn, given the observed values.

        Any columns can be drawn given any others, if the density was trained with
        missing="marginalise" or "learn", even on a table without missing values. Where gaps are
        learned, they are filled as if their values had been observed.

        Args:
            X: as for `fit`, with missing values.
            n_samples: draws for each row.
            random_state: random seed.

        Returns:
            All rows with the first draw, then all rows with the second, and so on: n_samples * rows
            rows, a table of the library that the density was trained on, or an array.

        Raises:
            ValueError: if the density was trained without missing="marginalise", or is zero at the
                observed values of a row; also as `score_samples`.
        """
        imputer = self._gaps()
        count = _checks.positive_integer("n_samples", n_samples)
        rows = self._rows(X)
        noise = generator("cpu", seed_of(random_state))
        drawn: list[Tensor] = []
        effective: list[Tensor] = []
        for x, context in rows.parts(ROWS_AT_ONCE):
            x = conditional.to_be_filled(self.model_, x)
            values, number = conditional.draw(self.model_, imputer, x, context, count, noise)
            drawn.append(values)
            effective.append(number)
        _warn_if_rough(torch.cat(effective))
        return self._filled(torch.cat(drawn, 1).flatten(0, 1), rows, count)

    def impute(self, X: Any, *, random_state: Any = None) -> Any:
        """Return rows with missing values filled by one draw each, as `sample_conditional`.

        A draw has the spread of the data. For the best guess take `expected`.
        """
        return self.sample_conditional(X, random_state=random_state)

    def expected(self, X: Any, *, random_state: Any = None) -> Any:
        """Return rows with missing values filled by their expectation given the observed values.

        Numbers are filled by their mean, which has the smallest mean square error, within the range
        of the table that was learned, and categories by the most probable one. The mean need not
        lie on the grid of its column; it is rounded only where the dtype holds nothing between, as
        for integers and dates. Filled rows vary less than rows of the table: to analyse these, take
        several draws (`sample_conditional`).

        Args:
            X: as for `fit`, with missing values.
            random_state: random seed of the candidates that are averaged.

        Returns:
            As `sample_conditional`, once for each row.

        Raises:
            ValueError: as `sample_conditional`.

        Example:
            >>> import numpy as np
            >>> from invflow.density import FlowDensity
            >>> x = np.random.default_rng(0).normal(5.0, 0.1, (200, 2))
            >>> density = FlowDensity("gaussian", missing="marginalise", steps=200, random_state=0)
            >>> density.fit(x).expected([[5.0, np.nan]], random_state=0).round(1)
            array([[5., 5.]])
        """
        imputer = self._gaps()
        rows = self._rows(X)
        noise = generator("cpu", seed_of(random_state))
        parts = [
            expectation.expected(
                self.model_, imputer, conditional.to_be_filled(self.model_, x), context, noise
            )
            for x, context in rows.parts(ROWS_AT_ONCE)
        ]
        found, effective = (torch.cat(part) for part in zip(*parts, strict=True))
        _warn_if_rough(effective)
        return self._filled(found, rows, 1)

    def _gaps(self) -> Imputer:
        check_is_fitted(self, "model_")
        if self.imputer_ is None:
            raise ValueError(
                "missing values can be filled only by a density that was trained with missing set "
                "to marginalise or learn"
            )
        return self.imputer_

    def _filled(self, x: Tensor, rows: Rows, count: int) -> Any:
        once = pd.concat([rows.frame(number) for number in range(len(rows.blocks))])
        given = pd.concat([once] * count)
        frame = arrays.frame(x.numpy(), given, self.columns_, self.levels_)
        return self.container_.give(arrays.filled(frame, given, self.columns_))


def _warn_if_rough(effective: Tensor) -> None:
    poor = int((effective < conditional.FEWEST_EFFECTIVE).sum())
    if poor:
        warnings.warn(
            f"for {poor} row(s) the effective number of candidates is below "
            f"{conditional.FEWEST_EFFECTIVE}, so that the values drawn there are rough",
            UserWarning,
            stacklevel=3,
        )
