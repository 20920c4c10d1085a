"""The page of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from invflow.report import vae as report
from invflow.report.vae import posteriors
from invflow.report.vae.verdict import verdict
from tests.report import runs
from tests.report.pages import headings

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


@pytest.mark.parametrize(("latents", "images"), [(1, 6), (3, 1)])
def test_page_holds_everything(tmp_path: Path, latents: int, images: int) -> None:
    run = runs.run(tmp_path / "run", latents=latents, test=runs.GREY[:images])
    runs.write(run)
    report.write(run)
    text = (run.directory / "report.html").read_text()
    assert headings(text) == SECTIONS
    found = verdict(run)
    assert f'<section class="verdict {found.level}"' in text
    assert found.headline in text
    assert text.count("<svg") == 2 + 3 * min(images, 3) + 3 + 2 + 2 + 2
    assert "-88.00 ± 0.90" in text
    assert "iaf 3 of 20" in text
    assert "Bits" not in text


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
    assert headings(text) == [*SECTIONS[:2], "Information by layer", *SECTIONS[2:]]
    assert text.count("<svg") == 2 + 6 + 7 * 2 + 7 + 6 + 6 + 6
    assert '<th scope="col">bits/dim</th>' in text
    assert "0.1 nats that are free in each map" in text
    assert "<script>.npz" not in text
    assert "VAE on &lt;script&gt;.npz" in text
