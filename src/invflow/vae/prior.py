"""Priors by name: the distribution of the latents of a variational autoencoder."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow.flows import MAF, FlowDistribution, StandardNormal

#: Maps images, scaled to [-1, 1], to their posterior.
Encode = Callable[[Tensor], FlowDistribution]


class Prior(nn.Module, ABC):
    """The distribution of the latents before an image is observed.

    Args:
        latents: number of latent features.
    """

    def __init__(self, latents: int) -> None:
        super().__init__()
        self.latents = _checks.positive_integer("latents", latents)

    @abstractmethod
    def log_prob(self, z: Tensor, encode: Encode) -> Tensor:
        """Return the log density at latents `z`, (*batch, latents), in nats, shape `batch`.

        Args:
            z: latents.
            encode: the model's encoder, which maps scaled images to their posterior.
        """

    @abstractmethod
    def sample(
        self, count: int, encode: Encode, like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return `count` draws, (count, latents), with the dtype and device of `like`."""


class Normal(Prior):
    """A standard normal.

    Args:
        latents: number of latent features.
    """

    def __init__(self, latents: int) -> None:
        super().__init__(latents)
        self.base = StandardNormal(latents)

    def log_prob(self, z: Tensor, encode: Encode) -> Tensor:
        return self.base.log_prob(z)

    def sample(
        self, count: int, encode: Encode, like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.base.sample((count,), dtype=like.dtype, device=like.device, generator=generator)


class Autoregressive(Prior):
    r"""A masked autoregressive flow, trained with the model.

    The density of given latents takes one pass, and samples come from the cached inverse. Applying
    the same transform to the posterior's draws instead, under a normal prior, gives an IAF
    posterior: the two models have the same bound (Kingma et al. 2016, appendix D; Chen et al. 2017,
    section 3.2).

    Args:
        latents: number of latent features.
        transforms: number of flow transforms.
        hidden_features: widths of the hidden layers of each transform's network.

    References:
        Chen et al. 2017, arXiv 1611.02731; Papamakarios et al. 2017, arXiv 1705.07057.
    """

    def __init__(
        self, latents: int, transforms: int = 2, hidden_features: Sequence[int] = (128,)
    ) -> None:
        super().__init__(latents)
        self.flow = MAF(latents, 0, transforms, hidden_features)

    def log_prob(self, z: Tensor, encode: Encode) -> Tensor:
        return self.flow(validate_args=False).log_prob(z)

    def sample(
        self, count: int, encode: Encode, like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.flow().sample((count,), generator=generator)


class Vamp(Prior):
    r"""A mixture of the posteriors of learned pseudo-images: $p(z) = \frac1K \sum_k q(z|u_k)$.

    Each density takes K inverses of the posterior's flow.

    Args:
        latents: number of latent features.
        pixels: numbers per image.
        components: number of pseudo-images K.

    References:
        Tomczak and Welling 2018, arXiv 1705.07120.
    """

    def __init__(self, latents: int, pixels: int, components: int = 32) -> None:
        super().__init__(latents)
        components = _checks.positive_integer("components", components)
        pixels = _checks.positive_integer("pixels", pixels)
        self.raw = nn.Parameter(0.5 * torch.randn(components, pixels))

    @property
    def images(self) -> Tensor:
        """The pseudo-images, scaled to [-1, 1], (components, pixels)."""
        return torch.tanh(self.raw)

    def log_prob(self, z: Tensor, encode: Encode) -> Tensor:
        each = encode(self.images).log_prob(z.unsqueeze(-2))
        return each.logsumexp(-1) - math.log(len(self.raw))

    def sample(
        self, count: int, encode: Encode, like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        chosen = torch.randint(len(self.raw), (count,), device=self.raw.device, generator=generator)
        return encode(self.images[chosen]).sample(generator=generator)


#: All priors by name.
PRIORS = ("normal", "vamp", "autoregressive")


def prior(
    name: str, latents: int, pixels: int, transforms: int, hidden_features: Sequence[int]
) -> Prior:
    """Return the prior of a VAE.

    Args:
        name: one of `PRIORS`.
        latents: number of latent features.
        pixels: numbers per image.
        transforms: number of flow transforms.
        hidden_features: widths of the hidden layers of each transform's network.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if the name is unknown, or a size is out of range.

    Example:
        >>> import torch
        >>> p = prior("autoregressive", latents=4, pixels=64, transforms=2, hidden_features=(16,))
        >>> p.sample(3, encode=None, like=torch.zeros(1)).shape
        torch.Size([3, 4])
    """
    match _checks.choice("prior", name, PRIORS):
        case "normal":
            return Normal(latents)
        case "vamp":
            return Vamp(latents, pixels)
        case _:
            return Autoregressive(latents, transforms, hidden_features)
