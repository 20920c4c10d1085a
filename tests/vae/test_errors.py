"""Messages about VAEs that no other test reaches, word for word."""

from __future__ import annotations

import pytest
import torch

from invflow.vae import VAE, evaluation, run
from invflow.vae.build import build
from invflow.vae.config import Config, Format

SHAPE = (1, 4, 4)


def test_nothing_to_score() -> None:
    vae = VAE(SHAPE, levels=2, latents=2)
    with pytest.raises(
        ValueError, match=r"x must hold at least one observation, got shape \(0, 16\)"
    ):
        evaluation.spread(vae, torch.zeros(0, 16), samples=2)


def test_a_perceptron_that_is_too_large() -> None:
    config = Config(data="photographs.npz", network="mlp", hidden_features=(1000,))
    format = Format(shape=(3, 1000, 1000), levels=256, likelihood="logistic", digest="")
    message = r"an mlp for images of \(3, 1000, 1000\) would have .* weights; take another network"
    with pytest.raises(ValueError, match=message):
        build(config, format)


def test_an_image_that_is_too_large() -> None:
    with pytest.raises(ValueError, match="an image must be of at most 67,108,864 numbers"):
        Format(shape=(3, 10**4, 10**4), levels=256, likelihood="logistic", digest="")


def test_grey_levels_are_not_binarised_once() -> None:
    config = Config(data="digits", likelihood="logistic", binarisation="fixed")
    with pytest.raises(
        ValueError, match="binarisation must be dynamic for the likelihood 'logistic'"
    ):
        run.read(config)


def test_a_network_without_layers() -> None:
    message = r"hidden_features must hold at least one width for 'gated', got \(\)"
    with pytest.raises(ValueError, match=message):
        VAE(SHAPE, levels=2, latents=2, network="gated", hidden_features=())
