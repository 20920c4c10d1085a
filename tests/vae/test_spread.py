"""How latents vary over images."""

from __future__ import annotations

import torch

from invflow.vae import evaluation
from invflow.vae.models.vae import VAE


def test_means_of_few_draws_do_not_pass_for_activity() -> None:
    """Posteriors N(a x, 1) with x of variance 1/4 over images: between is a^2 / 4, within 1."""
    vae = VAE((1, 1, 1), 2, posterior="diagonal", latents=2, hidden_features=(), context=3).double()
    slopes = torch.tensor([0.0, 2.0], dtype=torch.float64)

    def draw(
        x: torch.Tensor, samples: int, generator: torch.Generator | None, given: None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        noise = torch.randn(samples, len(x), 2, dtype=x.dtype, generator=generator)
        return slopes * x + noise, noise[..., 0]

    vae.draw = draw  # type: ignore[method-assign]
    x = torch.arange(20_000, dtype=torch.float64).remainder(2).unsqueeze(-1)
    spread = evaluation.spread(vae, x, 2, torch.Generator().manual_seed(0))
    # The means of two draws alone vary by 1/2 more.
    assert (spread.between - torch.tensor([0.0, 1.0])).abs().max() < 0.05
    assert (spread.within - 1).abs().max() < 0.05
