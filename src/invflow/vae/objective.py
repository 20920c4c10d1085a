"""The training objective of a model of images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from invflow import _checks
from invflow.vae.models.base import Elbo, LatentModel


@dataclass(frozen=True)
class Objective:
    r"""The evidence lower bound or the importance-weighted bound, with the usual modifications.

    $$L = -\frac1B \sum_i \mathrm{fit}_i
        + \beta_t \sum_j \max\Big(\lambda, \frac1B \sum_i \mathrm{KL}_{ij}\Big)$$

    over the B images i of a batch and the groups j of latents, in nats per image. Without free
    bits the KL divergences are used as they are; their estimates from draws may be negative.

    Args:
        beta: weight of the KL divergence after the warm-up.
        warmup: number of steps over which the weight grows linearly from 0 to `beta`; 0: none.
        free_bits: $\lambda$, nats of KL divergence in each group of latents that cost nothing;
            0: none. With several devices, each averages over its own part of the batch.
        train_samples: number of samples of the importance-weighted bound; 1: the evidence lower
            bound. With more than 1 the bound has no KL term, so beta, warmup and free_bits must
            keep their defaults.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range, or cannot be combined with `train_samples`.

    References:
        Free bits: Kingma et al. 2016, arXiv 1606.04934, appendix C.8; warm-up: Bowman et al. 2016,
        arXiv 1511.06349; beta: Higgins et al. 2017; importance-weighted: Burda et al. 2016,
        arXiv 1509.00519.

    Example:
        >>> import torch
        >>> elbo = Elbo(fit=torch.tensor([-10.0, -12.0]), kls=torch.tensor([[1.0, 3.0]] * 2))
        >>> Objective(warmup=100, free_bits=2.0).amended(elbo, step=50)
        tensor(13.5000)
    """

    beta: float = 1.0
    warmup: int = 0
    free_bits: float = 0.0
    train_samples: int = 1

    def __post_init__(self) -> None:
        for name in ("beta", "free_bits"):
            value = _checks.number(name, getattr(self, name))
            _checks.settle(self, **{name: value})
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {value!r}")
        _checks.settle(self, warmup=_checks.positive_integer("warmup", self.warmup, minimum=0))
        _checks.settle(
            self, train_samples=_checks.positive_integer("train_samples", self.train_samples)
        )
        if self.train_samples > 1 and (self.beta, self.warmup, self.free_bits) != (1.0, 0, 0.0):
            raise ValueError(
                f"train_samples must be 1 with beta, warmup or free_bits, got {self.train_samples}"
            )

    @property
    def plain(self) -> bool:
        """Whether the loss is minus the evidence lower bound after the warm-up."""
        return self == Objective(warmup=self.warmup)

    def weight(self, step: int) -> float:
        """Return the weight of the KL divergence at a step, counted from 1."""
        return self.beta * (min(1.0, step / self.warmup) if self.warmup else 1.0)

    def amended(self, elbo: Elbo, step: int) -> Tensor:
        """Return the loss of a batch, a scalar in nats per image."""
        groups = elbo.kls.reshape(-1, elbo.kls.shape[-1]).mean(0)
        if self.free_bits:  # without them an estimate may be negative, and stays so
            groups = groups.clamp(min=self.free_bits)
        return self.weight(step) * groups.sum() - elbo.fit.mean()

    def loss(
        self,
        model: LatentModel,
        x: Tensor,
        step: int,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a model on observations `x`, (batch, pixels), a scalar in nats.

        Args:
            model: the model to train.
            x: observations, as `observe` returns them.
            step: number of the step, counted from 1.
            generator: random numbers; torch's own by default.
            given: what a conditional model depends on, (batch, C).
        """
        if self.train_samples > 1:
            return -model.importance_bound(x, self.train_samples, generator, given).mean()
        return self.amended(model(x, generator, given), step)
