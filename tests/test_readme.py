"""Each example of the README runs alone, as a reader would copy it, and shows what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.documented import PAGES, ROOT, blocks
from tests.pages import anchors, links

EXAMPLES = blocks(PAGES[0])
#: Where links of the README lead, and what is there.
SITE = "https://invflow.github.io/invflow/"
HOME = {
    SITE: ROOT / "docs",
    "https://raw.githubusercontent.com/invflow/invflow/main/": ROOT,
    "https://github.com/invflow/invflow/blob/main/": ROOT,
    "https://github.com/invflow/invflow/tree/main/": ROOT,
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def example(text: str) -> dict[str, Any]:
    (block,) = [block for block in EXAMPLES if text in block.text]
    return block.run()


def test_variational_inference() -> None:
    names = example("vi.fit(log_density, dim=2, seed=0)")
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
    densities = names["scores"] - names["density"].log_cell_  # per unit
    assert densities.mean() > alone + 1
    assert len(names["strangest"]) == len(wines.columns)


def test_simulator() -> None:
    names = example("simulation.fit")
    assert list(names["posterior"].summary().index) == ["rate", "reported"]
    draws = names["posterior"].draws(1000)
    means = (draws["rate"] * draws["reported"]).mean()  # of the data, whose mean is 9.9
    assert 5 < float(means) < 20


def test_every_example_is_tested() -> None:
    assert len(EXAMPLES) == 4


def test_links_work_where_there_is_no_checkout() -> None:
    """PyPI shows the README without the files around it."""
    found = links(PAGES[0])
    assert len(found) > 10
    for link in found:
        address, _, anchor = link.partition("#")
        (home,) = [place for place in HOME if address.startswith(place)]
        target = HOME[home] / address.removeprefix(home)
        if home == SITE:
            target = target.with_suffix(".md") if target != HOME[SITE] else target / "index.md"
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
