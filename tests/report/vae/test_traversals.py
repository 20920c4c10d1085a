"""What single latents do to an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from invflow.report.vae import traversals as figures
from invflow.vae.models.vae import VAE
from tests.helpers import assert_close
from tests.report import runs


@pytest.mark.parametrize("network", ["mlp", "resnet-vae"])
def test_the_middle_is_the_reconstruction(tmp_path: Path, network: str) -> None:
    model = runs.run(tmp_path, network=network, precision="64-true").model()
    z = model.draw_prior(1, torch.Generator().manual_seed(1)).detach().squeeze(0)
    which, sd = torch.tensor([2, 0]), torch.tensor([0.5, 2.0], dtype=torch.float64)
    images = figures.traversed(model, z, which, sd)
    assert images.shape == (2, figures.POINTS, 1, 4, 5)
    middle = figures.POINTS // 2
    for row in images:
        assert_close(row[middle], model.expected(z).reshape(1, 4, 5))
    away = z.clone()
    away[0] += 3 * 2.0
    assert_close(images[1, -1], model.expected(away).reshape(1, 4, 5))
    away = z.clone()
    away[2] -= 3 * 0.5
    assert_close(images[0, 0], model.expected(away).reshape(1, 4, 5))


def test_the_most_active_latents_come_first() -> None:
    """Posteriors N(a, s) with means that are multiples of one pixel, of variance v over images."""
    vae = VAE(
        (1, 2, 2), 17, posterior="diagonal", latents=3, hidden_features=(), context=3
    ).double()
    images = torch.zeros(64, 1, 2, 2, dtype=torch.uint8)
    images[::2, 0, 0, 0] = 16
    multiples = torch.tensor([0.5, 3.0, 1.0], dtype=torch.float64)

    def draw(x, samples, generator, given):  # type: ignore[no-untyped-def]
        noise = torch.randn(samples, len(x), 3, dtype=x.dtype, generator=generator)
        return multiples * x[:, :1] / 16 + 0.1 * noise, noise[..., 0]

    vae.draw = draw  # type: ignore[method-assign]
    which, sd = figures.most_active(vae, images, torch.Generator().manual_seed(0))
    assert which.tolist() == [1, 2, 0]
    # Half of the images have the pixel: its variance is 1/4.
    wanted = (multiples[which].square() / 4 + 0.01).sqrt()
    assert (sd / wanted - 1).abs().max() < 0.02


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_are_latents(tmp_path: Path, channels: int) -> None:
    run = runs.run(tmp_path, channels=channels, posteriors=("diagonal", "iaf", "planar"))
    panels = figures.panels(run, figures.traversals(run, torch.Generator().manual_seed(0)))
    assert [panel.title for panel in panels] == ["diagonal", "iaf", "planar"]
    for panel in panels:
        (axis,) = panel.figure.axes
        picture = np.asarray(axis.get_images()[0].get_array())
        assert picture.shape[:2] == (3 * 5, figures.POINTS * 6)
        labels = {label.get_text() for label in axis.get_yticklabels()}
        assert labels == {"z0", "z1", "z2"}
        assert [label.get_text() for label in axis.get_xticklabels()][::3] == ["-3", "0", "+3"]


def test_the_sheet_of_images_has_no_gaps(tmp_path: Path) -> None:
    run = runs.run(tmp_path)
    (found, _) = figures.traversals(run, torch.Generator().manual_seed(0))
    whole = figures._without_gaps(found, 4, 5)
    assert whole.shape == (3 * 4, figures.POINTS * 5, 1)
    for i in range(3):
        for j in range(figures.POINTS):
            image = found.picture[5 * i : 5 * i + 4, 6 * j : 6 * j + 5]
            np.testing.assert_array_equal(whole[4 * i : 4 * i + 4, 5 * j : 5 * j + 5], image)
    data = figures.closer(run, [found]).data
    assert data["size"] == [5, 4]
    assert data["values"][0] == "-3"
    assert data["models"][0]["latents"] == [f"z{i}" for i in found.latents]
