"""Synthetic rows: how well a classifier, a model trained on them and their neighbours tell them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors

from tabular.data import Encoder, Floats, load, split, target

MEASURES = ("c2st", "prediction", "distance")
Draw = Callable[[pd.DataFrame, int, int], pd.DataFrame]
#: Both of the classifier that tells rows apart and of the models that predict.
FOREST: dict[str, Any] = {"n_estimators": 300, "min_samples_leaf": 3, "random_state": 0}


def training_rows(train: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return training rows themselves: what cannot be surpassed, but copies."""
    # Each once before any occurs twice: a classifier would see the copies.
    order = np.random.default_rng(seed).permutation(len(train))
    return train.iloc[np.resize(order, count)]


def invflow(train: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Draw from a flow."""
    from invflow.density import FlowDensity

    return FlowDensity(random_state=seed).fit(train).sample(count, random_state=seed)


def _of_sdv(name: str) -> Draw:
    def draw(train: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
        import torch
        from sdv import single_table
        from sdv.metadata import Metadata

        np.random.seed(seed)  # noqa: NPY002 (what SDV draws from)
        torch.manual_seed(seed)
        tables = {"rows": train}
        metadata = Metadata.detect_from_dataframes(tables, infer_keys=None)
        model = getattr(single_table, name)(metadata)
        model.fit(tables)
        return model.sample(count)["rows"]

    return draw


TOOLS: dict[str, Draw] = {
    "training rows": training_rows,
    "invflow": invflow,
    "gaussian copula": _of_sdv("GaussianCopulaSynthesizer"),
    "ctgan": _of_sdv("CTGANSynthesizer"),
    "tvae": _of_sdv("TVAESynthesizer"),
}


def measure(name: str, tool: str, seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Return how good the synthetic rows of a tool are."""
    train, test = split(load(name, folder), seed)
    begin = time.process_time()
    drawn = TOOLS[tool](train, len(train) + len(test), seed)[list(train.columns)]
    seconds = time.process_time() - begin
    found = judge(train, test, drawn, target(name, train))
    return {tool: {**found, "seconds": seconds}}


def judge(
    train: pd.DataFrame, test: pd.DataFrame, drawn: pd.DataFrame, column: str
) -> dict[str, float]:
    """Return the measures of drawn rows, as many as `train` and `test` have together.

    Returns:
        c2st: area under the curve of a classifier of real test rows and synthetic rows, as many.
        prediction: of a model trained on synthetic rows, on real test rows, of the target: area
            under the curve of a category, R2 of a number.
        distance: median distance of a synthetic row to the nearest training row, divided by that of
            a test row.
    """
    encoder = Encoder(train)
    apart, learned = drawn[: len(test)], drawn[len(test) :]
    return {
        "c2st": c2st(encoder.encode(test), encoder.encode(apart)),
        "prediction": prediction(learned, test, column),
        "distance": distance(*(encoder.encode(each) for each in (train, test, apart))),
    }


def c2st(real: Floats, drawn: Floats) -> float:
    """Return the area under the curve of a random forest, over five folds."""
    rows = np.concatenate([real, drawn])
    label = np.repeat([0, 1], [len(real), len(drawn)])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    forest = RandomForestClassifier(**FOREST)
    p = cross_val_predict(forest, rows, label, cv=folds, method="predict_proba")
    return float(roc_auc_score(label, p[:, 1]))


def prediction(train: pd.DataFrame, test: pd.DataFrame, column: str) -> float:
    """Return the area under the curve, or R2, of a random forest that has learned on `train`."""
    encoder = Encoder(test.drop(columns=column))
    rows, held_out = encoder.encode(train), encoder.encode(test)
    labels = sorted(test[column].unique())
    if len(labels) > 10:
        forest = RandomForestRegressor(**FOREST).fit(rows, train[column])
        return float(r2_score(test[column], forest.predict(held_out)))
    forest = RandomForestClassifier(**FOREST).fit(rows, train[column])
    p = np.zeros((len(test), len(labels)))
    for i, label in enumerate(forest.classes_):
        if label in labels:
            p[:, labels.index(label)] = forest.predict_proba(held_out)[:, i]
    areas = [roc_auc_score(test[column] == label, p[:, i]) for i, label in enumerate(labels)]
    return float(np.mean(areas))


def distance(train: Floats, test: Floats, drawn: Floats) -> float:
    """Return the median distance to the nearest training row, relative to that of test rows."""
    near = NearestNeighbors(n_neighbors=1).fit(train)
    ours, theirs = (np.median(near.kneighbors(rows)[0]) for rows in (drawn, test))
    return float(ours / theirs)
