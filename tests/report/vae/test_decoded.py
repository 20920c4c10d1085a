"""From images to latents and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from invflow.report.vae import decoded
from tests.helpers import assert_close
from tests.report import runs


@pytest.mark.parametrize("network", ["mlp", "resnet-vae"])
def test_pieces_are_the_whole(tmp_path: Path, network: str) -> None:
    model = runs.run(tmp_path, channels=3, network=network, precision="64-true").model()
    z = model.draw_prior(15, torch.Generator().manual_seed(0)).detach().unflatten(0, (5, 3))
    mean = model.likelihood.mean(model.decode(z)).detach()
    model.at_once = 4
    images = decoded.expected(model, z)
    assert images.shape == (5, 3, 3, 4, 5)
    assert_close(images.flatten(2), mean)


def test_large_images_come_in_smaller_pieces(tmp_path: Path) -> None:
    small = runs.run(tmp_path).model()
    large = runs.run(tmp_path, levels=256, channels=3).model()
    assert large.at_once > 1
    large.shape = (3, 64, 64)
    assert decoded.at_once(small) == small.at_once
    assert decoded.at_once(large) * 3 * 64 * 64 * 256 <= decoded.PROBABILITIES
