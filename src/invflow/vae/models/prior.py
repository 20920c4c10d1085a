"""Priors by name: the distribution of the latents of a variational autoencoder."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow.flows import MAF, FlowDistribution, StandardNormal

#: Maps images, scaled like the network's input, and what a conditional model is given, to their
#: posterior.
Encode = Callable[[Tensor, Tensor | None], FlowDistribution]


class Prior(nn.Module, ABC):
    """The distribution of the latents before an image is observed.

    Args:
        latents: number of latent features.
        given: number of values c on which it is conditional; 0 for none.
    """

    def __init__(self, latents: int, given: int = 0) -> None:
        super().__init__()
        self.latents = _checks.positive_integer("latents", latents)
        self.given = _checks.positive_integer("given", given, minimum=0)

    @abstractmethod
    def log_prob(self, z: Tensor, encode: Encode, given: Tensor | None = None) -> Tensor:
        """Return the log density at latents `z`, (*batch, latents), in nats, shape `batch`.

        Args:
            z: latents.
            encode: the model's encoder, which maps scaled images, and what is given, to their
                posterior.
            given: c, (*batch, given), for a conditional prior; None for others.
        """

    @abstractmethod
    def sample(
        self,
        count: int,
        encode: Encode,
        like: Tensor,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """Return `count` draws, (count, latents), with the dtype and device of `like`.

        A conditional prior takes `given` c, (count, given).
        """


class Normal(Prior):
    """A standard normal, which depends on nothing.

    Args:
        latents: number of latent features.
    """

    def __init__(self, latents: int) -> None:
        super().__init__(latents)
        self.base = StandardNormal(latents)

    def log_prob(self, z: Tensor, encode: Encode, given: Tensor | None = None) -> Tensor:
        return self.base.log_prob(z)

    def sample(
        self,
        count: int,
        encode: Encode,
        like: Tensor,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        return self.base.sample((count,), dtype=like.dtype, device=like.device, generator=generator)


class Autoregressive(Prior):
    r"""A masked autoregressive flow, trained with the model, whose context is c if there is one.

    The density of given latents takes one pass, and samples come from the cached inverse. Applying
    the same transform to the posterior's draws instead, under a normal prior, gives an IAF
    posterior: the two models have the same bound (Kingma et al. 2016, appendix D; Chen et al. 2017,
    section 3.2).

    Args:
        latents: number of latent features.
        transforms: number of flow transforms.
        hidden_features: widths of the hidden layers of each transform's network.
        given: size of c; 0 for none.

    References:
        Chen et al. 2017, arXiv 1611.02731; Papamakarios et al. 2017, arXiv 1705.07057.
    """

    def __init__(
        self,
        latents: int,
        transforms: int = 2,
        hidden_features: Sequence[int] = (128,),
        given: int = 0,
    ) -> None:
        super().__init__(latents, given)
        self.flow = MAF(latents, self.given, transforms, hidden_features)

    def log_prob(self, z: Tensor, encode: Encode, given: Tensor | None = None) -> Tensor:
        return self.flow(given, validate_args=False).log_prob(z)

    def sample(
        self,
        count: int,
        encode: Encode,
        like: Tensor,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        return self.flow(given).sample((count,) if given is None else (), generator=generator)


class Vamp(Prior):
    r"""A mixture of the posteriors of learned pseudo-images: $p(z) = \frac1K \sum_k q(z|u_k)$.

    Each density takes K inverses of the posterior's flow. A conditional prior has a learned $c_k$
    beside each $u_k$, and weights that depend on c: the best prior, the average of $q(z|x, c)$ over
    the images with this c, is a mixture of posteriors of images with such a c.

    $$p(z|c) = \sum_k \mathrm{softmax}_k(W c + b)\, q(z|u_k, c_k)$$

    Args:
        latents: number of latent features.
        pixels: numbers per image.
        components: number of pseudo-images K.
        given: size of c; 0 for none.
        bounded: whether images lie in [-1, 1], as grey levels do; False for real numbers.

    References:
        Tomczak and Welling 2018, arXiv 1705.07120, for the prior without c.
    """

    def __init__(
        self,
        latents: int,
        pixels: int,
        components: int = 32,
        given: int = 0,
        *,
        bounded: bool = True,
    ) -> None:
        super().__init__(latents, given)
        self.bounded = bounded
        components = _checks.positive_integer("components", components)
        pixels = _checks.positive_integer("pixels", pixels)
        self.raw = nn.Parameter(0.5 * torch.randn(components, pixels))
        self.contexts = nn.Parameter(torch.randn(components, self.given)) if given else None
        self.scores = nn.Linear(self.given, components) if given else None

    @property
    def images(self) -> Tensor:
        """The pseudo-images, scaled like the network's input, (components, pixels)."""
        return torch.tanh(self.raw) if self.bounded else self.raw

    def log_prob(self, z: Tensor, encode: Encode, given: Tensor | None = None) -> Tensor:
        each = encode(self.images, self.contexts).log_prob(z.unsqueeze(-2))
        if self.scores is None:
            return each.logsumexp(-1) - math.log(len(self.raw))
        return (each + self.scores(given).log_softmax(-1)).logsumexp(-1)

    def sample(
        self,
        count: int,
        encode: Encode,
        like: Tensor,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        if self.scores is None or self.contexts is None:
            device, components = self.raw.device, len(self.raw)
            chosen = torch.randint(components, (count,), device=device, generator=generator)
            return encode(self.images[chosen], None).sample(generator=generator)
        weights = self.scores(given).softmax(-1)
        chosen = weights.multinomial(1, generator=generator).squeeze(-1)
        return encode(self.images[chosen], self.contexts[chosen]).sample(generator=generator)


#: All priors by name.
PRIORS = ("normal", "vamp", "autoregressive")


def prior(
    name: str,
    latents: int,
    pixels: int,
    transforms: int,
    hidden_features: Sequence[int],
    given: int = 0,
    *,
    bounded: bool = True,
) -> Prior:
    """Return the prior of a VAE.

    Args:
        name: one of `PRIORS`.
        latents: number of latent features.
        pixels: numbers per image.
        transforms: number of flow transforms.
        hidden_features: widths of the hidden layers of each transform's network.
        given: number of values on which the VAE is conditional; 0 for none.
        bounded: whether the network's inputs lie in [-1, 1], as grey levels do.

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
            return Vamp(latents, pixels, given=given, bounded=bounded)
        case _:
            return Autoregressive(latents, transforms, hidden_features, given)
