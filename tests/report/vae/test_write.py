"""The page of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from invflow.report import vae as report
from invflow.report.vae import images, posteriors
from invflow.report.vae.verdict import verdict
from tests.helpers import generator
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


@pytest.mark.parametrize(("latents", "count"), [(1, 6), (3, 1)])
def test_page_holds_everything(tmp_path: Path, latents: int, count: int) -> None:
    run = runs.run(tmp_path / "run", latents=latents, test=runs.GREY[:count])
    runs.write(run)
    report.write(run)
    text = (run.directory / "report.html").read_text()
    assert headings(text) == SECTIONS
    found = verdict(run)
    assert f'<section class="verdict {found.level}"' in text
    assert found.headline.replace(" ± ", "&nbsp;±&nbsp;") in text
    assert text.count("<svg") == 2 + 3 * min(count, 3) + 3 + 2 + 2 + 2
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


@pytest.mark.parametrize("network", ["mlp", "resnet-vae"])
def test_page_of_a_conditional_run(tmp_path: Path, network: str) -> None:
    """The names of classes are anyone's."""
    classes = ("$a_1$", "<b>&", "a dog", "of a name that is far too long")
    run = runs.run(tmp_path, classes=classes, network=network)
    runs.write(run)
    report.write(run)
    text = (run.directory / "report.html").read_text()
    assert "The models are given the class of each image, one of 4" in text
    assert "Each row was given the class beside it." in text
    assert "changes from one class to the other along the line" in text
    assert "<b>&" not in text
    drawn = images.samples(run, generator(0))
    for panel in drawn:
        (axis,) = panel.figure.axes
        names = [label.get_text() for label in axis.get_yticklabels()]
        assert names == ["$a_1$", "<b>&", "a dog", "of a name that …"]
        assert not any(label.get_parse_math() for label in axis.get_yticklabels())
        assert "a row for each class" in panel.alt
        panel.figure.savefig(tmp_path / "samples.png")


def test_rows_of_samples_are_of_their_class(tmp_path: Path) -> None:
    run = runs.run(tmp_path, classes=tuple(map(str, range(30))))
    name, model = next(iter(run.models.items()))
    asked: list[Tensor] = []
    sample = model.sample

    def sampled(count: int, noise: torch.Generator, given: Tensor) -> Tensor:
        asked.append(given.argmax(-1))
        return sample(count, noise, given)

    vars(model)["sample"] = sampled
    images.samples(run, generator(0))
    images.sampled(run, name, 70, generator(0))
    assert asked[0].tolist() == [k for k in range(20) for _ in range(images.COLUMNS)]
    assert asked[1].tolist() == [i % 30 for i in range(70)]
    runs.write(run)
    del vars(model)["sample"]
    report.write(run)
    text = (run.directory / "report.html").read_text()
    assert "Each row was given the class beside it, for the first 20 classes." in text
