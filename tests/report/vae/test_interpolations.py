"""Interpolations between images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from invflow.report.vae import interpolations as figures
from invflow.report.vae.decoded import expected, latents
from tests.helpers import assert_close
from tests.report import runs
from tests.report.pages import grey, shown


@pytest.mark.parametrize("network", ["mlp", "resnet-vae"])
def test_the_ends_are_the_reconstructions(tmp_path: Path, network: str) -> None:
    model = runs.run(tmp_path, network=network, precision="64-true").model()
    z = latents(model, runs.GREY, torch.Generator().manual_seed(1))
    first, second = z[:3], z[3:]
    between = figures.interpolated(model, first, second)
    assert between.shape == (3, figures.POINTS, 1, 4, 5)
    assert_close(between[:, 0], expected(model, first))
    assert_close(between[:, -1], expected(model, second))
    assert_close(between[:, figures.POINTS // 2], expected(model, (first + second) / 2))
    assert (between[:, 0] - between[:, -1]).abs().max() > 0.01


@pytest.mark.parametrize("count", [1, 2, 6])
def test_images_stand_at_both_ends(tmp_path: Path, count: int) -> None:
    run = runs.run(tmp_path, test=runs.GREY[:count])
    panels = figures.interpolations(run, torch.Generator().manual_seed(0))
    assert [panel.title for panel in panels] == ["diagonal", "iaf"]
    pairs = min(count, figures.IMAGE_PAIRS)
    for panel in panels:
        picture = shown(panel)
        assert picture.shape == (5 * pairs, 6 * (figures.POINTS + 2))
        for k in range(pairs):
            line = picture[5 * k : 5 * k + 4]
            np.testing.assert_array_equal(line[:, :5], grey(runs.GREY[k, 0]))
            np.testing.assert_array_equal(line[:, -6:-1], grey(runs.GREY[(k + 1) % pairs, 0]))
