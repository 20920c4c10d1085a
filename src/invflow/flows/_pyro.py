"""Flows in Pyro's classes. Imports Pyro: import it only where that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from invflow.flows.distribution import FlowDistribution


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
