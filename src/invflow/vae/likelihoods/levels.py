"""Distributions of grey levels, given the decoder's output for each pixel."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow import _checks


class Likelihood(nn.Module, ABC):
    """The distribution of an image with grey levels 0 .. levels - 1 and independent pixels.

    Args:
        levels: number of grey levels.

    Attributes:
        outputs: number of decoder outputs per pixel.
    """

    outputs: int
    #: The smallest number of levels; 0 for real numbers.
    fewest: ClassVar[int] = 2
    #: Whether observations that are `scaled` lie in [-1, 1].
    bounded: ClassVar[bool] = True

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = _checks.positive_integer("levels", levels, minimum=self.fewest)

    def options(self) -> dict[str, Any]:
        """Return the arguments that rebuild it, beside the number of levels."""
        return {}

    def check(self, values: Any) -> None:
        """Check what will be observed, (*batch, pixels).

        Raises:
            TypeError: if `values` is not a tensor of integers.
            ValueError: if one of them is out of range.
        """
        if not isinstance(values, Tensor):
            raise TypeError(
                f"levels must be a tensor of integers 0 .. {self.levels - 1}, got "
                f"{type(values).__name__}; torch.as_tensor turns arrays and lists into tensors"
            )
        if values.is_floating_point():
            raise TypeError(
                f"levels must be a tensor of integers 0 .. {self.levels - 1}, got {values.dtype}; "
                "give grey levels, not scaled images, or for real numbers build the model with "
                "levels=0 and likelihood='normal'"
            )
        if values.numel():
            low, high = (int(end) for end in values.aminmax())
            if low < 0 or high >= self.levels:
                raise ValueError(f"levels must lie in 0 .. {self.levels - 1}, got {low} to {high}")

    def observe(self, levels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the observations that are modelled, for images of grey `levels`, as floats."""
        return levels.to(torch.get_default_dtype())

    def scaled(self, x: Tensor) -> Tensor:
        """Return observations scaled to [-1, 1], as input of a network."""
        return x * (2 / (self.levels - 1)) - 1

    @abstractmethod
    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the log probability of observations `x`, (*batch, pixels), in nats, shape `batch`.

        Args:
            x: observations, as `observe` returns them.
            params: the decoder's output, (*batch, pixels, outputs).
        """

    @abstractmethod
    def mean(self, params: Tensor) -> Tensor:
        """Return the expected levels, (*batch, pixels)."""

    @abstractmethod
    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return sampled levels, (*batch, pixels)."""


class Bernoulli(Likelihood):
    r"""Black or white pixels: $\log p = x \log \sigma(a) + (1 - x) \log \sigma(-a)$.

    Images with more than two levels are binarised each time they are observed, with their intensity
    as the probability of white (dynamic binarisation, Salakhutdinov and Murray 2008).

    Args:
        levels: number of grey levels of the images.

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

    Level k of L is the bin [k/L, (k+1)/L); the first and the last bin extend to infinity:

    $$p(k) = \sigma\big((b_{k+1} - \mu) / s\big) - \sigma\big((b_k - \mu) / s\big)$$

    with $b_0 = -\infty$ and $b_L = \infty$, so that the probabilities sum to one.

    Args:
        levels: number of grey levels.

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
        """Return mean and log-scale of each pixel, for images scaled to [0, 1)."""
        mean, raw = params.unbind(-1)
        return mean + 0.5, _log_scale(raw)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        return _log_bin(x, *self._location_scale(params), self.levels).sum(-1)

    def mean(self, params: Tensor) -> Tensor:
        return _mean_level(*self._location_scale(params), self.levels)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return _draw_level(*self._location_scale(params), self.levels, generator)


class SharedLogistic(DiscretisedLogistic):
    """A `DiscretisedLogistic` with one learned scale for each channel.

    Args:
        levels: number of levels.
        channels: number of channels; images are flattened channel by channel.

    References:
        Kingma et al. 2016, arXiv 1606.04934, section 6.2.

    Example:
        >>> import torch
        >>> SharedLogistic(256, channels=3).log_prob(torch.zeros(12), torch.zeros(12, 1)).shape
        torch.Size([])
    """

    outputs = 1

    def __init__(self, levels: int, channels: int = 1) -> None:
        super().__init__(levels)
        self.raw_scale = nn.Parameter(torch.zeros(_checks.positive_integer("channels", channels)))

    def options(self) -> dict[str, Any]:
        return {"channels": len(self.raw_scale)}

    def _location_scale(self, params: Tensor) -> tuple[Tensor, Tensor]:
        mean, channels = params.squeeze(-1), len(self.raw_scale)
        if mean.shape[-1] % channels:
            raise ValueError(
                f"pixels must be a multiple of {channels} channels, got {mean.shape[-1]}"
            )
        raw = self.raw_scale.repeat_interleave(mean.shape[-1] // channels).to(mean)
        return mean + 0.5, _log_scale(raw).expand(mean.shape)


class LogisticMixture(Likelihood):
    r"""Grey levels as bins of a mixture of logistic distributions: $p(k) = \sum_j w_j p_j(k)$.

    The decoder outputs the logits of the weights, the means and the log-scales for each pixel. The
    means start spread over the levels.

    Args:
        levels: number of grey levels.
        components: number of logistic distributions.

    References:
        Salimans et al. 2017, arXiv 1701.05517, section 2.1.

    Example:
        >>> import torch
        >>> grey = torch.arange(17.0).unsqueeze(-1)
        >>> p = LogisticMixture(17, components=3).log_prob(grey, torch.randn(1, 9)).exp()
        >>> torch.allclose(p.sum(), torch.tensor(1.0))
        True
    """

    def __init__(self, levels: int, components: int = 5) -> None:
        super().__init__(levels)
        self.components = _checks.positive_integer("components", components)
        self.outputs = 3 * self.components

    def options(self) -> dict[str, Any]:
        return {"components": self.components}

    def _parts(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-weights, means and log-scales, (*batch, pixels, components)."""
        logits, mean, raw = params.unflatten(-1, (3, self.components)).unbind(-2)
        centres = (_numbers(self.components, params) + 0.5) / self.components
        return logits.log_softmax(-1), mean + centres, _log_scale(raw)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        log_weights, mean, log_scale = self._parts(params)
        bins = _log_bin(x.unsqueeze(-1), mean, log_scale, self.levels)
        return (log_weights + bins).logsumexp(-1).sum(-1)

    def mean(self, params: Tensor) -> Tensor:
        log_weights, mean, log_scale = self._parts(params)
        return (log_weights.exp() * _mean_level(mean, log_scale, self.levels)).sum(-1)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        log_weights, *parts = self._parts(params)
        which = _choose(log_weights, generator).unsqueeze(-1)
        mean, log_scale = (part.take_along_dim(which, -1).squeeze(-1) for part in parts)
        return _draw_level(mean, log_scale, self.levels, generator)


