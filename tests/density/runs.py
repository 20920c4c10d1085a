"""Small tables, and settings that train on them in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from invflow.density.config import Config

QUICK = {"flow": "gaussian", "steps": 60, "batch_size": 64, "learning_rate": 0.02}


def mixed(rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """Columns of all kinds: a category that shifts a number, a count, a share, a boolean."""
    source = np.random.default_rng(seed)
    colour = source.choice(["red", "green"], rows)
    return pd.DataFrame(
        {
            "size": source.normal(size=rows) + 3.0 * (colour == "red"),
            "colour": colour,
            "count": source.poisson(3, rows),
            "share": source.beta(2, 3, rows),
            "new": source.random(rows) < 0.4,
        }
    )


def config(path: Path, **settings: object) -> Config:
    return Config.model_validate({"data": str(path), **QUICK, **settings})


def written(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path
