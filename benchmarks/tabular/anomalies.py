"""Anomalies: whether they get higher scores than other rows.

Nobody says which training rows are anomalies: a twentieth of them are. Scores are those of other
rows. In breast_cancer malignant tumours are the anomalies, in wine the qualities 3, 4 and 8. In
digits the images of one digit are normal, 0, 1 or 2 as the seed is, and all others are anomalies.
The anomalies of penguins, telco and titanic are made: a random half of the values of each row are
those of another row, all from the same one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.covariance import EmpiricalCovariance
from sklearn.metrics import roc_auc_score

from tabular.data import MIXED, Encoder, Floats, load, split

MEASURES = ("auc",)
TABLES = (*MIXED, "breast_cancer", "digits", "wine")
#: The fraction of training rows that are anomalies.
ANOMALIES = 0.05
Scores = Callable[[pd.DataFrame, pd.DataFrame, int], dict[str, Floats]]


def invflow(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> dict[str, Floats]:
    """Score by the log density."""
    from invflow.density import FlowDensity

    density = FlowDensity(random_state=seed).fit(train)
    return {"invflow": -density.score_samples(test)}


def gaussian(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> dict[str, Floats]:
    """Score by the distance from the mean, in terms of the covariance."""
    encoder = Encoder(train)
    model = EmpiricalCovariance().fit(encoder.encode(train))
    return {"gaussian": model.mahalanobis(encoder.encode(test))}


def _of_pyod(tool: str, module: str, name: str) -> Scores:
    def scores(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> dict[str, Floats]:
        from importlib import import_module

        options: dict[str, Any] = {"random_state": seed} if name == "IForest" else {}
        encoder = Encoder(train)
        detector = getattr(import_module(f"pyod.models.{module}"), name)(**options)
        detector.fit(encoder.encode(train))
        return {tool: detector.decision_function(encoder.encode(test))}

    return scores


TOOLS: dict[str, Scores] = {
    "invflow": invflow,
    "gaussian": gaussian,
    "isolation forest": _of_pyod("isolation forest", "iforest", "IForest"),
    "lof": _of_pyod("lof", "lof", "LOF"),
    "knn": _of_pyod("knn", "knn", "KNN"),
    "ecod": _of_pyod("ecod", "ecod", "ECOD"),
}


def measure(name: str, tool: str, seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Return the area under the curve of the scores of a tool."""
    train, normal, odd = parts(name, seed, folder)
    begin = time.process_time()
    found = TOOLS[tool](train, pd.concat([normal, odd], ignore_index=True), seed)
    seconds = time.process_time() - begin
    label = np.repeat([0, 1], [len(normal), len(odd)])
    areas = {key: roc_auc_score(label, np.nan_to_num(each)) for key, each in found.items()}
    return {key: {"auc": float(area), "seconds": seconds} for key, area in areas.items()}


def parts(name: str, seed: int, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return training rows with anomalies among them, and normal rows and anomalies to score."""
    random = np.random.default_rng(seed)
    if name in MIXED:
        train, normal = split(load(name, folder), seed)
        few = random.random(len(train)) < ANOMALIES
        train = pd.concat([train[~few], spoiled(train, random)[few]], ignore_index=True)
        odd = spoiled(normal, random)
    else:
        normal, odd = labelled(name, folder, seed)
        train, normal = split(normal, seed)
        odd = odd.sample(frac=1.0, random_state=seed)
        few = round(len(train) * ANOMALIES / (1 - ANOMALIES))
        train, odd = pd.concat([train, odd[:few]], ignore_index=True), odd[few:]
    varied = list(train.columns[train.nunique() > 1])
    return train[varied], normal[varied], odd[varied]


def labelled(name: str, folder: Path, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return normal rows and anomalies of a table that says which are."""
    if name == "wine":
        frame = pd.read_csv(folder / "wild" / "wine-semicolon.csv", sep=";")
        odd = frame.pop("quality").isin([3, 4, 8])
    elif name == "digits":
        frame, digit = datasets.load_digits(return_X_y=True, as_frame=True)
        odd = digit != seed % 10
    else:
        frame, benign = datasets.load_breast_cancer(return_X_y=True, as_frame=True)
        odd = benign == 0
    return frame[~odd], frame[odd]


def spoiled(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Return rows that have half of their values, at random, from another row."""
    order = random.permutation(len(frame))
    # Each row takes from the next one of a random cycle, so never from itself.
    donor = np.empty(len(frame), dtype=int)
    donor[order] = np.roll(order, -1)
    taken = random.random(frame.shape).argsort(1) < frame.shape[1] / 2
    return frame.mask(taken, frame.iloc[donor].set_axis(frame.index))
