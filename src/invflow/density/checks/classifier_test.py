r"""The classifier test of two samples (Lopez-Paz and Oquab 2017, arXiv 1610.06545).

A classifier learns to tell the samples apart; if it does so on rows that it has not seen, they
differ. In ordinary cross-validation every row is learnt from and predicted, so the folds' scores
depend on each other, and look surer than they are. Here each fold is predicted by a classifier of
the folds before it: then, if the samples do not differ, the folds' scores are independent, and
their variance is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from invflow import _checks
from invflow.density.checks._extra import required
from invflow.density.table.columns import column_names
from invflow.density.table.labels import Label
from invflow.density.table.samples import Floats, samples

#: Rows of each sample in a fold from which the AUC's tail is near enough to a normal one.
_ROWS = 4


@dataclass(frozen=True)
class ClassifierTest:
    """What a classifier test has found. `str()` says it in words.

    Args:
        statistic: AUC, the mean over folds: the probability that the classifier ranks a row of y
            above one of x. 1/2 if it cannot tell them apart, 1 if it always can.
        standard_error: of it, if the samples have the same distribution.
        p_value: of the same distribution.
        columns: by how much the AUC falls if the column's values are shuffled: what the
            classifier has used. Columns that carry the same information share it.
        rows: how many rows x and y have.
        level: the probability of calling samples of the same distribution different.
    """

    statistic: float
    standard_error: float
    p_value: float
    columns: dict[Label, float]
    rows: tuple[int, int]
    level: float = 0.01

    def __str__(self) -> str:
        numbers = (
            f"(classifier test, AUC {self.statistic:.3f}, 0.5 ± {self.standard_error:.3f} if they "
            f"did not differ, p {self.p_value:.2g}, {self.rows[0]} and {self.rows[1]} rows)"
        )
        if self.p_value > self.level:
            return f"no difference found {numbers}"
        used = sorted(self.columns.items(), key=lambda item: -item[1])[:5]
        named = ", ".join(f"{name} ({fall:.3f})" for name, fall in used if fall > 0)
        return f"the samples differ {numbers}; fall of the AUC without a column: {named or 'none'}"


def classifier_test(
    x: Any,
    y: Any,
    *,
    names: Sequence[Label] | None = None,
    classifier: Any = None,
    folds: int = 5,
    seed: int = 0,
) -> ClassifierTest:
    r"""Return whether two samples have the same distribution, by whether a classifier tells.

    The AUC of a fold has, if they have, mean 1/2 and the variance of Mann and Whitney's statistic,
    $(n + m + 1) / (12 n m)$ without ties; the test of the folds' mean is one-sided and normal.

    Args:
        x: held-out rows, (n, columns), independent of each other. NaN is a value like others, if
            the classifier takes it: so samples that differ in what is missing differ.
        y: rows of the model, (m, columns), or of anywhere else.
        names: of the columns; x0, x1, ... by default.
        classifier: a scikit-learn classifier with `predict_proba`, which is cloned; by default
            `HistGradientBoostingClassifier` with small trees.
        folds: how many; the first is only learnt from.
        seed: of the folds, the default classifier, and the shuffles.

    Raises:
        TypeError: x or y holds something else than numbers, or another argument is of a wrong type.
        ValueError: x or y has infinite values, other columns, or fewer than four rows for each
            fold.
        ImportError: scikit-learn is not installed.

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
        if len(table) < _ROWS * folds:
            raise ValueError(
                f"{name} must have {_ROWS} rows or more for each of {folds} folds, got {len(table)}"
            )
    clone = required("sklearn.base").clone
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
    # A classifier that gives all rows the same score has no error, and has found nothing.
    p_value = float(required("scipy.stats").norm.sf((statistic - 0.5) / error)) if error else 1.0
    falls = np.mean([score.falls for score in found], axis=0)
    return ClassifierTest(
        statistic=statistic,
        standard_error=error,
        p_value=p_value,
        columns=dict(zip(labels, falls.tolist(), strict=True)),
        rows=(len(first), len(second)),
    )


class _Score(NamedTuple):
    """What a classifier reaches on a fold, and how much of it without each column."""

    auc: float
    variance: float
    falls: list[float]


def _boosting(seed: int) -> Any:
    boosting = required("sklearn.ensemble").HistGradientBoostingClassifier
    # Smaller trees and steps than scikit-learn's: samples that are hard to tell apart are noisy.
    return boosting(max_leaf_nodes=8, learning_rate=0.05, early_stopping=False, random_state=seed)


def _folds(rows: int, folds: int, source: np.random.Generator) -> NDArray[np.int64]:
    """Return the fold of each row: at random, equally many in each but for one."""
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
    """Return the AUC, and its variance over permutations of the labels; ties count a half."""
    ranks = required("scipy.stats").rankdata(score)
    m = int(is_y.sum())
    n = len(is_y) - m
    auc = (ranks[is_y == 1].sum() - m * (m + 1) / 2) / (n * m)
    return float(auc), float(ranks.var(ddof=1) / (len(ranks) * n * m))
