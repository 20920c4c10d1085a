"""Interpolations between images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from invflow.report.vae import interpolations as figures
from tests.report import runs
from tests.report.pages import grey, shown


@pytest.mark.parametrize("count", [1, 2, 6])
def test_images_stand_at_both_ends(tmp_path: Path, count: int) -> None:
    run = runs.run(tmp_path, test=runs.GREY[:count])
    panels = figures.interpolations(run, torch.Generator().manual_seed(0))
    assert [panel.title for panel in panels] == ["diagonal", "iaf"]
    chosen = runs.GREY[[0, 2, 3, 5]] if count == 6 else runs.GREY[:count]
    pairs = len(chosen)
    for panel in panels:
        picture = shown(panel)
        assert picture.shape == (5 * pairs, 6 * (figures.POINTS + 2))
        for k in range(pairs):
            line = picture[5 * k : 5 * k + 4]
            np.testing.assert_array_equal(line[:, :5], grey(chosen[k, 0]))
            np.testing.assert_array_equal(line[:, -6:-1], grey(chosen[(k + 1) % pairs, 0]))


def test_the_ends_are_reconstructions(tmp_path: Path) -> None:
    run = runs.run(tmp_path, test=runs.GREY[:2])
    panel = figures.interpolations(run, torch.Generator().manual_seed(0))[0]
    picture = shown(panel)
    noise, model = torch.Generator().manual_seed(0), run.models["diagonal"]
    x = model.observe(runs.GREY[:2], noise)
    between = model.interpolate(x, x.flip(0), figures.POINTS, noise)
    images = [picture[:4, 6 * k : 6 * k + 5] for k in range(1, figures.POINTS + 1)]
    np.testing.assert_array_equal(np.stack(images), grey(between[0].reshape(-1, 4, 5)))
