"""Moments and entropies without a closed form: Monte Carlo estimates, and helpful errors."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor
from torch.distributions import Distribution

from invflow import _checks


class Estimated(Distribution):
    """A distribution whose moments and entropy have no closed form.

    Estimates carry the gradient of reparameterised samples, or none if there are no such samples.
    """

    def estimate_mean(
        self, samples: int = 1000, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return a Monte Carlo estimate of the mean, shape (*batch_shape, features).

        Raises:
            TypeError: if `samples` is not an integer.
            ValueError: if `samples` is below 1.
        """
        return self._draws(_checks.positive_integer("samples", samples), generator).mean(0)

    def estimate_variance(
        self, samples: int = 1000, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return a Monte Carlo estimate of each feature's variance, (*batch_shape, features).

        Raises:
            TypeError: if `samples` is not an integer.
            ValueError: if `samples` is below 2.
        """
        count = _checks.positive_integer("samples", samples, minimum=2)
        return self._draws(count, generator).var(0)

    def estimate_entropy(
        self, samples: int = 1000, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return a Monte Carlo estimate of the entropy in nats, shape `batch_shape`.

        Raises:
            TypeError: if `samples` is not an integer.
            ValueError: if `samples` is below 1.
        """
        count = _checks.positive_integer("samples", samples)
        with contextlib.nullcontext() if self.has_rsample else torch.no_grad():
            return -self.log_prob(self._draws(count, generator)).mean(0)

    def _draws(self, count: int, generator: torch.Generator | None) -> Tensor:
        draw = self.rsample if self.has_rsample else self.sample
        return draw((count,), generator=generator)  # pyright: ignore[reportCallIssue, reportArgumentType]

    @property
    def mean(self) -> Tensor:
        raise self._lacks("mean", "call estimate_mean(samples)")

    @property
    def variance(self) -> Tensor:
        raise self._lacks("variance", "call estimate_variance(samples)")

    @property
    def stddev(self) -> Tensor:
        raise self._lacks("standard deviation", "use estimate_variance(samples).sqrt()")

    @property
    def mode(self) -> Tensor:
        raise self._lacks("mode", "maximise log_prob(x), starting from draws of sample((1000,))")

    def entropy(self) -> Tensor:
        raise self._lacks("entropy", "call estimate_entropy(samples)")

    def perplexity(self) -> Tensor:
        raise self._lacks("perplexity", "use estimate_entropy(samples).exp()")

    def cdf(self, value: Tensor) -> Tensor:
        raise self._lacks(
            "distribution function", "count the draws of sample((1000,)) below the value"
        )

    def icdf(self, value: Tensor) -> Tensor:
        raise self._lacks(
            "quantile function",
            "use those of each feature of draws, sample((1000,)).quantile(p, 0)",
        )

    def enumerate_support(self, expand: bool = True) -> Tensor:
        raise NotImplementedError(
            f"the support of a {type(self).__name__} is continuous and cannot be enumerated; "
            "draw from it with sample((1000,))"
        )

    def _lacks(self, what: str, instead: str) -> NotImplementedError:
        return NotImplementedError(
            f"the {what} of a {type(self).__name__} has no closed form; {instead}"
        )
