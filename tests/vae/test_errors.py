"""Messages about VAEs that no other test reaches, word for word."""

from __future__ import annotations

import pytest
import torch

from invflow.vae import VAE, evaluation

SHAPE = (1, 4, 4)


def test_nothing_to_score() -> None:
    vae = VAE(SHAPE, levels=2, latents=2)
    with pytest.raises(
        ValueError, match=r"x must hold at least one observation, got shape \(0, 16\)"
    ):
        evaluation.spread(vae, torch.zeros(0, 16), samples=2)


def test_a_network_without_layers() -> None:
    message = r"hidden_features must hold at least one width for 'gated', got \(\)"
    with pytest.raises(ValueError, match=message):
        VAE(SHAPE, levels=2, latents=2, network="gated", hidden_features=())
