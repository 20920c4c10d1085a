"""The page of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from invflow.report import vae as report
from invflow.report.vae import posteriors
from tests.report import runs

SECTIONS = [
    "Results",
    "Training",
    "Posteriors",
    "Reconstructions",
    "Interpolations",
    "Latent traversals",
    "Samples",
    "Settings",
]


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posteriors, "DRAWS", {})
    monkeypatch.setattr(posteriors, "DRAWS_OF_SLOW_NETWORKS", 300)


def _sections(text: str) -> list[str]:
    """Return the titles of the sections, after the verdict."""
    verdict, *titles = [part.split("</h2>")[0] for part in text.split("<h2>")[1:]]
    assert 'class="level"' in verdict
    return titles


@pytest.mark.parametrize(("latents", "images"), [(1, 6), (3, 1)])
def test_page_holds_everything(tmp_path: Path, latents: int, images: int) -> None:
    run = runs.run(tmp_path / "run", latents=latents, test=runs.GREY[:images])
    runs.write(run)
    report.write(run)
    text = (run.directory / "report.html").read_text()
    assert _sections(text) == SECTIONS
    assert text.count("data:image/png;base64,") == 6
    assert "-88.00 ± 0.90" in text
    assert "iaf 3 of 20" in text
    assert "Bits" not in text
    assert "http" not in text


def test_page_of_layers_in_colour(tmp_path: Path) -> None:
    """Six models, and images of 256 levels in a file of a strange name."""
    names = tuple(f"{way}{kind}" for way in ("", "bottom-up-") for kind in ("diagonal", "iaf"))
    run = runs.run(
        tmp_path,
        channels=3,
        levels=256,
        network="resnet-vae",
        posteriors=(*names, "linear-iaf", "iaf-location"),
        free_bits=0.1,
        data="<script>.npz",
        test=runs.COLOUR[:2],
    )
    report.write(run)
    text = (tmp_path / "report.html").read_text()
    assert _sections(text) == [*SECTIONS[:2], "Information by layer", *SECTIONS[2:]]
    assert text.count("data:image/png;base64,") == 7
    assert "<th>bits/dim</th>" in text
    assert "0.1 nats that are free in each map" in text
    assert "<script>" not in text
    assert "VAE on &lt;script&gt;.npz" in text
