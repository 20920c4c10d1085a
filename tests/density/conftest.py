"""Estimators that have learned little, and what they have learned from; not to be changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from invflow.density import FlowDensity
from tests.density.estimators import COUNT, mixed, small


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return mixed()


@pytest.fixture(scope="session")
def holes(frame: pd.DataFrame) -> pd.DataFrame:
    holes = frame.copy()
    source = np.random.default_rng(1)
    for name in ("x", "rate", "seen"):
        holes.loc[source.random(COUNT) < 0.3, name] = None
    return holes


@pytest.fixture(scope="session")
def fitted(frame: pd.DataFrame) -> FlowDensity:
    return small(kinds={"rate": (0, 1)}, conditional_on=["group"]).fit(frame)


@pytest.fixture(scope="session")
def filling(holes: pd.DataFrame) -> FlowDensity:
    return small(kinds={2: (0, 1)}, conditional_on=["group"], missing="marginalise", steps=60).fit(
        holes
    )


@pytest.fixture(scope="session")
def rows() -> Any:
    return np.random.default_rng(0).normal([1e6, -3], [2, 0.1], (COUNT, 2))


@pytest.fixture(scope="session")
def plain(rows: Any) -> FlowDensity:
    return small().fit(rows)
