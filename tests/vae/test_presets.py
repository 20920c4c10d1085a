"""What presets make of a user's own images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from invflow.runs.options import configured
from invflow.vae import run
from invflow.vae.config import Config


@pytest.fixture
def images(tmp_path: Path) -> str:
    levels = np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "own.npz", images=levels)
    return str(tmp_path / "own.npz")


@pytest.mark.parametrize(
    ("given", "preset", "likelihood"),
    [
        ({}, "paper-mnist", "bernoulli"),  # dynamic binarisation, as in the paper
        ({"likelihood": "logistic"}, "paper-mnist", "logistic"),
        ({"likelihood": "auto"}, "paper-mnist", "logistic"),
        ({}, None, "logistic"),
        ({}, "small", "logistic"),
    ],
)
def test_the_likelihood_of_own_images(
    images: str, given: dict[str, str], preset: str | None, likelihood: str
) -> None:
    config = configured(Config, {"data": images, **given}, preset)
    found = run.read(config)
    assert run.likelihood(config, found) == likelihood
    assert found.levels == 256
    assert config.binarisation == "dynamic"


def test_mnist_has_the_likelihood_that_it_has_without_the_preset() -> None:
    """`data.named` gives MNIST this likelihood; the preset names the same."""
    config = configured(Config, {}, "paper-mnist")
    assert (config.data, config.likelihood) == ("mnist", "bernoulli")
