"""Missing values filled: how far from the truth."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer

from tabular.data import Encoder, load, split

MEASURES = ("rmse", "mae", "errors")
#: The fraction of values that are missing.
MISSING = 0.2
#: Passes of MissForest over the columns, at most.
PASSES = 10
Fill = Callable[[pd.DataFrame, int], dict[str, pd.DataFrame]]


def invflow(frame: pd.DataFrame, seed: int) -> dict[str, pd.DataFrame]:
    """Fill by the expectation of a flow, or the most probable category; and by one draw."""
    from invflow.density import FlowDensity

    density = FlowDensity(missing="marginalise", random_state=seed).fit(frame)
    return {
        "invflow": density.expected(frame, random_state=seed),
        "invflow, one draw": density.impute(frame, random_state=seed),
    }


def miss_forest(frame: pd.DataFrame, seed: int) -> dict[str, pd.DataFrame]:
    """Fill by forests that predict one column from the others, until the changes grow."""
    gaps = frame.isna()
    columns = gaps.sum().sort_values(kind="stable").index
    filled = _most_usual(frame)
    least = np.inf
    for _ in range(PASSES):
        after = filled.copy()
        for column in columns[gaps[columns].any()]:
            gap = gaps[column].to_numpy()
            others = after.drop(columns=column)
            rows = Encoder(others).encode(others)
            number = pd.api.types.is_numeric_dtype(frame[column])
            kind = RandomForestRegressor if number else RandomForestClassifier
            forest = kind(100, random_state=seed, max_features=1.0 if number else "sqrt")
            after.loc[gap, column] = forest.fit(rows[~gap], after[column][~gap]).predict(rows[gap])
        encoder = Encoder(filled)
        change = float(((encoder.encode(after) - encoder.encode(filled)) ** 2).sum())
        if change >= least:
            break
        least, filled = change, after
    return {"miss forest": filled}


def _most_usual(frame: pd.DataFrame) -> pd.DataFrame:
    encoder = Encoder(frame)
    rows = encoder.encode(frame)
    return frame.fillna(encoder.decode(np.where(np.isnan(rows), np.nanmean(rows, 0), rows)))


def mean_or_mode(frame: pd.DataFrame, seed: int) -> dict[str, pd.DataFrame]:
    """Fill by the mean, or the most frequent category."""
    return {"mean or mode": _most_usual(frame)}


def knn(frame: pd.DataFrame, seed: int) -> dict[str, pd.DataFrame]:
    """Fill by the mean, or the most frequent category, of the nearest rows."""
    encoder = Encoder(frame)
    return {"knn": encoder.decode(KNNImputer().fit_transform(encoder.encode(frame)))}


def iterative(frame: pd.DataFrame, seed: int) -> dict[str, pd.DataFrame]:
    """Fill by linear models that predict one column from the others, in turns."""
    encoder = Encoder(frame)
    rows = encoder.encode(frame)
    # All but the first of the zeros and ones of a category: together they would predict each other
    # exactly, and a missing one would stay at its mean.
    first = [place.start for place in encoder.places]
    kept = np.setdiff1d(np.arange(rows.shape[1]), first)
    rows[:, kept] = IterativeImputer(random_state=seed).fit_transform(rows[:, kept])
    for place in encoder.places:
        rows[:, place.start] = 1 - rows[:, place][:, 1:].sum(1)
    return {"iterative": encoder.decode(rows)}


TOOLS: dict[str, Fill] = {
    "invflow": invflow,
    "iterative": iterative,
    "knn": knn,
    "miss forest": miss_forest,
    "mean or mode": mean_or_mode,
}


def gaps(frame: pd.DataFrame, at_random: bool, seed: int) -> NDArray[np.bool_]:
    """Return whether values are missing, shape (rows, columns).

    Not at random, the chance grows linearly with the value's rank in its column, from zero to twice
    the mean; categories are ranked by their names. The first value of a row stays if no other does.
    """
    uniform = np.random.default_rng(seed).random(frame.shape)
    chance = MISSING if at_random else 2 * MISSING * frame.rank(pct=True).to_numpy()
    missing = uniform < chance
    missing[missing.all(1), 0] = False
    return missing


def measure_at_random(name: str, tool: str, seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Return the errors of values that are missing completely at random."""
    return _measure(name, tool, seed, folder, at_random=True)


def measure_not_at_random(
    name: str, tool: str, seed: int, folder: Path
) -> dict[str, dict[str, float]]:
    """Return the errors of values of which large ones are missing more often."""
    return _measure(name, tool, seed, folder, at_random=False)


def _measure(
    name: str, tool: str, seed: int, folder: Path, at_random: bool
) -> dict[str, dict[str, float]]:
    whole, _ = split(load(name, folder), seed)
    missing = gaps(whole, at_random, seed)
    begin = time.process_time()
    filled = TOOLS[tool](whole.mask(missing), seed)
    seconds = time.process_time() - begin
    return {
        key: {**judge(whole, each, missing), "seconds": seconds} for key, each in filled.items()
    }


def judge(
    whole: pd.DataFrame, filled: pd.DataFrame, missing: NDArray[np.bool_]
) -> dict[str, float]:
    """Return the errors of filled values.

    Returns:
        rmse: root mean square error of numbers, in standard deviations of their columns.
        mae: mean absolute error of numbers, in the same.
        errors: the fraction of categories that are wrong; NaN without categories.
    """
    encoder = Encoder(whole)
    count = len(encoder.numbers)
    numbers = missing[:, [whole.columns.get_loc(c) for c in encoder.numbers]]
    gap = (encoder.encode(filled) - encoder.encode(whole))[:, :count][numbers]
    wrong = (filled != whole).to_numpy()[missing & whole.columns.isin(list(encoder.levels))]
    return {
        "rmse": float(np.sqrt((gap**2).mean())),
        "mae": float(np.abs(gap).mean()),
        "errors": float(wrong.mean()) if len(wrong) else float("nan"),
    }
