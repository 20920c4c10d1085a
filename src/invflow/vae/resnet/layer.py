"""A layer of the ResNet VAE: a residual block upwards, one downwards, latent maps between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow.vae.networks.weightnorm import WeightNormConv2d
from invflow.vae.resnet.maps import Gaussian, MapPosterior

#: How much of what a block has made is added to its input.
RESIDUAL = 0.1


class Latent(NamedTuple):
    """A layer's latent maps, drawn from the posterior, (n, maps, height, width).

    Attributes:
        z: the maps.
        log_ratio: log q(z) - log p(z) at the draw, of each entry, in nats.
        kl: of the same mean over draws: the divergence in closed form where there is one, and
            otherwise `log_ratio`.
    """

    z: Tensor
    log_ratio: Tensor
    kl: Tensor


class ResidualLayer(nn.Module, ABC):
    r"""What layers of either inference have in common.

    Features go up as $h \to h + 0.1\, B(h)$, and down as $h \to h + 0.1\, D(z, h)$ with
    $z \sim N(\mu_p(h), \sigma_p(h))$ where nothing is inferred. The blocks B and D are two 3x3
    convolutions each, with an ELU before each. A layer with a larger resolution below halves the
    features on the way up and doubles them on the way down, taking the nearest pixels. Nothing
    goes up from the highest layer.

    Args:
        size: height and width of the latent maps and the features above.
        below: height and width of the features below.
        features: feature maps.
        maps: latent maps.
        steps: maps in the hidden layers of each IAF step's network; no steps, a normal posterior.
        map: the univariate map of the IAF steps.
        highest: whether no layer is above.

    References:
        Kingma et al. 2016, arXiv 1606.04934, section 5 and figure 3.
    """

    #: Whether the latents go up too.
    upwards: ClassVar[bool]

    def __init__(
        self,
        size: Sequence[int],
        below: Sequence[int],
        features: int,
        maps: int,
        steps: Sequence[Sequence[int]] = (),
        map: str = "affine",
        *,
        highest: bool = False,
    ) -> None:
        super().__init__()
        self.size, self.below = tuple(size), tuple(below)
        stride = 1 if self.size == self.below else 2
        self.posterior = MapPosterior((maps, *self.size), features if steps else 0, steps, map)
        self.up_normal = _convolution(features, 2 * maps, stride, scale=0.1)
        self.up_context = _convolution(features, features, stride) if steps else None
        self.up_in = None if highest else _convolution(features, features, stride)
        going_up = features + maps * self.upwards
        self.up_out = None if highest else _convolution(going_up, features)
        self.prior = _convolution(features, 2 * maps, scale=0.1)
        self.down_in = _convolution(features, features)
        self.down_out = _convolution(features + maps, features)

    @abstractmethod
    def up(self, h: Tensor, noise: Tensor) -> tuple[Tensor, Any]:
        """Return the features above, and what `down` wants to know of the image.

        Args:
            h: features below, (n, features, *below).
            noise: standard normal, (s n, maps, *size), for s draws of each image.
        """

    @abstractmethod
    def down(self, h: Tensor, evidence: Any, noise: Tensor) -> tuple[Tensor, Latent]:
        """Return the features below, and latents drawn from the posterior.

        Args:
            h: features above, (s n, features, *size).
            evidence: what `up` has returned.
            noise: that given to `up`.
        """

    def forward(self, way: Literal["up", "down"], *given: Any) -> tuple[Tensor, Any]:
        """Return what `up` or `down` does: of a module, the call is what gets compiled."""
        return self.up(*given) if way == "up" else self.down(*given)

    def normal(self, h: Tensor) -> Gaussian:
        """Return the prior of the latents, given the features above."""
        return Gaussian.of(*self.prior(F.elu(h)).chunk(2, 1))

    def generate(self, h: Tensor, z: Tensor) -> Tensor:
        """Return the features below, given those above and the latents."""
        block = torch.cat([z, F.elu(self.down_in(F.elu(h)))], 1)
        return _resized(h, self.below) + RESIDUAL * self.down_out(_resized(block, self.below))

    def _above(self, h: Tensor, *latents: Tensor) -> Tensor:
        if self.up_in is None or self.up_out is None:
            return h
        block = torch.cat([*latents, F.elu(self.up_in(F.elu(h)))], 1)
        return _resized(h, self.size) + RESIDUAL * self.up_out(block)


class TopDownLayer(ResidualLayer):
    r"""A layer inferred on the way down, from what came up and what comes down ("bidirectional").

    $$q(z|h, x) = \mathrm{IAF}\big(N(\mu_u + \mu_d,\ \sigma_u \sigma_d);\ c_u + c_d\big)$$

    with u from the upward pass and d from the downward one. The arguments are those of
    `ResidualLayer`.
    """

    upwards = False

    def __init__(
        self,
        size: Sequence[int],
        below: Sequence[int],
        features: int,
        maps: int,
        *args: Any,
        **options: Any,
    ) -> None:
        super().__init__(size, below, features, maps, *args, **options)
        self.down_normal = _convolution(features, 2 * maps, scale=0.1)
        self.down_context = None if self.up_context is None else _convolution(features, features)

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
    r"""A layer inferred on the way up, whose latents go up too.

    $$q(z|h_u) = \mathrm{IAF}\big(N(\mu_u, \sigma_u);\ c_u\big)$$

    The latents above depend on z, and the prior of z on them: given them z is no longer a draw of
    q, whose divergence from the prior is therefore not in the bound, even where both are normal.
    The arguments are those of `ResidualLayer`.
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
    """Return maps of n images again and again, so many rows in all."""
    return values if len(values) == rows else values.repeat(rows // len(values), 1, 1, 1)


def _convolution(inputs: int, outputs: int, stride: int = 1, scale: float = 1.0) -> nn.Module:
    return WeightNormConv2d(inputs, outputs, 3, stride=stride, padding=1, scale=scale)


def _resized(values: Tensor, size: tuple[int, ...]) -> Tensor:
    return values if values.shape[-2:] == size else F.interpolate(values, size, mode="nearest")
