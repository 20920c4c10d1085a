"""The examples of the README run, one after the other, as a reader would type them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert names["draws"].shape == (1000, 2)
    # A banana, wines: what was learned looks like what was asked for.
    assert abs(float(names["draws"][:, 1].mean()) - 1.0) < 0.25
    assert names["pictures"].shape == (10, 64)
    wines, others = names["wines"], names["others"]
    assert list(others.columns) == list(wines.columns)
    assert (others["target"] == 2).all()
    # Gaussians of each column, of all wines together, know less.
    features = wines.drop(columns="target")
    alone = -np.log(features.std() * np.sqrt(2 * np.pi * np.e)).sum()
    assert names["scores"].mean() > alone + 1