class Categorical(Likelihood):
    """Grey levels as classes, with a predicted logit for each.

    Args:
        levels: number of grey levels.

    Example:
        >>> import torch
        >>> Categorical(4).log_prob(torch.tensor([0.0, 3.0]), torch.zeros(2, 4))
        tensor(-2.7726)
    """

    def __init__(self, levels: int) -> None:
        super().__init__(levels)
        self.outputs = self.levels

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        index = x.long().unsqueeze(-1)
        log_p, index = torch.broadcast_tensors(params.log_softmax(-1), index)
        return log_p.gather(-1, index[..., :1]).squeeze(-1).sum(-1)

    def mean(self, params: Tensor) -> Tensor:
        return (params.softmax(-1) * _numbers(self.levels, params)).sum(-1)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return _choose(params.log_softmax(-1), generator).to(params.dtype)


class Gaussian(Likelihood):
    r"""Levels as real numbers, with a Gaussian density.

    $$\log p(x) = \log N\big(x / (L - 1);\ \mu, s\big) - \log (L - 1)$$

    with predicted mean and scale; the density is that of x in units of levels.

    Args:
        levels: number of levels L; the largest is L - 1.

    Example:
        >>> import torch
        >>> Gaussian(2).log_prob(torch.tensor([0.5]), torch.zeros(1, 2))
        tensor(0.9782)
    """

    outputs = 2

    def _normal(self, params: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = params.unbind(-1)
        return mean + 0.5, _log_scale(raw)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        mean, log_scale = self._normal(params)
        away = (x / (self.levels - 1) - mean) * torch.exp(-log_scale)
        constant = 0.5 * math.log(2 * math.pi) + math.log(self.levels - 1)
        return (-0.5 * away.square() - log_scale - constant).sum(-1)

    def mean(self, params: Tensor) -> Tensor:
        return self._normal(params)[0] * (self.levels - 1)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, log_scale = self._normal(params)
        noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        return (mean + log_scale.exp() * noise) * (self.levels - 1)


def _numbers(count: int, like: Tensor) -> Tensor:
    """Return 0 .. count - 1, made where `like` is: a copy from the host would be waited for."""
    return torch.arange(count, dtype=like.dtype, device=like.device)


def _log_scale(raw: Tensor) -> Tensor:
    """Return the log-scale for images scaled to [0, 1]: softly bounded, log 0.15 at raw 0."""
    return 5 * torch.tanh(raw / 5) + math.log(0.15)


def _log_bin(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Return the log probability of the bin of level `x`."""
    inverse = torch.exp(-log_scale)
    upper = ((x + 1) / levels - mean) * inverse
    width = inverse / levels
    lower = upper - width
    # sigma(u) - sigma(l) = sigma(u) sigma(-l) (1 - exp(l - u)), which avoids cancellation.
    inner = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
    tails = torch.where(x < 0.5, F.logsigmoid(upper), F.logsigmoid(-lower))
    edge = (x < 0.5) | (x > levels - 1.5)
    return torch.where(edge, tails, inner)


def _mean_level(mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Return the expected level: the sum over edges of the probability of lying above."""
    edges = torch.arange(1, levels, dtype=mean.dtype, device=mean.device)
    above = (mean.unsqueeze(-1) - edges / levels) / log_scale.exp().unsqueeze(-1)
    return torch.sigmoid(above).sum(-1)


def _draw_level(
    mean: Tensor, log_scale: Tensor, levels: int, generator: torch.Generator | None
) -> Tensor:
    uniform = torch.rand(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
    value = mean + log_scale.exp() * torch.logit(uniform, eps=1e-6)
    return torch.floor(value * levels).clamp(0, levels - 1)


def _choose(log_weights: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return a random index along the last dimension, for each entry of the others."""
    rows = log_weights.exp().flatten(0, -2)
    return torch.multinomial(rows, 1, generator=generator).reshape(log_weights.shape[:-1])


#: All likelihoods by name.
LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "logistic": DiscretisedLogistic,
    "shared-logistic": SharedLogistic,
    "logistic-mixture": LogisticMixture,
    "categorical": Categorical,
    "gaussian": Gaussian,
}
