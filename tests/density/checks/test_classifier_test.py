from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from invflow.density.checks.classifier_test import classifier_test

NAN, INF = math.nan, math.inf
FAST = HistGradientBoostingClassifier(max_iter=15, early_stopping=False)


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


class FirstColumn:
    """A classifier that has nothing to learn: its score is the first column."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}

    def fit(self, rows: Any, labels: Any) -> FirstColumn:
        return self

    def predict_proba(self, rows: Any) -> Any:
        return np.stack([-rows[:, 0], rows[:, 0]], axis=1)


def test_the_statistic_is_the_auc_with_mann_and_whitneys_error() -> None:
    """Two folds: one learnt from, one predicted. Ties count a half, and narrow the variance."""
    x, y = np.repeat([[0.0], [1.0]], [9, 11], axis=0), np.repeat([[0.0], [1.0]], [6, 10], axis=0)
    x[:4] = [[0.2], [0.3], [0.4], [0.5]]
    found = classifier_test(x, y, classifier=FirstColumn(), folds=2, seed=5)
    source = np.random.default_rng(5)
    seen_x, seen_y = (rows[source.permutation(np.arange(len(rows)) % 2) == 1] for rows in (x, y))
    labels = np.repeat([0, 1], [len(seen_x), len(seen_y)])
    expected = roc_auc_score(labels, np.concatenate([seen_x, seen_y])[:, 0])
    assert found.statistic == pytest.approx(expected, abs=1e-12)
    test = stats.mannwhitneyu(
        seen_y[:, 0], seen_x[:, 0], alternative="greater", use_continuity=False, method="asymptotic"
    )
    assert found.p_value == pytest.approx(test.pvalue, rel=1e-9)


@pytest.mark.parametrize(
    ("classifier", "runs"),
    [(KNeighborsClassifier(3), 300), (FAST, 100)],
    ids=["neighbours", "boosting"],
)
def test_type_one_error(classifier: Any, runs: int) -> None:
    """Where every fold is predicted from all others, these reject 10% and more at 5%."""
    p = np.array(
        [
            classifier_test(*normal(2, 60, 2, seed=i), classifier=classifier, folds=3).p_value
            for i in range(runs)
        ]
    )
    for level in (0.05, 0.2):
        tolerance = 3 * math.sqrt(level * (1 - level) / runs)
        assert np.mean(p <= level) == pytest.approx(level, abs=tolerance)


def _shift(x: Any) -> Any:
    x[:, 1] += 0.6
    return x


def _scale(x: Any) -> Any:
    x[:, 1] *= 1.7
    return x


def _missing(x: Any) -> Any:
    x[::4, 1] = NAN
    return x


@pytest.mark.parametrize("change", [_shift, _scale, _missing])
def test_a_changed_column_is_found_and_named(change: Any) -> None:
    x, y = normal(2, 600, 3)
    found = classifier_test(x, change(y), names=["a", "b", "c"])
    assert found.p_value < 1e-3
    assert max(found.columns, key=lambda name: found.columns[name]) == "b"
    assert "AUC lost without a column: b (" in str(found)


def test_a_changed_dependence_is_found() -> None:
    x, y = normal(2, 600, 3)
    y[:, 1] = 0.8 * y[:, 0] + 0.6 * y[:, 1]
    found = classifier_test(x, y)
    assert found.p_value < 1e-3
    assert found.columns["x2"] < min(found.columns["x0"], found.columns["x1"])


def test_a_classifier_that_learns_nothing_finds_nothing() -> None:
    found = classifier_test(np.ones((40, 2)), np.ones((40, 2)))
    assert (found.statistic, found.standard_error, found.p_value) == (0.5, 0.0, 1.0)
    assert str(found).startswith("no difference found (classifier test, AUC 0.500")


def test_the_same_seed_gives_the_same_result() -> None:
    x, y = normal(2, 80, 2)
    assert classifier_test(x, y, seed=2) == classifier_test(x, y, seed=2)
    assert classifier_test(x, y, seed=2) != classifier_test(x, y, seed=3)


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"x": normal(40)}, ValueError, r"x must have shape \(rows, columns\)"),
    ({"y": normal(40, 3)}, ValueError, "y must have as many columns as x"),
    ({"x": np.full((40, 2), INF)}, ValueError, "x must contain finite numbers, got 80 infinite"),
    ({"y": normal(19, 2)}, ValueError, "y must have at least 4 rows for each of 5 folds, got 19"),
    ({"folds": 1}, ValueError, "folds must be at least 2"),
    ({"seed": 0.5}, TypeError, "seed must be an integer"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_input_is_named(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"x": normal(40, 2), "y": normal(40, 2), **change}
    with pytest.raises(error, match=message):
        classifier_test(arguments.pop("x"), arguments.pop("y"), **arguments)


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(ImportError, match=r"needs sklearn: pip install \"invflow\[density\]\""):
        classifier_test(normal(40, 2), normal(40, 2))
