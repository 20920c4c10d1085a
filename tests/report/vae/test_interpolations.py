"""Interpolations between images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from invflow.report.vae import interpolations as figures
from tests.report import runs


@pytest.mark.parametrize("count", [1, 2, 6])
def test_images_stand_at_both_ends(tmp_path: Path, count: int) -> None:
    run = runs.run(tmp_path, test=runs.GREY[:count])
    figure = figures.interpolations(run, torch.Generator().manual_seed(0))
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["diagonal", "iaf"]
    pairs = min(count, figures.IMAGE_PAIRS)
    for axis in figure.axes:
        picture = np.asarray(axis.get_images()[0].get_array())
        assert picture.shape == (5 * pairs, 6 * (figures.POINTS + 2))
        for k in range(pairs):
            line = picture[5 * k : 5 * k + 4]
            np.testing.assert_array_equal(line[:, :5], runs.GREY[k, 0])
            np.testing.assert_array_equal(line[:, -6:-1], runs.GREY[(k + 1) % pairs, 0])


def test_the_ends_are_reconstructions(tmp_path: Path) -> None:
    run = runs.run(tmp_path, test=runs.GREY[:2])
    figure = figures.interpolations(run, torch.Generator().manual_seed(0))
    picture = np.asarray(figure.axes[0].get_images()[0].get_array())
    noise, model = torch.Generator().manual_seed(0), run.models["diagonal"]
    x = model.observe(runs.GREY[:2], noise)
    between = model.interpolate(x, x.flip(0), figures.POINTS, noise)
    shown = [picture[:4, 6 * k : 6 * k + 5] for k in range(1, figures.POINTS + 1)]
    np.testing.assert_array_equal(np.stack(shown), between[0].reshape(-1, 4, 5))
