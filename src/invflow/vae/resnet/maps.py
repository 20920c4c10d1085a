"""Distributions of latent maps: Gaussians, and Gaussians followed by IAF transforms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from invflow.conditioners import MaskedConvolution
from invflow.transforms.precision import at_least_single
from invflow.univariate import univariate

#: Bound on the absolute value of a log standard deviation, in nats.
BOUND = 6.0


class Gaussian(NamedTuple):
    """Independent Gaussians for the entries of maps: means and log standard deviations."""

    mean: Tensor
    log_sd: Tensor

    @staticmethod
    def of(mean: Tensor, raw: Tensor) -> Gaussian:
        """Return Gaussians with softly bounded log standard deviations, at least in float32.

        Under autocast networks output half precision, too coarse for sums of densities.
        """
        dtype = at_least_single(mean.dtype)
        return Gaussian(mean.to(dtype), BOUND * torch.tanh(raw.to(dtype) / BOUND))

    def draw(self, noise: Tensor) -> Tensor:
        """Return draws from standard normal noise."""
        return self.mean + torch.exp(self.log_sd) * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density of each entry, in nats."""
        away = (z - self.mean) * torch.exp(-self.log_sd)
        return -0.5 * away.square() - self.log_sd - 0.5 * math.log(2 * math.pi)

    def kl_from(self, other: Gaussian) -> Tensor:
        """Return the KL divergence of each entry, KL(self || other), in nats."""
        away = (self.mean - other.mean) * torch.exp(-other.log_sd)
        ratio = self.log_sd - other.log_sd
        return 0.5 * (torch.expm1(2 * ratio) + away.square()) - ratio


class MapPosterior(nn.Module):
    r"""A Gaussian followed by IAF transforms: masked convolutions that take a context.

    $$z_0 \sim N(\mu, \sigma), \qquad z_{t} = u(z_{t-1};\, P_t(z_{t-1}, c))$$

    Autoregressive over pixels and channels; the maps are rotated by 180 degrees between transforms.

    Args:
        shape: number of latent maps, height and width.
        context: number of context maps.
        steps: for each transform, the feature maps in its network's hidden layers.
        map: the univariate map, by name: "affine", "gated", "additive" (location only), ...

    References:
        Kingma et al. 2016, arXiv 1606.04934, section 5 and appendix C.

    Example:
        >>> import torch
        >>> posterior = MapPosterior((2, 4, 4), context=3, steps=[(8,)])
        >>> normal = Gaussian(torch.zeros(5, 2, 4, 4), torch.zeros(5, 2, 4, 4))
        >>> z, log_q = posterior(normal, torch.randn(5, 3, 4, 4), torch.randn(5, 2, 4, 4))
        >>> z.shape, log_q.shape
        (torch.Size([5, 2, 4, 4]), torch.Size([5, 2, 4, 4]))
    """

    def __init__(
        self,
        shape: Sequence[int],
        context: int,
        steps: Sequence[Sequence[int]],
        map: str = "affine",
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.map = univariate(map)
        self.steps = nn.ModuleList(
            MaskedConvolution(
                math.prod(shape),
                self.map.start,
                hidden,
                context * math.prod(shape[1:]),
                shape=shape,
                context_kernel_size=1,
            )
            for hidden in steps
        )

    def forward(
        self, normal: Gaussian, context: Tensor | None, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return a draw, and the term of each entry in its log density.

        Args:
            normal: the distribution of z_0, (n, *shape).
            context: (n, context, height, width); None without transforms.
            noise: standard normal, (n, *shape).

        Returns:
            z, and terms that sum to log q(z), in nats; both (n, *shape).
        """
        z = normal.draw(noise)
        log_q = normal.log_prob(z)
        flat = None if context is None else context.flatten(1)
        for i, step in enumerate(self.steps):
            turned = i % 2 == 1
            # Features are ordered by pixel, then by channel.
            features = _features(z, turned)
            features, ladj = self.map.forward(features, step(features, flat))
            z = _maps(features, self.shape, turned)
            log_q = log_q - _maps(ladj.expand_as(features), self.shape, turned)
        return z, log_q


def _features(maps: Tensor, turned: bool) -> Tensor:
    features = maps.movedim(1, -1).flatten(1)
    return features.flip(-1) if turned else features


def _maps(features: Tensor, shape: Sequence[int], turned: bool) -> Tensor:
    features = features.flip(-1) if turned else features
    return features.unflatten(-1, (*shape[1:], shape[0])).movedim(-1, 1)
