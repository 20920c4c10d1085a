"""The report of a run: what its figures are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from invflow import report
from invflow.report import page
from invflow.report import vae as figures
from invflow.vae.config import Config, Format
from invflow.vae.likelihood import Likelihood
from invflow.vae.model import VAE
from invflow.vae.run import Result, Run, build

RESULT = Result(-90.0, 1.0, -88.0, 0.9, 0.5, 0.1, 20.0, 15, [20.0], 65.4)
IMAGES = torch.randint(
    17, (6, 1, 4, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
)


def _run(directory: Path, latents: int = 3, channels: int = 1) -> Run:
    config = Config(latents=latents, hidden=(8,), context=4, flow_steps=1, flow_hidden=(8,))
    format = Format(shape=(channels, 4, 5), levels=17, likelihood="logistic", digest="")
    models = build(config, format)
    return Run(directory, config, format, models, dict.fromkeys(models, RESULT))


def test_table() -> None:
    first, second = report.rows({"diagonal": RESULT, "iaf": RESULT})
    assert first == ("diagonal", "-90.00 ± 1.00", "-88.00 ± 0.90", "", "20.00", "65 s")
    assert second[3] == "+0.50 ± 0.10"
    assert len(report.COLUMNS) == len(first)


@pytest.mark.parametrize("latents", [1, 3])
def test_page_holds_everything(tmp_path: Path, latents: int) -> None:
    report.write(_run(tmp_path, latents), IMAGES)
    text = (tmp_path / "report.html").read_text()
    assert text.count("data:image/png;base64,") == 4
    assert "-88.00 ± 0.90" in text
    assert "http" not in text


def test_pictures_in_colour() -> None:
    """A picture on the axes is what the levels say, white between the images."""
    images = torch.tensor([[[[255.0]], [[0.0]], [[51.0]]], [[[300.0]], [[-5.0]], [[255.0]]]])
    _, axes = figures._figure(1, 1, (1, 1))
    figures._show(axes[0, 0], figures._grid(images, columns=2), 256)
    (shown,) = axes[0, 0].get_images()
    pixels = np.asarray(shown.get_array())
    assert pixels.shape == (2, 4, 3)
    np.testing.assert_allclose(pixels[0, 0], [1, 0, 0.2])
    np.testing.assert_allclose(pixels[0, 2], [1, 0, 1])
    assert (pixels[1] == 1).all()
    assert (pixels[:, 1] == 1).all()


def test_page_of_coloured_images(tmp_path: Path) -> None:
    report.write(_run(tmp_path, channels=3), IMAGES.expand(-1, 3, -1, -1))
    assert (tmp_path / "report.html").read_text().count("data:image/png;base64,") == 4


def test_page_escapes_what_it_shows(tmp_path: Path) -> None:
    page.write(tmp_path / "a.html", "<script>", "a & b", [page.Section("<b>", text="1 < 2")])
    text = (tmp_path / "a.html").read_text()
    assert "&lt;script&gt;" in text
    assert "a &amp; b" in text
    assert "<b>" not in text


class Gaussian(Likelihood):
    """Pixels with the decoder's mean and standard deviation 0.5."""

    outputs = 2

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        return torch.distributions.Normal(params[..., 0], 0.5).log_prob(x).sum(-1)

    def mean(self, params: Tensor) -> Tensor:
        return params[..., 0]

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return params[..., 0]


def test_resampled_draws_follow_the_exact_posterior() -> None:
    """A linear decoder with normal noise has a normal posterior, with W'W/s^2 + I as precision."""
    torch.manual_seed(0)
    vae = VAE((1, 1, 5), 17, Gaussian(17), "diagonal", latents=2, hidden=(), context=3)
    with torch.no_grad():
        vae.decoder[0].weight.mul_(0.6)
    image = torch.tensor([[1.0, 0.0, 1.0, 0.0, 1.0]])
    q, exact, effective = figures._draws(vae, image, 40_000, torch.Generator().manual_seed(1))
    weight, bias = vae.decoder[0].weight[::2].detach(), vae.decoder[0].bias[::2].detach()
    covariance = torch.linalg.inv(weight.T @ weight / 0.25 + torch.eye(2))
    mean = covariance @ weight.T @ (image[0] - bias) / 0.25
    np.testing.assert_allclose(exact.mean(0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(exact.T), covariance, atol=0.03)
    assert np.abs(q.mean(0) - mean.numpy()).max() > 0.1
    assert 0.01 < effective < 0.9


def test_most_correlated_columns() -> None:
    draws = np.random.default_rng(0).normal(size=(2000, 4))
    draws[:, 1] += 2 * draws[:, 3]
    assert figures._most_correlated(draws) == (1, 3)
    assert figures._most_correlated(draws[:, :1]) == (0, 0)


def test_levels_enclose_the_mass_they_say() -> None:
    axis = np.linspace(-4, 4, 201)
    density = np.exp(-0.5 * (axis[:, None] ** 2 + axis**2))
    _, *cuts, _ = figures._levels(density)
    for mass, cut in zip((0.95, 0.8, 0.5, 0.2), cuts, strict=True):
        assert abs(density[density >= cut].sum() / density.sum() - mass) < 0.01


def test_grid_keeps_every_image_and_leaves_gaps() -> None:
    picture = figures._grid(IMAGES, columns=4)
    assert picture.shape == (2 * 5, 4 * 6, 1)
    for k, image in enumerate(IMAGES):
        row, column = divmod(k, 4)
        part = picture[row * 5 : row * 5 + 4, column * 6 : column * 6 + 5]
        assert (part[..., 0] == image[0].numpy()).all()
    assert np.isnan(picture[4]).all()
    assert np.isnan(picture[5:, 12:]).all()
