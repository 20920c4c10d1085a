"""The ResNet VAE: a stem, layers, and a head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow import _checks
from invflow.vae.base import Elbo, LatentModel
from invflow.vae.likelihood import Likelihood
from invflow.vae.networks.maps import ToPixels, output_padding
from invflow.vae.networks.maps import sizes as image_sizes
from invflow.vae.networks.weightnorm import WeightNormConv2d, WeightNormConvTranspose2d
from invflow.vae.resnet.layer import BottomUpLayer, Latent, ResidualLayer, TopDownLayer

INFERENCES: dict[str, type[ResidualLayer]] = {
    "top-down": TopDownLayer,
    "bottom-up": BottomUpLayer,
}


class ResNetVAE(LatentModel):
    r"""The IAF paper's ResNet VAE: layers of latent maps with IAF posteriors.

    $$\log p(x) \ge E_q\Big[\log p(x|z) + \sum_l \log p(z_l|z_{>l}) - \log q(z_l|\cdot)\Big]$$

    A 5x5 convolution of stride 2 takes the image to features; the layers' upward blocks take these
    up; their downward blocks come down from learned features at the top, draw the latents of each
    layer and pass them on; a transposed 5x5 convolution of stride 2 gives the parameters of the
    pixels. All convolutions but those of the IAF steps are weight-normalised, and
    `networks.starting` sets their scales from one batch; IAF steps start near the identity. Each
    layer's latent maps are groups of latents (free bits), summed over space.

    Args:
        shape: channels, height and width of an image.
        levels: grey levels, the values of pixels being 0 .. levels - 1.
        likelihood: one of `LIKELIHOODS`, or a `Likelihood`.
        depths: layers at each resolution, from the image upwards; the first has half of the
            image's, each further one half of that before.
        features: feature maps.
        maps: latent maps of each layer.
        inference: "top-down" (bidirectional) or "bottom-up".
        flow_steps: IAF steps of each layer; 0 for normal posteriors.
        flow_hidden: maps in the hidden layers of each step's network; none for a linear IAF.
        flow_map: the univariate map of the steps: "affine", "additive" (location only), ...

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: a size out of range, or an unknown name.

    References:
        Kingma et al. 2016, arXiv 1606.04934, sections 5 and 6.2 and appendix C.

    Example:
        >>> import torch
        >>> vae = ResNetVAE((1, 8, 8), levels=17, depths=(2,), features=8, maps=2)
        >>> elbo = vae.elbo(vae.likelihood.observe(torch.randint(17, (5, 64))))
        >>> elbo.bound.shape, elbo.kls.shape
        (torch.Size([5]), torch.Size([5, 4]))
        >>> vae.sample(3).shape
        torch.Size([3, 64])
    """

    def __init__(
        self,
        shape: Sequence[int],
        levels: int,
        likelihood: str | Likelihood = "logistic",
        depths: Sequence[int] = (4,),
        features: int = 32,
        maps: int = 8,
        inference: str = "top-down",
        flow_steps: int = 1,
        flow_hidden: Sequence[int] = (32,),
        flow_map: str = "affine",
    ) -> None:
        super().__init__(shape, levels, likelihood)
        kind = INFERENCES[_checks.choice("inference", inference, INFERENCES)]
        features = _checks.positive_integer("features", features)
        maps = _checks.positive_integer("maps", maps)
        depths = _checks.widths("depths", depths)
        if not depths:
            raise ValueError("depths must hold at least one number of layers, got none")
        flow_steps = _checks.positive_integer("flow_steps", flow_steps, minimum=0)
        hidden = _checks.widths("flow_hidden", flow_hidden)

        # The stem halves the image, and the first layer of each further resolution halves again.
        strides = [1] * depths[0]
        for depth in depths[1:]:
            strides += [2] + [1] * (depth - 1)
        sizes = image_sizes(self.shape, [2, *strides])[1:]
        self.layers = nn.ModuleList(
            kind(
                *(size, below, features, maps, [hidden] * flow_steps, flow_map),
                highest=place == len(strides),
            )
            for place, (below, size) in enumerate(pairwise(sizes), start=1)
        )
        self.stem = WeightNormConv2d(self.shape[0], features, 5, stride=2, padding=2)
        self.top = nn.Parameter(torch.zeros(features))
        self.head = WeightNormConvTranspose2d(
            features,
            self.shape[0] * self.likelihood.outputs,
            5,
            stride=2,
            padding=2,
            output_padding=output_padding(self.shape[1:], 2),
            scale=0.1,
        )
        self.to_pixels = ToPixels(self.shape[0])
        self.sizes = sizes[1:]
        self.maps = maps
        self.latents = sum(maps * math.prod(size) for size in self.sizes)

    @property
    def parts(self) -> Sequence[nn.Module]:
        return [self.stem, *self.layers, self.head]

    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Elbo:
        self._check(x)
        rows = x.reshape(-1, self.pixels)
        latents, params = self._infer(rows, 1, generator)
        kls = torch.cat([latent.kl.sum((-2, -1)) for latent in latents], 1)
        fit = self.likelihood.log_prob(rows, params)
        return Elbo(fit.reshape(x.shape[:-1]), kls.reshape(*x.shape[:-1], -1))

    def draw(
        self, x: Tensor, samples: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        self._check_rows(x, samples)
        latents, params = self._infer(x, samples, generator)
        ratio = torch.stack([latent.log_ratio.sum((1, 2, 3)) for latent in latents]).sum(0)
        z = torch.cat([latent.z.flatten(1) for latent in latents], 1)
        fit = self.likelihood.log_prob(x, params.unflatten(0, (samples, -1)))
        return z.unflatten(0, (samples, -1)), fit - ratio.unflatten(0, (samples, -1))

    def importance_bound(
        self, x: Tensor, samples: int = 8, generator: torch.Generator | None = None
    ) -> Tensor:
        r"""Return the importance-weighted bound of observations, to be trained by.

        $$\log \frac1S \sum_s w_s, \qquad w_s = p(x|z_s)\, p(z_s) / q(z_s|x)$$

        Its gradient is the plain reparameterised one: the doubly reparameterised one would ask for
        densities of given latents in every layer, which share their features with the decoder.

        Args:
            x: observations, (batch, pixels).
            samples: S.
            generator: random numbers; torch's own by default.

        Returns:
            Bounds in nats, shape (batch,).

        References:
            Burda et al. 2016, arXiv 1509.00519.
        """
        return self.draw(x, samples, generator)[1].logsumexp(0) - math.log(samples)

    def decode(self, z: Tensor) -> Tensor:
        self._check_latents(z)
        parts = iter(z.reshape(-1, self.latents).split(self._counts(), 1))
        h = self._top(math.prod(z.shape[:-1]))
        for layer, part in zip(self._downwards(), parts, strict=True):
            h = layer.generate(h, part.unflatten(1, (self.maps, *layer.size)))
        return self._params(h).reshape(*z.shape[:-1], self.pixels, -1)

    def draw_prior(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        h = self._top(count)
        latents: list[Tensor] = []
        for layer, noise in zip(self._downwards(), self._noise(count, generator), strict=True):
            z = layer.normal(h).draw(noise)
            h = layer.generate(h, z)
            latents.append(z.flatten(1))
        return torch.cat(latents, 1)

    def _infer(
        self, x: Tensor, samples: int, generator: torch.Generator | None
    ) -> tuple[list[Latent], Tensor]:
        """Return latents from the top to the bottom, and parameters, of samples times batch."""
        noise = self._noise(samples * len(x), generator)
        h = self.stem(self.likelihood.scaled(x).unflatten(1, self.shape))
        evidence: list[Any] = []
        for layer, each in zip(self._upwards(), reversed(noise), strict=True):
            h, found = layer("up", h, each)
            evidence.append(found)
        h = self._top(samples * len(x))
        latents: list[Latent] = []
        for layer, each, found in zip(self._downwards(), noise, reversed(evidence), strict=True):
            h, latent = layer("down", h, found, each)
            latents.append(latent)
        return latents, self._params(h)

    def _top(self, rows: int) -> Tensor:
        return self.top[:, None, None].expand(rows, -1, *self.sizes[-1])

    def _params(self, h: Tensor) -> Tensor:
        """Return the parameters of the pixels, (n, pixels, outputs)."""
        return self.to_pixels(self.head(F.elu(h))).to(self.like.dtype)

    def _noise(self, rows: int, generator: torch.Generator | None) -> list[Tensor]:
        """Return standard normal maps for each layer, from the top to the bottom."""
        like = self.like
        shapes = [(rows, self.maps, *size) for size in reversed(self.sizes)]
        return [
            torch.randn(shape, dtype=like.dtype, device=like.device, generator=generator)
            for shape in shapes
        ]

    def _counts(self) -> list[int]:
        return [self.maps * math.prod(size) for size in reversed(self.sizes)]

    def _upwards(self) -> Sequence[ResidualLayer]:
        return cast(Sequence[ResidualLayer], list(self.layers))

    def _downwards(self) -> Sequence[ResidualLayer]:
        return self._upwards()[::-1]
