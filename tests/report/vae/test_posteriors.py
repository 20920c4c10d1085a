"""Densities of draws from posteriors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from invflow.report.vae import posteriors as figures
from invflow.vae.likelihoods.levels import Likelihood
from invflow.vae.models.vae import VAE
from tests.report import runs
from tests.report.pages import grey, shown


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
    vae = VAE((1, 1, 5), 17, Gaussian(17), "diagonal", latents=2, hidden_features=(), context=3)
    with torch.no_grad():
        vae.decoder[0].weight.mul_(3.5)
        vae.encoder[0].weight.mul_(0.3)
        # Wider than the exact posterior, so that the weights are bounded.
        vae.posterior.transform.transforms[0].given.bias[1::2] += 0.5
    image = torch.tensor([[1, 0, 1, 0, 1]])
    q, exact, effective = figures._draws(vae, image, 40_000, torch.Generator().manual_seed(1))
    weight, bias = vae.decoder[0].weight[::2].detach(), vae.decoder[0].bias[::2].detach()
    covariance = torch.linalg.inv(weight.T @ weight / 0.25 + torch.eye(2))
    mean = covariance @ weight.T @ (image[0] - bias) / 0.25
    np.testing.assert_allclose(exact.mean(0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(exact.T), covariance, atol=0.03)
    assert np.abs(q.mean(0) - mean.numpy()).max() > 0.1
    assert 0.01 < effective / 40_000 < 0.9


def test_most_correlated_columns() -> None:
    draws = np.random.default_rng(0).normal(size=(2000, 4))
    draws[:, 1] += 2 * draws[:, 3]
    assert figures._most_correlated(draws) == (1, 3)
    assert figures._most_correlated(draws[:, :1]) == (0, 0)
    assert figures._most_correlated(np.ones((5, 3))) == (0, 1)


def test_levels_enclose_the_mass_they_say() -> None:
    axis = np.linspace(-4, 4, 201)
    density = np.exp(-0.5 * (axis[:, None] ** 2 + axis**2))
    _, *cuts, _ = figures._levels(density)
    for mass, cut in zip((0.95, 0.8, 0.5, 0.2), cuts, strict=True):
        assert abs(density[density >= cut].sum() / density.sum() - mass) < 0.01


def test_every_model_has_a_panel_beside_each_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "DRAWS", {"mlp": 200})
    names = ("diagonal", "iaf", "planar", "radial")
    run = runs.run(tmp_path, posteriors=names, test=runs.GREY[:2])
    panels = figures.posteriors(run, torch.Generator().manual_seed(0))
    wanted = [("test image 0", *names), ("test image 1", *names)]
    assert [p.title.split(",")[0] for p in panels] == [each for row in wanted for each in row]
    assert [p.starts for p in panels] == 2 * [True, *4 * [False]]
    for image, panel in zip(runs.GREY[:2], (p for p in panels if p.starts), strict=True):
        np.testing.assert_array_equal(shown(panel)[:4, :5], grey(image[0]))


@pytest.mark.parametrize(("effective", "lines"), [(299.0, False), (301.0, True)])
def test_contours_need_enough_effective_draws(effective: float, lines: bool) -> None:
    source = np.random.default_rng(0)
    draws = figures.Draws(*source.normal(size=(2, 5000, 3)), effective)
    panel = figures._panel("iaf", 0, draws)
    (axis,) = panel.figure.axes
    assert len(axis.collections) == (2 if lines else 1)
    assert ("no lines" in panel.title) is not lines
    assert ("too few effective draws" in panel.alt) is not lines
    assert f"ESS {effective / 50:.2g}%" in panel.title
