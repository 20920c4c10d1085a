"""What a trained model is worth on images it has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from invflow import _checks
from invflow._modes import evaluating
from invflow.vae.base import LatentModel

#: A latent is active if its posterior's mean varies more than this over images.
ACTIVE = 0.01


@dataclass(frozen=True)
class Score:
    """Scores of each image, in nats.

    Attributes:
        bound: the evidence lower bound, averaged over several draws, (images,).
        log_likelihood: importance-sampled, (images,).
        kls: the divergence in each group of latents, averaged like the bound, (images, groups).
        variances: of each latent, the variance over images of its posterior's mean, (latents,).
    """

    bound: Tensor
    log_likelihood: Tensor
    kls: Tensor
    variances: Tensor

    @property
    def kl(self) -> Tensor:
        """The divergence in all, (images,): the rate."""
        return self.kls.sum(-1)

    @property
    def distortion(self) -> Tensor:
        """Minus the log-likelihood given the latents, (images,): bound = -distortion - rate."""
        return -(self.bound + self.kl)

    @property
    def active(self) -> int:
        """How many latents are active (Burda et al. 2016, section 4.3)."""
        return int((self.variances > ACTIVE).sum())


@torch.no_grad()
def score(
    model: LatentModel,
    levels: Tensor,
    *,
    samples: int,
    seed: int = 0,
    bound_samples: int = 50,
    chunk: int | None = None,
) -> Score:
    """Score images, the same way every time for the same seed.

    The model is in evaluation mode meanwhile.

    Args:
        model: a model of images.
        levels: grey levels, (images, channels, height, width) or (images, pixels).
        samples: importance samples for the log-likelihood.
        seed: of the noise, and of the binarisation where there is one.
        bound_samples: draws of the latents for the bound.
        chunk: at most so many (image, sample) pairs in memory at once; None for the model's own
            `at_once`.

    Raises:
        TypeError: a count that is no integer.
        ValueError: no images, images of another shape or other levels, or a count out of range.
    """
    if levels.dim() < 2 or not len(levels):
        raise ValueError(f"levels must be of one image or more, got shape {tuple(levels.shape)}")
    like = model.like
    chunk = model.at_once if chunk is None else _checks.positive_integer("chunk", chunk)
    bound_samples = _checks.positive_integer("bound_samples", bound_samples)
    generator = torch.Generator(like.device).manual_seed(_checks.integer("seed", seed))
    x = model.observe(levels.flatten(1), generator)
    with evaluating(model):
        elbos = [
            [model.elbo(part, generator) for _ in range(bound_samples)] for part in x.split(chunk)
        ]
    return Score(
        torch.cat([_mean([each.bound for each in part]) for part in elbos]).cpu(),
        model.log_likelihood(x, samples, generator, chunk=chunk).cpu(),
        torch.cat([_mean([each.kls for each in part]) for part in elbos]).cpu(),
        spread(model, x, max(2, bound_samples), generator, chunk).between.cpu(),
    )


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean(0)


class Spread(NamedTuple):
    """How each latent varies, by the law of total variance: `between + within` in all.

    Attributes:
        between: the variance over images of its posterior's mean, (latents,).
        within: the mean over images of its posterior's variance, (latents,).
    """

    between: Tensor
    within: Tensor


@torch.no_grad()
def spread(
    model: LatentModel,
    x: Tensor,
    samples: int,
    generator: torch.Generator | None = None,
    chunk: int | None = None,
) -> Spread:
    """Return how the latents of observations vary.

    The model is in evaluation mode meanwhile.

    Args:
        model: a model of images.
        x: observations, (batch, pixels).
        samples: draws for each, at least 2.
        generator: random numbers; torch's own by default.
        chunk: at most so many (image, sample) pairs in memory at once; None for the model's own
            `at_once`.

    Raises:
        TypeError: a count that is no integer, or observations of another dtype.
        ValueError: no observations, those of another shape, or a count out of range.
    """
    if not len(x):
        raise ValueError(f"x must hold one observation or more, got shape {tuple(x.shape)}")
    samples = _checks.positive_integer("samples", samples, minimum=2)
    chunk = model.at_once if chunk is None else _checks.positive_integer("chunk", chunk)
    # Sums over images alone are kept, in double precision, of the means, their squares and the
    # variances: latents may be many.
    sums = torch.zeros(3, model.latents, dtype=torch.float64, device=model.like.device)
    for part in x.split(max(1, chunk // samples)):
        counts = [min(chunk, samples - start) for start in range(0, samples, chunk)]
        with evaluating(model):
            z = torch.cat([model.draw(part, count, generator)[0] for count in counts]).double()
        mean = z.mean(0)
        sums += torch.stack([mean.sum(0), mean.square().sum(0), z.var(0).sum(0)])
    mean, square, within = sums / len(x)
    # The means of a few draws vary more around their own mean than the posteriors' do.
    excess = within / samples * (1 - 1 / len(x))
    between = (square - mean.square()).clamp(min=0) - excess
    return Spread(between.to(x.dtype), within.to(x.dtype))


def bits_per_dim(nats: float, pixels: int) -> float:
    """Return a log-likelihood in nats per image as bits per dimension, -nats / (pixels ln 2).

    Example:
        >>> bits_per_dim(-64 * math.log(2), 64)
        1.0
    """
    return -nats / (pixels * math.log(2))


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return the mean and its standard error; of a single value the error is NaN.

    Example:
        >>> import torch
        >>> mean_and_error(torch.tensor([1.0, 1.0]))
        (1.0, 0.0)
    """
    spread = float(values.std()) if len(values) > 1 else math.nan
    return float(values.mean()), spread / math.sqrt(len(values))
