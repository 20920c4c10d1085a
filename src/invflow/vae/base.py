"""What every model of images with latents can do."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow._modes import evaluating
from invflow.vae.likelihood import Likelihood, as_likelihood

#: Of images and draws looked at in one piece, at most so many, and so many numbers in their layers.
MOST, HELD = 2048, 2**26


class Elbo(NamedTuple):
    """The two parts of the evidence lower bound of each image, in nats.

    Attributes:
        fit: the log-likelihood of the image given its latents, shape `batch`; minus the distortion.
        kls: the divergence of the posterior from the prior in each group of latents, shape
            (*batch, groups).
    """

    fit: Tensor
    kls: Tensor

    @property
    def kl(self) -> Tensor:
        """The divergence in all, shape `batch`: the rate."""
        return self.kls.sum(-1)

    @property
    def bound(self) -> Tensor:
        """The evidence lower bound, fit - kl, shape `batch`."""
        return self.fit - self.kl


class LatentModel(nn.Module, ABC):
    r"""A model of images x with latents z, $p(x|z)\, p(z)$, and an approximate posterior $q(z|x)$.

    Images are vectors of pixels, those of one channel after those of the other; observations are
    what `likelihood.observe` makes of grey levels.

    Args:
        shape: channels, height and width of an image.
        levels: grey levels, the values of pixels being 0 .. levels - 1.
        likelihood: of the pixels, by name or as an object.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: a shape that is not three sizes, an unknown name, or a likelihood over another
            number of levels.
    """

    #: How many latent numbers an image has.
    latents: int

    def __init__(self, shape: Sequence[int], levels: int, likelihood: str | Likelihood) -> None:
        super().__init__()
        self.shape = _checks.shape("shape", shape)
        self.likelihood = as_likelihood(likelihood, levels, self.shape[0])

    @property
    def pixels(self) -> int:
        """Numbers per image: channels times height times width."""
        return math.prod(self.shape)

    @property
    def levels(self) -> int:
        """How many grey levels there are."""
        return self.likelihood.levels

    @abstractmethod
    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Elbo:
        """Return the bound's parts for observations `x`, from one draw of latents each.

        What models are trained by: they stay in the mode that they are in, as torch's modules do.

        Args:
            x: observations, (*batch, pixels).
            generator: random numbers; torch's own by default.

        Raises:
            TypeError: integer images; `likelihood.observe` makes observations of them.
            ValueError: a wrong number of pixels.
        """

    @abstractmethod
    def draw(
        self, x: Tensor, samples: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        r"""Return draws of the latents of observations, and their log-weights.

        $$z \sim q(z|x), \qquad \log w = \log p(x|z) + \log p(z) - \log q(z|x)$$

        Args:
            x: observations, (batch, pixels).
            samples: how many for each.
            generator: random numbers; torch's own by default.

        Returns:
            z, (samples, batch, latents), and log w in nats, (samples, batch).
        """

    @abstractmethod
    def importance_bound(
        self, x: Tensor, samples: int = 8, generator: torch.Generator | None = None
    ) -> Tensor:
        r"""Return the importance-weighted bound of observations, to be trained by.

        $$\log \frac1S \sum_s w_s, \qquad w_s = p(x|z_s)\, p(z_s) / q(z_s|x)$$

        Args:
            x: observations, (batch, pixels).
            samples: S.
            generator: random numbers; torch's own by default.

        Returns:
            Bounds in nats, shape (batch,).

        References:
            Burda et al. 2016, arXiv 1509.00519.
        """

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's parameters at latents, (*batch, pixels, outputs).

        Args:
            z: shape (*batch, latents).

        Raises:
            TypeError: a tensor of the wrong dtype, or no tensor.
            ValueError: a wrong number of latents.
        """

    @abstractmethod
    def draw_prior(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return `count` draws of the latents from the prior, (count, latents)."""

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Elbo:
        """Return `elbo`."""
        return self.elbo(x, generator)

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        samples: int = 128,
        generator: torch.Generator | None = None,
        *,
        chunk: int | None = None,
    ) -> Tensor:
        r"""Return the importance-sampled log-likelihood of observations, a lower bound on average.

        $$\log p(x) \approx \log \frac1S \sum_s p(x|z_s)\, p(z_s) / q(z_s|x)$$

        The model is in evaluation mode meanwhile.

        Args:
            x: observations, (batch, pixels).
            samples: S.
            generator: random numbers; torch's own by default.
            chunk: at most so many (image, sample) pairs in memory at once; None for `at_once`.

        Returns:
            Log-likelihoods in nats, shape (batch,).
        """
        self._check_rows(x, samples)
        chunk = self.at_once if chunk is None else _checks.positive_integer("chunk", chunk)
        at_once = min(samples, chunk)
        results: list[Tensor] = []
        with evaluating(self):
            for images in x.split(max(1, chunk // samples)):
                weights = [
                    self.draw(images, min(at_once, samples - start), generator)[1]
                    for start in range(0, samples, at_once)
                ]
                results.append(torch.cat(weights).logsumexp(0) - math.log(samples))
        return torch.cat(results)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return `count` images drawn from the model, as grey levels, (count, pixels).

        The model is in evaluation mode meanwhile.
        """
        count = _checks.positive_integer("count", count)
        pieces = [min(self.at_once, count - i) for i in range(0, count, self.at_once)]
        with evaluating(self):
            return torch.cat([self._sample(piece, generator) for piece in pieces])

    def _sample(self, count: int, generator: torch.Generator | None) -> Tensor:
        return self.likelihood.sample(self.decode(self.draw_prior(count, generator)), generator)

    @cached_property
    def at_once(self) -> int:
        """How many draws to look at in one piece: as many as half a gigabyte holds, at most."""
        numbers = 0

        def count(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal numbers
            numbers += output.numel() if isinstance(output, Tensor) else 0

        leaves = [module for module in self.modules() if not any(module.children())]
        hooks = [leaf.register_forward_hook(count) for leaf in leaves]
        like = self.like
        try:
            with torch.no_grad(), evaluating(self):
                self.draw(
                    like.new_zeros(1, self.pixels), 1, torch.Generator(like.device).manual_seed(0)
                )
        finally:
            for hook in hooks:
                hook.remove()
        # What the layers give is not all kept; likelihoods keep several numbers for each output.
        numbers = max(numbers, 6 * self.pixels * self.likelihood.outputs)
        return max(1, min(MOST, HELD // numbers))

    def observe(self, levels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return observations of grey levels, in the model's dtype and on its device.

        Args:
            levels: grey levels, integers, (*batch, pixels) or (*batch, *shape).
            generator: random numbers for binarisation; torch's own by default.

        Returns:
            Observations, (*batch, pixels).

        Raises:
            ValueError: levels that the likelihood does not know, or a wrong number of pixels.
        """
        like = self.like
        if levels.shape[-1:] != (self.pixels,) and levels.shape[-3:] == self.shape:
            levels = levels.flatten(-3)
        if levels.shape[-1:] != (self.pixels,):
            raise ValueError(
                f"levels must have shape (*batch, {self.pixels}) or (*batch, *{self.shape}), "
                f"got {tuple(levels.shape)}"
            )
        if levels.numel():
            low, high = (int(end) for end in levels.aminmax())
            if low < 0 or high >= self.levels:
                raise ValueError(f"levels must lie in 0 .. {self.levels - 1}, got {low} to {high}")
        return self.likelihood.observe(levels.to(like.device), generator).to(like.dtype)

    @property
    @abstractmethod
    def parts(self) -> Sequence[nn.Module]:
        """The parts worth compiling, which hold nothing random."""

    @property
    def like(self) -> Tensor:
        """A tensor of the dtype and on the device of the parameters."""
        return next(self.parameters())

    def _check(self, x: Tensor) -> None:
        _checks.event("x", x, self.pixels, self.like)

    def _check_rows(self, x: Tensor, samples: int) -> None:
        self._check(x)
        if x.dim() != 2:
            raise ValueError(f"x must have shape (batch, {self.pixels}), got {tuple(x.shape)}")
        _checks.positive_integer("samples", samples)

    def _check_latents(self, z: Tensor) -> None:
        _checks.event("z", z, self.latents, self.like)
