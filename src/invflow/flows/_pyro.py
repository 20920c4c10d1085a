"""Flows in Pyro's classes. Imports Pyro: import it only where that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform as TorchTransform

from invflow.flows.distribution import FlowDistribution
from invflow.transforms import Transform


class PyroFlow(FlowDistribution, TorchDistributionMixin):
    """A flow's distribution that `pyro.sample` takes; made by `to_pyro`."""

    @classmethod
    def of(cls, distribution: FlowDistribution) -> PyroFlow:
        """Return a flow's distribution as Pyro's."""
        return distribution.rebuilt(cls, distribution.context, distribution.batch_shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> PyroFlow:
        return PyroFlow.of(FlowDistribution.expand(self, batch_shape))

    def __call__(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.rsample(sample_shape)


class PyroTransform(TorchTransform):
    """A transform as those of torch's and Pyro's distributions, without a context.

    Args:
        transform: of vectors.
    """

    domain = constraints.real_vector  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]
    codomain = constraints.real_vector  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]
    bijective = True

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def _call(self, x: Tensor) -> Tensor:
        return self.transform(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        return self.transform.inverse(y)[0]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.transform(x)[1]
