"""A flow as a density of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow._modes import evaluating
from invflow.flows import Flow, FlowMixture, TarFlow, denoised
from invflow.images.dequantise import Dequantisation, Uniform
from invflow.images.pixels import Scaled, bits_per_dim, check_levels, flattened, squash
from invflow.transforms.precision import at_least_single

#: The most images, or pairs of an image and a draw, that are evaluated at once.
EVALUATED_AT_ONCE = 1024


class ImageDensity(nn.Module):
    r"""A model of images with levels 0 .. L - 1, made from a flow over their D pixels.

    A level k represents the interval [k, k + 1), and an image x a cube. The flow models the logits
    of points y in these cubes, and noise r in the cube gives a lower bound:

    $$\log P(x) = \log \int_{[0, 1)^D} p(x + r)\, dr
    \ge E_{q(r|x)} \big[\log p(x + r) - \log q(r|x)\big]$$

    Calling the model returns the bound: `-model(x).mean()` is a loss. Density that the flow puts
    into the margins below 0 and above L, which `alpha` leaves, is lost.

    Args:
        flow: over D real features; if it has a context, so have all methods.
        levels: number of levels, L.
        shape: channels, height and width, with product D.
        alpha: margin of the logit, in [0, 1/2); usually 1e-6 for MNIST and 0.05 for CIFAR-10. None
            for no logit: the flow then models levels scaled to numbers from -1 to 1.
        dequantisation: q(r|x); by default `Uniform`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if the flow has another size, or an argument is out of range.

    References:
        Papamakarios et al. 2017, arXiv 1705.07057; Theis et al. 2016, arXiv
        1511.01844, section 3.1; Ho et al. 2019, arXiv 1902.00275.

    Example:
        >>> import invflow
        >>> model = ImageDensity(invflow.MAF(12), levels=256, shape=(3, 2, 2))
        >>> x = model.sample(5)
        >>> x.shape, model.bound(x).shape, model.bits_per_dim(x, samples=10).shape
        (torch.Size([5, 3, 2, 2]), torch.Size([5]), torch.Size([5]))
    """

    def __init__(
        self,
        flow: Flow | FlowMixture,
        levels: int,
        shape: Sequence[int],
        alpha: float | None = 0.05,
        dequantisation: Dequantisation | None = None,
    ) -> None:
        super().__init__()
        self.levels = _checks.positive_integer("levels", levels, minimum=2)
        self.shape = _checks.shape("shape", shape)
        self.pixels = math.prod(self.shape)
        if not isinstance(flow, Flow | FlowMixture):
            raise TypeError(f"flow must be a flow, got {type(flow).__name__}")
        if flow.features != self.pixels:
            raise ValueError(
                f"flow must be over {self.pixels} features, got {flow.features} features"
            )
        noise = Uniform() if dequantisation is None else dequantisation
        if not isinstance(noise, Dequantisation):
            raise TypeError(
                f"dequantisation must be a Dequantisation or None, got {type(noise).__name__}"
            )
        if noise.pixels not in (None, self.pixels):
            raise ValueError(
                f"dequantisation must be for {self.pixels} pixels, got one for {noise.pixels}"
            )
        self.flow = flow
        self.squash = squash(self.pixels, self.levels, alpha)
        self.dequantisation = noise

    @property
    def like(self) -> Tensor:
        """A tensor with the dtype and device of the flow."""
        return next(chain(self.flow.parameters(), self.flow.buffers()))

    def forward(
        self,
        x: Tensor,
        generator: torch.Generator | None = None,
        samples: int = 1,
        *,
        context: Tensor | None = None,
    ) -> Tensor:
        """Return `bound`."""
        return self.bound(x, generator, samples, context=context)

    def log_density(self, y: Tensor, *, context: Tensor | None = None) -> Tensor:
        """Return the log density of dequantised images, in units of a level, shape `batch`.

        Args:
            y: shape (*batch, pixels), between 0 and L, or in the margin that `alpha` leaves.
            context: of the flow, shape (*batch, context); None if it has none.

        Raises:
            TypeError: if `y` is not a tensor, or has the wrong dtype.
            ValueError: if the number of pixels is wrong.
        """
        v, ladj = self.squash.inverse(y)
        return self.flow(context).log_prob(v.to(self.like.dtype)) + ladj

    def bound(
        self,
        x: Tensor,
        generator: torch.Generator | None = None,
        samples: int = 1,
        *,
        context: Tensor | None = None,
    ) -> Tensor:
        r"""Return a lower bound on the log probability of images, for training.

        $$\log \frac1K \sum_k \frac{p(x + r_k)}{q(r_k|x)}, \qquad r_k \sim q(r|x)$$

        On average it increases with K, towards log P(x) (Burda et al. 2016, arXiv 1509.00519).

        Args:
            x: levels, (*batch, channels, height, width) or (*batch, pixels), of an integer or
                floating-point dtype; a shape that fits both is read as the former.
            generator: random numbers; torch's own by default.
            samples: number of draws of noise, K, all in memory at once.
            context: of the flow, shape (*batch, context); None if it has none.

        Returns:
            Bounds in nats per image, shape `batch`, with gradients to the flow and to q.

        Raises:
            TypeError: if `x` is not a tensor of real numbers, or `samples` is not an integer.
            ValueError: if `x` has another shape or numbers that are not levels, or `samples` is
                below 1.
        """
        samples = _checks.positive_integer("samples", samples)
        rows = flattened(x, self.shape)
        log_weights = self._log_weights(rows, samples, generator, context)
        return log_weights.logsumexp(0) - math.log(samples)

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        samples: int = 1,
        generator: torch.Generator | None = None,
        *,
        context: Tensor | None = None,
        chunk: int = EVALUATED_AT_ONCE,
    ) -> Tensor:
        """Return `bound` in evaluation mode, without a gradient, for any number of images.

        Args:
            x: as for `bound`.
            samples: draws of noise for each image.
            generator: random numbers; torch's own by default.
            context: of the flow, shape (*batch, context); None if it has none.
            chunk: largest number of pairs of an image and a draw in memory at once.

        Returns:
            Bounds in nats per image, shape `batch`.

        Raises:
            TypeError: as for `bound`.
            ValueError: as for `bound`, or if `chunk` is below 1.
        """
        samples = _checks.positive_integer("samples", samples)
        at_once = min(samples, _checks.positive_integer("chunk", chunk))
        rows = flattened(x, self.shape)
        batch = rows.shape[:-1]
        _checks.context(context, self.flow.context, batch, self.like)
        size = max(1, chunk // samples)
        parts = rows.reshape(-1, self.pixels).split(size)
        results: list[Tensor] = []
        with evaluating(self):
            for images, given in zip(parts, _split(context, batch, size, len(parts)), strict=True):
                log_weights = [
                    self._log_weights(images, min(at_once, samples - start), generator, given)
                    for start in range(0, samples, at_once)
                ]
                results.append(torch.cat(log_weights).logsumexp(0) - math.log(samples))
        return torch.cat(results).reshape(batch)

    def bits_per_dim(
        self,
        x: Tensor,
        samples: int = 1,
        generator: torch.Generator | None = None,
        *,
        context: Tensor | None = None,
        chunk: int = EVALUATED_AT_ONCE,
    ) -> Tensor:
        r"""Return an upper bound on the bits per dimension of images, $-\log P(x) / (D \log 2)$.

        Args:
            x: as for `bound`.
            samples: as for `log_likelihood`.
            generator: random numbers; torch's own by default.
            context: as for `log_likelihood`.
            chunk: as for `log_likelihood`.

        Returns:
            Bits per dimension, shape `batch`; usually their mean is reported.

        Raises:
            TypeError: as for `log_likelihood`.
            ValueError: as for `log_likelihood`.
        """
        nats = self.log_likelihood(x, samples, generator, context=context, chunk=chunk)
        return bits_per_dim(nats, self.pixels)

    @torch.no_grad()
    def sample(
        self,
        count: int,
        generator: torch.Generator | None = None,
        *,
        context: Tensor | None = None,
        noise: float = 0.0,
        guidance: float = 0.0,
        chunk: int = EVALUATED_AT_ONCE,
    ) -> Tensor:
        """Return images drawn in evaluation mode, as levels: (count, channels, height, width).

        Draws in the margins are moved to the nearest level.

        Args:
            count: number of images.
            generator: random numbers; torch's own by default.
            context: of the flow, (context,) for all images or (count, context); None if it has
                none.
            noise: standard deviation of the noise with which the flow was trained (see `noisy`),
                which is taken out of what is drawn; 0 for none.
            guidance: strength of the guidance towards the class (see `TarFlow.guided`); 0 for none.
            chunk: largest number of images in memory at once.

        Raises:
            TypeError: if `count` is not an integer.
            ValueError: if `count` is below 1, the context has another shape, there is noise and a
                logit, or guidance and a flow without classes.
        """
        count = _checks.positive_integer("count", count)
        chunk = _checks.positive_integer("chunk", chunk)
        deviation = noise_of(self, "noise", noise) if noise else 0.0
        flow = guided(self.flow, guidance) if guidance else self.flow
        pieces = [min(chunk, count - start) for start in range(0, count, chunk)]
        batch = torch.Size((count,))
        _checks.context(context, self.flow.context, batch, self.like)
        given = _split(context, batch, chunk, len(pieces))
        with evaluating(self):
            images = torch.cat(
                [
                    self._draw(flow, piece, generator, each, deviation)
                    for piece, each in zip(pieces, given, strict=True)
                ]
            )
        return images.reshape(count, *self.shape)

    def _draw(
        self,
        flow: Flow | FlowMixture,
        count: int,
        generator: torch.Generator | None,
        context: Tensor | None,
        deviation: float,
    ) -> Tensor:
        shape = (count,) if context is None else ()
        v = flow(context).sample(shape, generator=generator)
        if deviation:  # by the density that was trained, not by a guided one
            v = denoised(self.flow(context), v, deviation)
        y = self.squash(v.to(at_least_single(v.dtype)))[0]
        return y.floor().clamp(0, self.levels - 1).long()

    def dequantisable(self, x: Tensor) -> Tensor:
        """Return levels in a dtype that can represent them, and points between them."""
        check_levels(x, self.levels)
        return x.to(self.like.device, at_least_single(self.like.dtype))

    def _log_weights(
        self,
        x: Tensor,
        samples: int,
        generator: torch.Generator | None,
        context: Tensor | None,
    ) -> Tensor:
        """Return log p(x + r) - log q(r|x) of draws of r, (samples, *batch)."""
        levels = self.dequantisable(x)
        scaled = (levels * (2 / (self.levels - 1)) - 1).to(self.like.dtype)
        r, log_q = self.dequantisation.draw(scaled, samples, generator)
        return self.log_density(levels + r, context=context) - log_q


def noise_of(model: ImageDensity, name: str, value: float) -> float:
    """Return the standard deviation of noise, for images without a logit.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is not positive, or the images have a logit.
    """
    if not isinstance(model.squash, Scaled):
        raise ValueError("noise needs images without a logit: build the model with alpha=None")
    return _checks.positive(name, value)


def guided(flow: Flow | FlowMixture, weight: float) -> Flow:
    """Return a flow with guidance towards the class.

    Raises:
        ValueError: if it has no classes.
    """
    if not isinstance(flow, TarFlow):
        raise ValueError(f"guidance needs a TarFlow with classes, got a {type(flow).__name__}")
    return flow.guided(weight)


def _split(
    context: Tensor | None, batch: torch.Size, size: int, parts: int
) -> Sequence[Tensor | None]:
    """Return the contexts of parts of a flattened batch."""
    if context is None:
        return [None] * parts
    rows = context.expand(*batch, context.shape[-1]).reshape(-1, context.shape[-1])
    return rows.split(size)
