"""Distributions of grey levels, given what the decoder says of each pixel."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor


class Likelihood(ABC):
    """The distribution of an image of grey levels 0 .. levels - 1, pixels independent.

    Args:
        levels: how many grey levels there are.

    Attributes:
        outputs: how many numbers the decoder gives per pixel.
    """

    outputs: int

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def observe(self, levels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return what of images of grey `levels` is modelled, as floating-point numbers."""
        return levels.to(torch.get_default_dtype())

    def scaled(self, x: Tensor) -> Tensor:
        """Return observations as numbers from -1 to 1, for a network to read."""
        return x * (2 / (self.levels - 1)) - 1

    @abstractmethod
    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the log probability of observations `x`, (*batch, pixels), in nats: shape `batch`.

        Args:
            x: what `observe` returns.
            params: the decoder's output, (*batch, pixels, outputs).
        """

    @abstractmethod
    def mean(self, params: Tensor) -> Tensor:
        """Return the expected levels, (*batch, pixels)."""

    @abstractmethod
    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return random levels, (*batch, pixels)."""


class Bernoulli(Likelihood):
    r"""Black or white pixels: $\log p = x \log \sigma(a) + (1 - x) \log \sigma(-a)$.

    Images with more than two levels are binarised anew each time they are looked at, with their
    intensity as the probability of white (dynamic binarisation, Salakhutdinov and Murray 2008).

    Args:
        levels: how many grey levels the images have.

    Example:
        >>> import torch
        >>> Bernoulli(2).log_prob(torch.tensor([1.0, 0.0]), torch.zeros(2, 1))
        tensor(-1.3863)
    """

    outputs = 1

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        logits = params.squeeze(-1)
        return (x * logits - F.softplus(logits)).sum(-1)

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(params.squeeze(-1)) * (self.levels - 1)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        white = torch.bernoulli(torch.sigmoid(params.squeeze(-1)), generator=generator)
        return white * (self.levels - 1)

    def observe(self, levels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(super().observe(levels) / (self.levels - 1), generator=generator)

    def scaled(self, x: Tensor) -> Tensor:
        return 2 * x - 1


class DiscretisedLogistic(Likelihood):
    r"""Grey levels as bins of a logistic distribution with predicted mean and scale.

    Level k of L is the bin [k/L, (k+1)/L), the first open to the left and the last to the right:

    $$p(k) = \sigma\big((b_{k+1} - \mu) / s\big) - \sigma\big((b_k - \mu) / s\big)$$

    with $b_0 = -\infty$, $b_L = \infty$, so that the levels' probabilities sum to one.

    Args:
        levels: how many grey levels there are.

    References:
        Kingma et al. 2016, arXiv 1606.04934, section 6.2.

    Example:
        >>> import torch
        >>> grey = torch.arange(17.0).unsqueeze(-1)
        >>> p = DiscretisedLogistic(17).log_prob(grey, torch.zeros(17, 1, 2)).exp()
        >>> torch.allclose(p.sum(), torch.tensor(1.0))
        True
    """

    outputs = 2

    def _location_scale(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-scale, with images scaled to [0, 1); the scale starts at 0.15."""
        mean, raw = params.unbind(-1)
        return mean + 0.5, 5 * torch.tanh(raw / 5) + math.log(0.15)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        mean, log_scale = self._location_scale(params)
        inverse = torch.exp(-log_scale)
        upper = ((x + 1) / self.levels - mean) * inverse
        width = inverse / self.levels
        lower = upper - width
        # sigma(u) - sigma(l) = sigma(u) sigma(-l) (1 - exp(l - u)), none of which cancels.
        inner = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
        tails = torch.where(x < 0.5, F.logsigmoid(upper), F.logsigmoid(-lower))
        edge = (x < 0.5) | (x > self.levels - 1.5)
        return torch.where(edge, tails, inner).sum(-1)

    def mean(self, params: Tensor) -> Tensor:
        mean, log_scale = self._location_scale(params)
        edges = torch.arange(1, self.levels, dtype=params.dtype, device=params.device)
        above = (mean.unsqueeze(-1) - edges / self.levels) / log_scale.exp().unsqueeze(-1)
        return torch.sigmoid(above).sum(-1)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, log_scale = self._location_scale(params)
        uniform = torch.rand(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        value = mean + log_scale.exp() * torch.logit(uniform, eps=1e-6)
        return torch.floor(value * self.levels).clamp(0, self.levels - 1)


#: Every likelihood that can be named.
LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "logistic": DiscretisedLogistic,
}
