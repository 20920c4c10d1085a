"""A flow as a model of images."""

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

#: At most so many images or (image, draw) pairs are looked at in one piece.
CHUNK = 1024


class ImageDensity(nn.Module):
    r"""A model of images of whole levels 0 .. L - 1, made of a flow over their D pixels.

    A level k stands for the interval [k, k + 1), and an image x for a cube. The flow models the
    logits of points y of those cubes, and noise r in the cube gives a lower bound:

    $$\log P(x) = \log \int_{[0, 1)^D} p(x + r)\, dr
    \ge E_{q(r|x)} \big[\log p(x + r) - \log q(r|x)\big]$$

    Calling the model gives the bound: `-model(x).mean()` is a loss. What density the flow puts
    into the margins that `alpha` leaves below 0 and above L counts for no image.

    Args:
        flow: without context, over D features that may be any real numbers.
        levels: how many levels there are, L.
        shape: channels, height and width, whose product is D.
        alpha: margin of the logit, in [0, 1/2): customarily 1e-6 for MNIST, 0.05 for CIFAR-10.
        dequantisation: q(r|x); by default `Uniform`.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: a flow with a context or of another size, or an argument out of range.

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
                f"dequantisation must be of {self.pixels} pixels, got one of {noise.pixels}"
            )
        self.flow = flow
        self.squash = squash(self.pixels, self.levels, alpha)
        self.dequantisation = noise

    @property
    def like(self) -> Tensor:
        """A tensor of the dtype and on the device of the flow."""
        return next(chain(self.flow.parameters(), self.flow.buffers()))

    def forward(
        self, x: Tensor, generator: torch.Generator | None = None, samples: int = 1
    ) -> Tensor:
        """Return `bound`."""
        return self.bound(x, generator, samples)

    def log_density(self, y: Tensor) -> Tensor:
        """Return the log density of dequantised images, per unit of a level: shape `batch`.

        Args:
            y: (*batch, pixels), pixels between 0 and L; outside, where `alpha` leaves a margin.

        Raises:
            TypeError: a tensor of the wrong dtype, or no tensor.
            ValueError: a wrong number of pixels.
        """
        v, ladj = self.squash.inverse(y)
        return self.flow().log_prob(v.to(self.like.dtype)) + ladj

    def bound(
        self, x: Tensor, generator: torch.Generator | None = None, samples: int = 1
    ) -> Tensor:
        r"""Return a lower bound of the log probability of images, to be trained by.

        $$\log \frac1K \sum_k \frac{p(x + r_k)}{q(r_k|x)}, \qquad r_k \sim q(r|x)$$

        On average it grows with K, towards log P(x) (Burda et al. 2016, arXiv 1509.00519).

        Args:
            x: levels, (*batch, channels, height, width) or (*batch, pixels), integers or whole
                floating-point numbers; what could be either is taken for the former.
            generator: random numbers; torch's own by default.
            samples: K, all in memory at once.

        Returns:
            Bounds in nats per image, shape `batch`, with gradients to the flow and to q.

        Raises:
            TypeError: no tensor, one of booleans or complex numbers, or no integer `samples`.
            ValueError: another shape, numbers that are no levels, or `samples` below 1.
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
        chunk: int = CHUNK,
    ) -> Tensor:
        """Return `bound` without a gradient, for any number of images and draws.

        The model is in evaluation mode meanwhile.

        Args:
            x: as for `bound`.
            samples: draws of noise for each image.
            generator: random numbers; torch's own by default.
            chunk: at most so many (image, draw) pairs in memory at once.

        Returns:
            Bounds in nats per image, shape `batch`.

        Raises:
            TypeError: as for `bound`.
            ValueError: as for `bound`, or `chunk` below 1.
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
        chunk: int = CHUNK,
    ) -> Tensor:
        r"""Return an upper bound of each image's bits per dimension, $-\log P(x) / (D \log 2)$.

        Args:
            x: as for `bound`.
            samples: as for `log_likelihood`.
            generator: random numbers; torch's own by default.
            chunk: as for `log_likelihood`.

        Returns:
            Bits per dimension, shape `batch`; their mean is what is usually reported.

        Raises:
            TypeError: as for `log_likelihood`.
            ValueError: as for `log_likelihood`.
        """
        nats = self.log_likelihood(x, samples, generator, chunk=chunk)
        return -nats / (self.pixels * math.log(2))

    @torch.no_grad()
    def sample(
        self, count: int, generator: torch.Generator | None = None, *, chunk: int = CHUNK
    ) -> Tensor:
        """Return images drawn from the model, whole levels: (count, channels, height, width).

        What falls into the margins is moved to the nearest level. The model is in evaluation mode
        meanwhile.

        Args:
            count: how many.
            generator: random numbers; torch's own by default.
            chunk: at most so many in memory at once.

        Raises:
            TypeError: a count that is no integer.
            ValueError: a count below 1.
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
        # A dtype that still tells levels apart, and points between them.
        levels = x.to(like.device, at_least_single(like.dtype))
        scaled = (levels * (2 / (self.levels - 1)) - 1).to(like.dtype)
        r, log_q = self.dequantisation.draw(scaled, samples, generator)
        return self.log_density(levels + r) - log_q
