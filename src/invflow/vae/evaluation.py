"""What a trained VAE is worth on images it has not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from invflow.vae.model import VAE


@dataclass(frozen=True)
class Score:
    """Scores of each image, in nats, shape (images,).

    Attributes:
        bound: the evidence lower bound, averaged over several latent samples.
        log_likelihood: importance-sampled.
        kl: of the posterior from the prior, averaged like the bound.
    """

    bound: Tensor
    log_likelihood: Tensor
    kl: Tensor


@torch.no_grad()
def score(
    model: VAE,
    levels: Tensor,
    *,
    samples: int,
    seed: int = 0,
    bound_samples: int = 50,
) -> Score:
    """Score images, the same way every time for the same seed.

    Args:
        model: a VAE.
        levels: grey levels, (images, height, width) or (images, pixels).
        samples: importance samples for the log-likelihood.
        seed: of the noise, and of the binarisation where there is one.
        bound_samples: latent samples for the bound.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    x = model.likelihood.observe(levels.flatten(1).to(device), generator)
    bounds = [model.elbo(x, generator) for _ in range(bound_samples)]
    return Score(
        torch.stack([elbo.bound for elbo in bounds]).mean(0),
        model.log_likelihood(x, samples, generator),
        torch.stack([elbo.kl for elbo in bounds]).mean(0),
    )


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return the mean and its standard error; of a single value the error is NaN.

    Example:
        >>> import torch
        >>> mean_and_error(torch.tensor([1.0, 1.0]))
        (1.0, 0.0)
    """
    spread = float(values.std()) if len(values) > 1 else math.nan
    return float(values.mean()), spread / math.sqrt(len(values))
