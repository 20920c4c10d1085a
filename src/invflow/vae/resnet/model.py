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
from invflow.vae.likelihoods.levels import Likelihood
from invflow.vae.models.base import MODELS, Elbo, LatentModel
from invflow.vae.networks.maps import ToPixels
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

    A 5x5 convolution of stride 2 maps the image to features, and each layer has a block that passes
    features up. The downward blocks start from learned features at the top, draw the latents of
    each layer and pass both down; a transposed 5x5 convolution of stride 2 outputs the parameters
    of the pixels. All convolutions except those of the flows are weight-normalised, and
    `networks.starting` sets their scales from one batch; the flows start near the identity. Each
    latent map is a group of latents for free bits, summed over its pixels.

    With `given` C > 0, the model is conditional on C numbers c for each image. Linear maps of c are
    added to the features where they start, at the stem and at the top. From there they reach every
    block, prior, posterior and the head.

    Args:
        shape: channels, height and width of an image.
        levels: number of grey levels; pixels take values 0 .. levels - 1. 0 for real numbers.
        likelihood: one of `LIKELIHOODS`, "normal" for real numbers, or a `Likelihood`.
        depths: number of layers at each resolution, starting next to the image. The first
            resolution is half the image's; each later one is half the one before.
        feature_maps: number of feature maps.
        latent_maps: number of latent maps in each layer.
        inference: "top-down" (bidirectional) or "bottom-up".
        flow_transforms: number of IAF transforms in each layer; 0 for Gaussian posteriors.
        flow_hidden_features: feature maps in the hidden layers of each transform's network; empty
            for a linear IAF.
        flow_map: univariate map of the transforms: "affine", "additive" (location only), ...
        given: C, number of values on which the model is conditional; 0 for none.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a size is out of range, or a name is unknown.

    References:
        Kingma et al. 2016, arXiv 1606.04934, sections 5 and 6.2 and appendix C.

    Example:
        >>> import torch
        >>> vae = ResNetVAE((1, 8, 8), levels=17, depths=(2,), feature_maps=8, latent_maps=2)
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
        feature_maps: int = 32,
        latent_maps: int = 8,
        inference: str = "top-down",
        flow_transforms: int = 1,
        flow_hidden_features: Sequence[int] = (32,),
        flow_map: str = "affine",
        given: int = 0,
    ) -> None:
        super().__init__(shape, levels, likelihood, given)
        self.config = {
            "depths": depths,
            "feature_maps": feature_maps,
            "latent_maps": latent_maps,
            "inference": inference,
            "flow_transforms": flow_transforms,
            "flow_hidden_features": flow_hidden_features,
            "flow_map": flow_map,
            "given": given,
        }
        kind = INFERENCES[_checks.choice("inference", inference, INFERENCES)]
        feature_maps = _checks.positive_integer("feature_maps", feature_maps)
        latent_maps = _checks.positive_integer("latent_maps", latent_maps)
        depths = _checks.widths("depths", depths)
        if not depths:
            raise ValueError("depths must hold at least one number of layers, got ()")
        flow_transforms = _checks.positive_integer("flow_transforms", flow_transforms, minimum=0)
        hidden = _checks.widths("flow_hidden_features", flow_hidden_features)

        # The stem halves the image, and the first layer of each later resolution halves it again.
        strides = [1] * depths[0]
        for depth in depths[1:]:
            strides += [2] + [1] * (depth - 1)
        sizes = image_sizes(self.shape, [2, *strides])[1:]
        self.layers = nn.ModuleList(
            kind(
                *(size, below, feature_maps, latent_maps, [hidden] * flow_transforms, flow_map),
                highest=place == len(strides),
            )
            for place, (below, size) in enumerate(pairwise(sizes), start=1)
        )
        self.stem = WeightNormConv2d(self.shape[0], feature_maps, 5, stride=2)
        self.top = nn.Parameter(torch.zeros(feature_maps))
        self.head = WeightNormConvTranspose2d(
            feature_maps,
            self.shape[0] * self.likelihood.outputs,
            5,
            stride=2,
            size=self.shape[1:],
            scale=0.1,
        )
        self.given_up = nn.Linear(self.given, feature_maps) if given else None
        self.given_down = nn.Linear(self.given, feature_maps) if given else None
        self.to_pixels = ToPixels(self.shape[0])
        self.sizes = sizes[1:]
        self.latent_maps = latent_maps
        self.latents = sum(self._counts())

    @property
    def parts(self) -> Sequence[nn.Module]:
        return [self.stem, *self.layers, self.head]

    def elbo(
        self, x: Tensor, generator: torch.Generator | None = None, given: Tensor | None = None
    ) -> Elbo:
        self._check(x)
        rows = x.reshape(-1, self.pixels)
        latents, params = self._infer(rows, 1, generator, self._row_by_row(given, x.shape[:-1]))
        kls = torch.cat([latent.kl.sum((-2, -1)) for latent in latents], 1)
        fit = self.likelihood.log_prob(rows, params)
        return Elbo(fit.reshape(x.shape[:-1]), kls.reshape(*x.shape[:-1], kls.shape[1]))

    def draw(
        self,
        x: Tensor,
        samples: int,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        self._check_rows(x, samples)
        latents, params = self._infer(x, samples, generator, self._given(given, x.shape[:1]))
        ratio = torch.stack([latent.log_ratio.sum((1, 2, 3)) for latent in latents]).sum(0)
        z = torch.cat([latent.z.flatten(1) for latent in latents], 1)
        fit = self.likelihood.log_prob(x, params.unflatten(0, (samples, len(x))))
        return z.unflatten(0, (samples, len(x))), fit - ratio.unflatten(0, (samples, len(x)))

    def importance_bound(
        self,
        x: Tensor,
        samples: int = 8,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """Return the importance-weighted bound of observations, differentiable for training.

        The gradient is the plain reparameterised one: the doubly reparameterised one needs the
        density of given latents in every layer, whose features the posterior and the decoder share.
        See `LatentModel.importance_bound`.
        """
        return self.draw(x, samples, generator, given)[1].logsumexp(0) - math.log(samples)

    def decode(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        self._check_latents(z)
        parts = iter(z.reshape(-1, self.latents).split(self._counts(), 1))
        h = self._top(math.prod(z.shape[:-1]), self._row_by_row(given, z.shape[:-1]))
        for layer, part in zip(self._downwards(), parts, strict=True):
            h = layer.generate(h, part.unflatten(1, (self.latent_maps, *layer.size)))
        return self._params(h).reshape(*z.shape[:-1], self.pixels, self.likelihood.outputs)

    def draw_prior(
        self, count: int, generator: torch.Generator | None = None, given: Tensor | None = None
    ) -> Tensor:
        h = self._top(count, self._given(given, torch.Size([count])))
        latents: list[Tensor] = []
        for layer, noise in zip(self._downwards(), self._noise(count, generator), strict=True):
            z = layer.normal(h).draw(noise)
            h = layer.generate(h, z)
            latents.append(z.flatten(1))
        return torch.cat(latents, 1)

    def _infer(
        self, x: Tensor, samples: int, generator: torch.Generator | None, given: Tensor | None
    ) -> tuple[list[Latent], Tensor]:
        """Return latents from the top layer down, and parameters, for samples times batch rows."""
        noise = self._noise(samples * len(x), generator)
        h = self.stem(self.likelihood.scaled(x).unflatten(1, self.shape))
        if self.given_up is not None:
            h = h + self.given_up(given)[..., None, None]
        evidence: list[Any] = []
        for layer, each in zip(self._upwards(), reversed(noise), strict=True):
            h, found = layer("up", h, each)
            evidence.append(found)
        h = self._top(samples * len(x), None if given is None else given.repeat(samples, 1))
        latents: list[Latent] = []
        for layer, each, found in zip(self._downwards(), noise, reversed(evidence), strict=True):
            h, latent = layer("down", h, found, each)
            latents.append(latent)
        return latents, self._params(h)

    def _top(self, rows: int, given: Tensor | None) -> Tensor:
        """Return the features at the top, (rows, feature_maps, height, width)."""
        h = self.top if self.given_down is None else self.top + self.given_down(given)
        return h[..., None, None].expand(rows, -1, *self.sizes[-1])

    def _row_by_row(self, given: Tensor | None, batch: torch.Size) -> Tensor | None:
        c = self._given(given, batch)
        return None if c is None else c.reshape(-1, self.given)

    def _params(self, h: Tensor) -> Tensor:
        """Return the parameters of the pixels, (n, pixels, outputs)."""
        return self.to_pixels(self.head(F.elu(h))).to(self.like.dtype)

    def _noise(self, rows: int, generator: torch.Generator | None) -> list[Tensor]:
        """Return standard normal maps for each layer, from the top down."""
        like = self.like
        shapes = [(rows, self.latent_maps, *size) for size in reversed(self.sizes)]
        return [
            torch.randn(shape, dtype=like.dtype, device=like.device, generator=generator)
            for shape in shapes
        ]

    def _counts(self) -> list[int]:
        return [self.latent_maps * math.prod(size) for size in reversed(self.sizes)]

    def _upwards(self) -> Sequence[ResidualLayer]:
        return cast(Sequence[ResidualLayer], list(self.layers))

    def _downwards(self) -> Sequence[ResidualLayer]:
        return self._upwards()[::-1]


MODELS["resnet-vae"] = ResNetVAE
