"""A layer of the ResNet VAE: an upward and a downward residual block, with latent maps between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow.vae.networks.weightnorm import WeightNormConv2d
from invflow.vae.resnet.maps import Gaussian, MapPosterior

#: Scale of a residual block's output when it is added to the block's input.
RESIDUAL = 0.1


class Latent(NamedTuple):
    """A layer's latent maps, drawn from the posterior, (n, latent_maps, height, width).

    Attributes:
        z: the maps.
        log_ratio: log q(z) - log p(z) at the draw, for each entry, in nats.
        kl: the KL divergence in closed form where there is one, otherwise `log_ratio`, whose
            expectation it is.
    """

    z: Tensor
    log_ratio: Tensor
    kl: Tensor


class ResidualLayer(nn.Module, ABC):
    r"""The base class of layers of both kinds of inference.

    The upward pass is $h \to h + 0.1\, B(h)$. The downward pass is $h \to h + 0.1\, D(z, h)$, with
    $z \sim N(\mu_p(h), \sigma_p(h))$ when sampling from the prior. The blocks B and D have two 3x3
    convolutions each, each after an ELU. Where the features below have a higher resolution, the
    layer halves it in the upward pass and doubles it in the downward pass, by nearest neighbours.
    The top layer passes nothing up.

    Args:
        size: height and width of the latent maps and of the features above.
        below: height and width of the features below.
        feature_maps: number of feature maps.
        latent_maps: number of latent maps.
        steps: for each IAF transform, the feature maps in its network's hidden layers; empty for a
            Gaussian posterior.
        map: univariate map of the IAF transforms.
        highest: whether this is the top layer.

    References:
        Kingma et al. 2016, arXiv 1606.04934, section 5 and figure 3.
    """

    #: Whether the upward pass includes the latents.
    upwards: ClassVar[bool]

    def __init__(
        self,
        size: Sequence[int],
        below: Sequence[int],
        feature_maps: int,
        latent_maps: int,
        steps: Sequence[Sequence[int]] = (),
        map: str = "affine",
        *,
        highest: bool = False,
    ) -> None:
        super().__init__()
        self.size, self.below = tuple(size), tuple(below)
        self.feature_maps, self.latent_maps = feature_maps, latent_maps
        stride = 1 if self.size == self.below else 2
        context = feature_maps if steps else 0
        self.posterior = MapPosterior((latent_maps, *self.size), context, steps, map)
        self.up_normal = _convolution(feature_maps, 2 * latent_maps, stride, scale=0.1)
        self.up_context = _convolution(feature_maps, feature_maps, stride) if steps else None
        self.up_in = None if highest else _convolution(feature_maps, feature_maps, stride)
        going_up = feature_maps + latent_maps * self.upwards
        self.up_out = None if highest else _convolution(going_up, feature_maps)
        self.prior = _convolution(feature_maps, 2 * latent_maps, scale=0.1)
        self.down_in = _convolution(feature_maps, feature_maps)
        self.down_out = _convolution(feature_maps + latent_maps, feature_maps)

    @abstractmethod
    def up(self, h: Tensor, noise: Tensor) -> tuple[Tensor, Any]:
        """Return the features above, and the evidence that `down` takes.

        Args:
            h: features below, (n, feature_maps, *below).
            noise: standard normal, (s n, latent_maps, *size), for s draws per image.
        """

    @abstractmethod
    def down(self, h: Tensor, evidence: Any, noise: Tensor) -> tuple[Tensor, Latent]:
        """Return the features below, and latents drawn from the posterior.

        Args:
            h: features above, (s n, feature_maps, *size).
            evidence: what `up` returned.
            noise: the noise that `up` was given.
        """

    def forward(self, direction: Literal["up", "down"], *given: Any) -> tuple[Tensor, Any]:
        """Run `up` or `down`: compiling a module compiles its call alone."""
        return self.up(*given) if direction == "up" else self.down(*given)

    def normal(self, h: Tensor) -> Gaussian:
        """Return the prior of the latents, given the features above."""
        return Gaussian.of(*self.prior(F.elu(h)).chunk(2, 1))

    def generate(self, h: Tensor, z: Tensor) -> Tensor:
        """Return the features below, given the features above and the latents."""
        block = torch.cat([z, F.elu(self.down_in(F.elu(h)))], 1)
        return _resized(h, self.below) + RESIDUAL * self.down_out(_resized(block, self.below))

    def _above(self, h: Tensor, *latents: Tensor) -> Tensor:
        if self.up_in is None or self.up_out is None:
            return h
        block = torch.cat([*latents, F.elu(self.up_in(F.elu(h)))], 1)
        return _resized(h, self.size) + RESIDUAL * self.up_out(block)


class TopDownLayer(ResidualLayer):
    r"""A layer whose posterior combines the upward and the downward pass ("bidirectional").

    $$q(z|h, x) = \mathrm{IAF}\big(N(\mu_u + \mu_d,\ \sigma_u \sigma_d);\ c_u + c_d\big)$$

    with u from the upward pass and d from the downward pass. Takes the arguments of
    `ResidualLayer`.
    """

    upwards = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        maps = self.feature_maps
        self.down_normal = _convolution(maps, 2 * self.latent_maps, scale=0.1)
        self.down_context = None if self.up_context is None else _convolution(maps, maps)

    def up(self, h: Tensor, noise: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor | None]]:
        active = F.elu(h)
        context = None if self.up_context is None else self.up_context(active)
        return self._above(h), (self.up_normal(active), context)

    def down(
        self, h: Tensor, evidence: tuple[Tensor, Tensor | None], noise: Tensor
    ) -> tuple[Tensor, Latent]:
        normal, context = evidence
        active = F.elu(h)
        normal = repeated(normal, len(h)) + self.down_normal(active)
        if context is not None and self.down_context is not None:
            context = repeated(context, len(h)) + self.down_context(active)
        q = Gaussian.of(*normal.chunk(2, 1))
        z, log_q = self.posterior(q, context, noise)
        p = self.normal(h)
        log_ratio = log_q - p.log_prob(z)
        kl = log_ratio if self.posterior.steps else q.kl_from(p)
        return self.generate(h, z), Latent(z, log_ratio, kl)


class BottomUpLayer(ResidualLayer):
    r"""A layer whose posterior and latents belong to the upward pass.

    $$q(z|h_u) = \mathrm{IAF}\big(N(\mu_u, \sigma_u);\ c_u\big)$$

    The latents above depend on z, and the prior of z depends on them. Given them, z does not
    follow q any more, so the bound uses the log ratio even where both distributions are Gaussian.
    Takes the arguments of `ResidualLayer`.
    """

    upwards = True

    def up(self, h: Tensor, noise: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h = repeated(h, len(noise))
        active = F.elu(h)
        q = Gaussian.of(*self.up_normal(active).chunk(2, 1))
        context = None if self.up_context is None else self.up_context(active)
        z, log_q = self.posterior(q, context, noise)
        return self._above(h, z), (z, log_q)

    def down(
        self, h: Tensor, evidence: tuple[Tensor, Tensor], noise: Tensor
    ) -> tuple[Tensor, Latent]:
        z, log_q = evidence
        log_ratio = log_q - self.normal(h).log_prob(z)
        return self.generate(h, z), Latent(z, log_ratio, log_ratio)


def repeated(values: Tensor, rows: int) -> Tensor:
    """Repeat the maps of n images until there are `rows` rows."""
    return values if len(values) == rows else values.repeat(rows // len(values), 1, 1, 1)


def _convolution(inputs: int, outputs: int, stride: int = 1, scale: float = 1.0) -> nn.Module:
    return WeightNormConv2d(inputs, outputs, 3, stride, scale=scale)


def _resized(values: Tensor, size: tuple[int, ...]) -> Tensor:
    return values if values.shape[-2:] == size else F.interpolate(values, size, mode="nearest")
