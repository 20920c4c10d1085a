"""Flows as Zuko classes. This module imports Zuko: import it only when needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import zuko
from torch import Size, Tensor
from torch.distributions import Distribution

from invflow.flows import Base, Flow
from invflow.transforms import AsTorch, Transform


class ZukoFlow(zuko.flows.Flow):
    """A flow for tools that ask for a Zuko flow; made by `to_zuko`."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(LazyEncoding(flow.transform), LazyNoise(flow))


class LazyEncoding(zuko.lazy.LazyTransform):
    """The map of data to noise, at a context."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.encoding = transform.inv

    def forward(self, c: Tensor | None = None) -> Encoding:
        return Encoding(self.encoding, c)


class Encoding(AsTorch):
    """The map of data to noise at one context."""

    def inverse_shape(self, shape: Size) -> Size:
        # Zuko asks for the shape of one vector, without the context's batch.
        return shape


class LazyNoise(zuko.lazy.LazyDistribution):
    """The distribution of the noise, the same at every context."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.noise = flow.base
        # Hidden in a tuple: the flow's parameters are those of the encoding and the noise.
        self._flow = (flow,)

    def forward(self, c: Tensor | None = None) -> Noise:
        return Noise(self.noise, self._flow[0].like)


class Noise(Distribution):
    """A base as a torch distribution.

    Args:
        base: the distribution of one vector.
        like: a tensor with the dtype and device of the samples.
        batch_shape: the number of vectors, which are independent.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]

    def __init__(self, base: Base, like: Tensor, batch_shape: Size = Size()) -> None:  # noqa: B008
        self.base, self.like = base, like
        self.has_rsample = base.has_rsample
        super().__init__(batch_shape, Size([base.features]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Noise:
        return Noise(self.base, self.like, Size(batch_shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._draw(self.base.rsample, sample_shape)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._draw(self.base.sample, sample_shape)

    def _draw(self, draw: Any, sample_shape: Sequence[int]) -> Tensor:
        shape = Size(sample_shape) + self.batch_shape
        return draw(shape, dtype=self.like.dtype, device=self.like.device)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base.log_prob(value)
