"""A flow as a density of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow._modes import evaluating
from invflow.flows import Flow, FlowMixture
from invflow.images.dequantise import Dequantisation, Uniform
from invflow.images.pixels import check_levels, flattened, squash
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
        flow: without context, over D real features.
        levels: number of levels, L.
        shape: channels, height and width, with product D.
        alpha: margin of the logit, in [0, 1/2); usually 1e-6 for MNIST and 0.05 for CIFAR-10.
        dequantisation: q(r|x); by default `Uniform`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if the flow has a context or another size, or an argument is out of range.

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
        alpha: float = 0.05,
        dequantisation: Dequantisation | None = None,
    ) -> None:
        super().__init__()
        self.levels = _checks.positive_integer("levels", levels, minimum=2)
        self.shape = _checks.shape("shape", shape)
        self.pixels = math.prod(self.shape)
        if not isinstance(flow, Flow | FlowMixture):
            raise TypeError(f"flow must be a flow, got {type(flow).__name__}")
        if flow.context or flow.features != self.pixels:
            raise ValueError(
                f"flow must be over {self.pixels} features without context, "
                f"got {flow.features} features and a context of {flow.context}"
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
        self, x: Tensor, generator: torch.Generator | None = None, samples: int = 1
    ) -> Tensor:
        """Return `bound`."""
        return self.bound(x, generator, samples)

    def log_density(self, y: Tensor) -> Tensor:
        """Return the log density of dequantised images, in units of a level, shape `batch`.

        Args:
            y: shape (*batch, pixels), between 0 and L, or in the margin that `alpha` leaves.

        Raises:
            TypeError: if `y` is not a tensor, or has the wrong dtype.
            ValueError: if the number of pixels is wrong.
        """
        v, ladj = self.squash.inverse(y)
        return self.flow().log_prob(v.to(self.like.dtype)) + ladj

    def bound(
        self, x: Tensor, generator: torch.Generator | None = None, samples: int = 1
    ) -> Tensor:
        r"""Return a lower bound on the log probability of images, for training.

        $$\log \frac1K \sum_k \frac{p(x + r_k)}{q(r_k|x)}, \qquad r_k \sim q(r|x)$$

        On average it increases with K, towards log P(x) (Burda et al. 2016, arXiv 1509.00519).

        Args:
            x: levels, (*batch, channels, height, width) or (*batch, pixels), of an integer or
                floating-point dtype; a shape that fits both is read as the former.
            generator: random numbers; torch's own by default.
            samples: number of draws of noise, K, all in memory at once.

        Returns:
            Bounds in nats per image, shape `batch`, with gradients to the flow and to q.

        Raises:
            TypeError: if `x` is not a tensor of real numbers, or `samples` is not an integer.
            ValueError: if `x` has another shape or numbers that are not levels, or `samples` is
                below 1.
        """
        samples = _checks.positive_integer("samples", samples)
        log_weights = self._log_weights(flattened(x, self.shape), samples, generator)
        return log_weights.logsumexp(0) - math.log(samples)

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        samples: int = 1,
        generator: torch.Generator | None = None,
        *,
        chunk: int = EVALUATED_AT_ONCE,
    ) -> Tensor:
        """Return `bound` in evaluation mode, without a gradient, for any number of images.

        Args:
            x: as for `bound`.
            samples: draws of noise for each image.
            generator: random numbers; torch's own by default.
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
        results: list[Tensor] = []
        with evaluating(self):
            for images in rows.reshape(-1, self.pixels).split(max(1, chunk // samples)):
                log_weights = [
                    self._log_weights(images, min(at_once, samples - start), generator)
                    for start in range(0, samples, at_once)
                ]
                results.append(torch.cat(log_weights).logsumexp(0) - math.log(samples))
        return torch.cat(results).reshape(rows.shape[:-1])

    def bits_per_dim(
        self,
        x: Tensor,
        samples: int = 1,
        generator: torch.Generator | None = None,
        *,
        chunk: int = EVALUATED_AT_ONCE,
    ) -> Tensor:
        r"""Return an upper bound on the bits per dimension of images, $-\log P(x) / (D \log 2)$.

        Args:
            x: as for `bound`.
            samples: as for `log_likelihood`.
            generator: random numbers; torch's own by default.
            chunk: as for `log_likelihood`.

        Returns:
            Bits per dimension, shape `batch`; usually their mean is reported.

        Raises:
            TypeError: as for `log_likelihood`.
            ValueError: as for `log_likelihood`.
        """
        nats = self.log_likelihood(x, samples, generator, chunk=chunk)
        return -nats / (self.pixels * math.log(2))

    @torch.no_grad()
    def sample(
        self,
        count: int,
        generator: torch.Generator | None = None,
        *,
        chunk: int = EVALUATED_AT_ONCE,
    ) -> Tensor:
        """Return images drawn in evaluation mode, as levels: (count, channels, height, width).

        Draws in the margins are moved to the nearest level.

        Args:
            count: number of images.
            generator: random numbers; torch's own by default.
            chunk: largest number of images in memory at once.

        Raises:
            TypeError: if `count` is not an integer.
            ValueError: if `count` is below 1.
        """
        count = _checks.positive_integer("count", count)
        chunk = _checks.positive_integer("chunk", chunk)
        pieces = [min(chunk, count - start) for start in range(0, count, chunk)]
        with evaluating(self):
            images = torch.cat([self._draw(piece, generator) for piece in pieces])
        return images.reshape(count, *self.shape)

    def _draw(self, count: int, generator: torch.Generator | None) -> Tensor:
        v = self.flow().sample((count,), generator=generator)
        y = self.squash(v.to(at_least_single(v.dtype)))[0]
        return y.floor().clamp(0, self.levels - 1).long()

    def _log_weights(self, x: Tensor, samples: int, generator: torch.Generator | None) -> Tensor:
        """Return log p(x + r) - log q(r|x) of draws of r, (samples, *batch)."""
        check_levels(x, self.levels)
        like = self.like
        # A dtype that can represent the levels, and points between them.
        levels = x.to(like.device, at_least_single(like.dtype))
        scaled = (levels * (2 / (self.levels - 1)) - 1).to(like.dtype)
        r, log_q = self.dequantisation.draw(scaled, samples, generator)
        return self.log_density(levels + r) - log_q
