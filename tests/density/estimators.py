"""Small estimators, and a table with columns of all kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from invflow.density import FlowDensity

SMALL: Any = {
    "flow": "maf",
    "transforms": 1,
    "hidden_features": (8,),
    "ensemble": 1,
    "random_state": 0,
}
COUNT = 200


def small(**options: Any) -> FlowDensity:
    return FlowDensity(**{**SMALL, "steps": 5, **options})


def mixed() -> pd.DataFrame:
    source = np.random.default_rng(0)
    x = source.normal(1e6, 2, COUNT)
    return pd.DataFrame(
        {
            "group": source.choice(["u", "v"], COUNT),
            "x": x,
            "rate": source.beta(2, 3, COUNT).astype(np.float32),
            "n": source.poisson(3, COUNT).astype(np.int16),
            "flag": source.random(COUNT) < 0.3,
            "seen": pd.array(source.poisson(1, COUNT), dtype="Int64"),
        }
    )
