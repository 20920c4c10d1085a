r"""The classifier test of two samples (Lopez-Paz and Oquab 2017, arXiv 1610.06545).

A classifier learns to tell the samples apart; if it can do so on rows that it has not seen, the
samples differ. In ordinary cross-validation every row is both trained on and predicted, so that the
scores of the folds are dependent and the test is overconfident. Here each fold is predicted by a
classifier trained on the folds before it: if the samples do not differ, the scores of the folds are
independent, with known variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from invflow import _checks
from invflow._extra import required
from invflow.density.table.labels import Label, column_names
from invflow.density.table.samples import Floats, samples

#: The fewest rows of each sample in a fold for which the AUC is about normally distributed.
ROWS_PER_FOLD = 4


@dataclass(frozen=True)
class ClassifierTest:
    """The result of a classifier test. `str()` gives it as text.

    Args:
        statistic: mean AUC over folds: the probability that the classifier ranks a row of y above
            a row of x. 1/2 if it cannot tell them apart, 1 if it always can.
        standard_error: of the statistic, if the samples have the same distribution.
        p_value: of the same distribution.
        columns: by how much the AUC falls when the values of a column are shuffled: what the
            classifier used. Columns with the same information share it.
        rows: number of rows of x and y.
        level: the probability of rejecting samples with the same distribution.
    """

    statistic: float
    standard_error: float
    p_value: float
    columns: dict[Label, float]
    rows: tuple[int, int]
    level: float = 0.01

    def __str__(self) -> str:
        numbers = (
            f"(classifier test, AUC {self.statistic:.3f}, 0.5 ± {self.standard_error:.3f} "
            f"expected without a difference, p {self.p_value:.2g}, {self.rows[0]} and "
            f"{self.rows[1]} rows)"
        )
        if self.p_value > self.level:
            return f"no difference found {numbers}"
        used = sorted(self.columns.items(), key=lambda item: -item[1])[:5]
        named = ", ".join(f"{name} ({fall:.3f})" for name, fall in used if fall > 0)
        return f"the samples differ {numbers}; AUC lost without a column: {named or 'none'}"


def classifier_test(
    x: Any,
    y: Any,
    *,
    names: Sequence[Label] | None = None,
    classifier: Any = None,
    folds: int = 5,
    seed: int = 0,
) -> ClassifierTest:
    r"""Test whether two samples have the same distribution, with a classifier.

    If they have, the AUC of a fold has mean 1/2 and the variance of the Mann-Whitney statistic,
    $(n + m + 1) / (12 n m)$ without ties. The test of the mean over folds is one-sided and normal.

    Args:
        x: independent held-out rows, shape (n, columns). NaN is a value like any other if the
            classifier accepts it, so samples with different missing values differ.
        y: draws of the model, or other rows, shape (m, columns).
        names: of the columns; x0, x1, ... by default.
        classifier: a scikit-learn classifier with `predict_proba`, which is cloned; by default
            `HistGradientBoostingClassifier` with small trees.
        folds: number of folds; the first is only trained on.
        seed: random seed of the folds, the default classifier and the shuffles.

    Raises:
        TypeError: if `x` or `y` has values that are not numbers, or another argument has the wrong
            type.
        ValueError: if `x` or `y` has infinite values, different columns, or fewer than four rows
            per fold.
        ImportError: if scikit-learn is not installed.

    Example:
        >>> x, y = np.random.default_rng(0).standard_normal((2, 400, 2))
        >>> found = classifier_test(x, y + [0.0, 1.0])
        >>> found.p_value < 0.001, max(found.columns, key=found.columns.get)
        (True, 'x1')
    """
    first, second = samples(x, y, missing=True)
    labels = column_names(names, first.shape[1])
    folds = _checks.positive_integer("folds", folds, minimum=2)
    seed = _checks.positive_integer("seed", seed, minimum=0)
    for name, table in (("x", first), ("y", second)):
        if len(table) < ROWS_PER_FOLD * folds:
            raise ValueError(
                f"{name} must have at least {ROWS_PER_FOLD} rows for each of {folds} folds, "
                f"got {len(table)}"
            )
    clone = required("sklearn.base", "density").clone
    model = _boosting(seed) if classifier is None else classifier
    source = np.random.default_rng(seed)
    rows, is_y = np.concatenate([first, second]), np.repeat([0, 1], [len(first), len(second)])
    fold = np.concatenate([_folds(len(first), folds, source), _folds(len(second), folds, source)])
    found = [
        _score(
            clone(model).fit(rows[fold < k], is_y[fold < k]),
            rows[fold == k],
            is_y[fold == k],
            source,
        )
        for k in range(1, folds)
    ]
    statistic = float(np.mean([score.auc for score in found]))
    error = math.sqrt(sum(score.variance for score in found)) / len(found)
    # A classifier that gives all rows the same score has no error, and found no difference.
    norm = required("scipy.stats", "density").norm
    p_value = float(norm.sf((statistic - 0.5) / error)) if error else 1.0
    falls = np.mean([score.falls for score in found], axis=0)
    return ClassifierTest(
        statistic=statistic,
        standard_error=error,
        p_value=p_value,
        columns=dict(zip(labels, falls.tolist(), strict=True)),
        rows=(len(first), len(second)),
    )


class _Score(NamedTuple):
    """The AUC of a classifier on a fold, its variance, and the loss without each column."""

    auc: float
    variance: float
    falls: list[float]


def _boosting(seed: int) -> Any:
    boosting = required("sklearn.ensemble", "density").HistGradientBoostingClassifier
    # Smaller trees and steps than the defaults: samples that are hard to tell apart are noisy.
    return boosting(max_leaf_nodes=8, learning_rate=0.05, early_stopping=False, random_state=seed)


def _folds(rows: int, folds: int, source: np.random.Generator) -> NDArray[np.int64]:
    """Return the fold of each row: random, with fold sizes that differ by one at most."""
    return source.permutation(np.arange(rows) % folds)


def _score(
    classifier: Any, rows: Floats, is_y: NDArray[np.int64], source: np.random.Generator
) -> _Score:
    auc, variance = _auc(classifier.predict_proba(rows)[:, 1], is_y)
    falls: list[float] = []
    for column in range(rows.shape[1]):
        shuffled = rows.copy()
        shuffled[:, column] = source.permutation(shuffled[:, column])
        falls.append(auc - _auc(classifier.predict_proba(shuffled)[:, 1], is_y)[0])
    return _Score(auc, variance, falls)


def _auc(score: Floats, is_y: NDArray[np.int64]) -> tuple[float, float]:
    """Return the AUC, and its variance over permutations of the labels; ties count one half."""
    ranks = required("scipy.stats", "density").rankdata(score)
    m = int(is_y.sum())
    n = len(is_y) - m
    auc = (ranks[is_y == 1].sum() - m * (m + 1) / 2) / (n * m)
    return float(auc), float(ranks.var(ddof=1) / (len(ranks) * n * m))
