"""Each example of the README runs alone, as a reader would copy it, and shows what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.documented import PAGES, blocks

EXAMPLES = blocks(PAGES[0])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def example(text: str) -> dict[str, Any]:
    (block,) = [block for block in EXAMPLES if text in block.text]
    return block.run()


def test_variational_inference() -> None:
    names = example("vi.fit(log_density, dim=2)")
    assert names["draws"].shape == (1000, 2)
    assert abs(float(names["draws"][:, 1].mean()) - 1.0) < 0.25  # of a banana


def test_vae() -> None:
    assert example("vae.elbo")["pictures"].shape == (10, 64)


def test_density_estimation() -> None:
    names = example("FlowDensity")
    wines, others = names["wines"], names["others"]
    assert list(others.columns) == list(wines.columns)
    assert (others["target"] == 2).all()
    # Gaussians of each column, of all wines together, know less.
    features = wines.drop(columns="target")
    alone = -np.log(features.std() * np.sqrt(2 * np.pi * np.e)).sum()
    assert names["densities"].mean() > alone + 1


def test_every_example_is_tested() -> None:
    assert len(EXAMPLES) == 3
