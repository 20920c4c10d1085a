"""Scores of a trained model on images it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from invflow import _checks
from invflow._modes import evaluating
from invflow.vae.models.base import Elbo, LatentModel
from invflow.vae.shortfall import nested

#: A latent is active if the variance of its posterior mean over images exceeds this.
ACTIVE = 0.01


@dataclass(frozen=True)
class Score:
    """Scores of each image, in nats.

    Attributes:
        bound: evidence lower bound, averaged over several draws, (images,).
        log_likelihood: importance-sampled log-likelihood, (images,), float64.
        fewer: the same with a fourth and a sixteenth of the samples, averaged over such parts, (2,
            images); (0, images) with fewer than 16 samples.
        kls: KL divergence in each group of latents, averaged like the bound, (images, groups).
        variances: variance over images of each latent's posterior mean, (latents,).
    """

    bound: Tensor
    log_likelihood: Tensor
    fewer: Tensor
    kls: Tensor
    variances: Tensor

    @property
    def kl(self) -> Tensor:
        """The total KL divergence (the rate), (images,)."""
        return self.kls.sum(-1)

    @property
    def distortion(self) -> Tensor:
        """Minus the log-likelihood given the latents, (images,): bound = -distortion - rate."""
        return -(self.bound + self.kl)

    @property
    def active(self) -> int:
        """Number of active latents (Burda et al. 2016, section 4.3)."""
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
    given: Tensor | None = None,
) -> Score:
    """Score images; the same seed gives the same scores.

    Runs the model in evaluation mode, and restores its mode afterwards.

    Args:
        model: a model of images.
        levels: grey levels, (images, channels, height, width) or (images, pixels).
        samples: number of importance samples for the log-likelihood.
        seed: random seed, for the noise and for dynamic binarisation.
        bound_samples: number of draws of the latents for the bound.
        chunk: largest number of (image, sample) pairs in memory at once; None for the model's
            `at_once`.
        given: what a conditional model depends on, (images, C).

    Raises:
        TypeError: if `levels` is not a tensor of what the model observes, or a count is not an
            integer.
        ValueError: if `levels` is empty or does not fit the model, or a count is out of range.
    """
    levels = _rows(levels)
    if not len(levels):
        raise ValueError(f"levels must hold at least one image, got shape {tuple(levels.shape)}")
    like = model.like
    chunk = model.at_once if chunk is None else _checks.positive_integer("chunk", chunk)
    bound_samples = _checks.positive_integer("bound_samples", bound_samples)
    generator = torch.Generator(like.device).manual_seed(_checks.integer("seed", seed))
    x = model.observe(levels, generator)
    averages = _averages(model, x, given, bound_samples, generator, chunk)
    weights = model.log_weights(x, samples, generator, chunk=chunk, given=given)
    likelihoods = torch.cat([nested(log_w.cpu()) for log_w in weights], 1)
    return Score(
        averages.bound.cpu(),
        likelihoods[0],
        likelihoods[1:],
        averages.kls.cpu(),
        spread(model, x, max(2, bound_samples), generator, chunk, given).between.cpu(),
    )


@torch.no_grad()
def bounds(
    model: LatentModel,
    levels: Tensor,
    *,
    seed: int = 0,
    samples: int = 50,
    given: Tensor | None = None,
) -> Tensor:
    """Return the evidence lower bound of each image in nats, averaged over draws, (images,).

    Runs the model in evaluation mode, and restores its mode afterwards.

    Args:
        model: a model of images.
        levels: grey levels, (images, channels, height, width) or (images, pixels).
        seed: random seed, for the noise and for dynamic binarisation.
        samples: number of draws of the latents.
        given: what a conditional model depends on, (images, C).

    Raises:
        TypeError: if `levels` is not a tensor of what the model observes, or a count is not an
            integer.
        ValueError: if `levels` does not fit the model, or a count is out of range.
    """
    samples = _checks.positive_integer("samples", samples)
    noise = torch.Generator(model.like.device).manual_seed(_checks.integer("seed", seed))
    x = model.observe(_rows(levels), noise)
    return _averages(model, x, given, samples, noise, model.at_once).bound.cpu()


def _rows(levels: Tensor) -> Tensor:
    """Return images as rows of pixels."""
    if not isinstance(levels, Tensor):
        raise TypeError(
            f"levels must be a tensor, got {type(levels).__name__}; "
            "torch.as_tensor turns arrays and lists into tensors"
        )
    if levels.dim() < 2:
        raise ValueError(
            "levels must hold images, (images, pixels) or (images, channels, height, width), "
            f"got shape {tuple(levels.shape)}"
        )
    return levels.flatten(1)


def _averages(
    model: LatentModel,
    x: Tensor,
    given: Tensor | None,
    samples: int,
    generator: torch.Generator,
    chunk: int,
) -> Elbo:
    """Return the parts of the bound, averaged over draws."""
    found: list[Elbo] = []
    with evaluating(model):
        for part, c in model.pieces(x, given, chunk):
            elbos = [model.elbo(part, generator, c) for _ in range(samples)]
            found.append(Elbo(*(torch.stack(each).mean(0) for each in zip(*elbos, strict=True))))
    return Elbo(*(torch.cat(each) for each in zip(*found, strict=True)))


class Spread(NamedTuple):
    """The variance of each latent, by the law of total variance: `between + within`.

    Attributes:
        between: variance over images of the posterior mean, (latents,).
        within: mean over images of the posterior variance, (latents,).
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
    given: Tensor | None = None,
) -> Spread:
    """Return the variance of the latents between and within observations.

    Runs the model in evaluation mode, and restores its mode afterwards.

    Args:
        model: a model of images.
        x: observations, (batch, pixels).
        samples: number of draws per observation, at least 2.
        generator: random numbers; torch's own by default.
        chunk: largest number of (image, sample) pairs in memory at once; None for the model's
            `at_once`.
        given: what a conditional model depends on, (batch, C).

    Raises:
        TypeError: if a count is not an integer, or the dtype of `x` is not the model's.
        ValueError: if `x` is empty or does not fit the model, or a count is out of range.
    """
    if not len(x):
        raise ValueError(f"x must hold at least one observation, got shape {tuple(x.shape)}")
    samples = _checks.positive_integer("samples", samples, minimum=2)
    chunk = model.at_once if chunk is None else _checks.positive_integer("chunk", chunk)
    # Only sums over images of the means, their squares and the variances are kept, in double
    # precision: there may be many latents.
    sums = torch.zeros(3, model.latents, dtype=torch.float64, device=model.like.device)
    for part, c in model.pieces(x, given, max(1, chunk // samples)):
        counts = [min(chunk, samples - start) for start in range(0, samples, chunk)]
        with evaluating(model):
            z = torch.cat([model.draw(part, count, generator, c)[0] for count in counts]).double()
        mean = z.mean(0)
        sums += torch.stack([mean.sum(0), mean.square().sum(0), z.var(0).sum(0)])
    mean, square, within = sums / len(x)
    # Means of a few draws vary more than the posterior means do.
    excess = within / samples * (1 - 1 / len(x))
    between = (square - mean.square()).clamp(min=0) - excess
    return Spread(between.to(x.dtype), within.to(x.dtype))
