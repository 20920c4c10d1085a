"""Messages about VAEs that no other test reaches, word for word."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from invflow import MAF
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
    with pytest.raises(ValueError, match="an image must have at most 67,108,864 numbers"):
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


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"posterior": 3}, TypeError, "posterior must be a name or a Flow, got int"),
        ({"posterior": MAF(2)}, ValueError, "posterior must have a context, .* got context=0"),
        ({"prior": 3}, TypeError, "prior must be a name or a Prior, got int"),
        ({"network": None}, TypeError, "network must be a name, or an encoder and .* got None"),
        ({"network": (torch.nn.Identity(),)}, TypeError, "network must be a name, or an encoder"),
        ({"network": (1, 2)}, TypeError, r"a decoder \(two modules\), got \(1, 2\)"),
        ({"flow_hidden_features": 8}, TypeError, "flow_hidden_features must be a sequence of"),
    ],
)
def test_parts_of_another_kind(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        VAE(SHAPE, levels=2, **{"latents": 2, **options})


@pytest.mark.parametrize(
    ("levels", "got"),
    [
        (torch.rand(3, 16), r"torch\.float32; give grey levels, not scaled images"),
        ([[0] * 16], r"list; torch\.as_tensor turns arrays and lists into tensors"),
    ],
)
def test_levels_that_are_not_integers(levels: Any, got: str) -> None:
    with pytest.raises(
        TypeError, match=rf"levels must be a tensor of integers 0 \.\. 3, got {got}"
    ):
        VAE(SHAPE, levels=4, latents=2).observe(levels)
