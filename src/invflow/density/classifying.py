"""The probabilities of a category, given the rest of a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted

from invflow.density.learning import inputs
from invflow.density.learning.scores import log_density_of
from invflow.density.scoring import ROWS_AT_ONCE, Scoring
from invflow.density.table import codes
from invflow.density.table.column import Column
from invflow.density.table.containers import LABELLED, Container
from invflow.density.table.labels import column_label


class Classifying(Scoring):
    """Classifies rows by any of their categorical columns."""

    def probabilities(self, X: Any, column: Any) -> Any:
        r"""Return the probability of each value of a categorical column, given the other columns.

        $$P(k | x) = \frac{p(x, k)}{\sum_j p(x, j)}$$

        Args:
            X: as for `fit`; the values of the column are not used. A table in memory may lack it.
            column: its label, or its position as in `conditional_on`.

        Returns:
            Shape (rows, values), rows that sum to one: a table of the library that the density was
            trained on, with a column for each value, or an array. The values ascend, or have the
            order of pandas' categories or of the levels of an ordinal column.

        Raises:
            ValueError: if the column does not exist or is not categorical, the density is
                conditional on it, or it is zero at a row for every value; also as `score_samples`.

        Example:
            >>> import numpy as np, pandas as pd
            >>> from invflow.density import FlowDensity
            >>> size = np.random.default_rng(0).normal([[0.0], [5.0]], 1.0, (2, 200)).ravel()
            >>> table = pd.DataFrame({"size": size, "kind": np.repeat(["small", "big"], 200)})
            >>> density = FlowDensity("nsf", steps=200, random_state=0).fit(table)
            >>> density.probabilities(pd.DataFrame({"size": [0.0, 5.0]}), "kind").round(1)
               big  small
            0  0.0    1.0
            1  1.0    0.0
        """
        check_is_fitted(self, "model_")
        place = self._category(column)
        feature = self.columns_.features[place]
        every = np.arange(len(feature.categories), dtype=np.float64)
        values = codes.values(every, feature)
        frame, index = inputs.with_values(X, self.columns_, feature.of, values)
        found: list[torch.Tensor] = []
        for x, context in self._rows(frame).parts(ROWS_AT_ONCE):
            each: list[torch.Tensor] = []
            for code in every:
                x[:, place] = code
                each.append(log_density_of(self.model_, self.imputer_, x, context))
            found.append(torch.stack(each, -1))
        log_p = torch.cat(found)
        impossible = log_p.isneginf().all(-1)
        if impossible.any():
            raise ValueError(
                f"the density is zero in row {int(impossible.nonzero()[0])} for every value of "
                f"{feature.of!r}: a value there is outside the bounds of its column"
            )
        table = pd.DataFrame(log_p.softmax(-1).numpy(), index=index, columns=values)
        if self.container_.kind not in LABELLED:
            table.columns = table.columns.map(str)
        return Container(self.container_.kind).give(table)

    def _category(self, key: Any) -> int:
        """Return the place of a categorical column among the features."""
        name = column_label("column", key, self.columns_.names)
        if name in self.columns_.given:
            raise ValueError(f"the density is conditional on {name!r}, and does not give it")
        places = [i for i, each in enumerate(self.columns_.features) if _is(each, name)]
        if len(places) != 1:
            raise ValueError(
                f"column must be categorical, got {name!r}; declare it categorical in kinds when "
                "the density is trained"
            )
        return places[0]


def _is(column: Column, name: Any) -> bool:
    """Whether a feature is the whole of a categorical column."""
    return column.name == name and column.is_categorical and column.gap_of is None
