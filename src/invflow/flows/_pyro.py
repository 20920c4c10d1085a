"""Flows as Pyro classes. This module imports Pyro: import it only when needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from invflow.flows.distribution import FlowDistribution


class PyroFlow(FlowDistribution, TorchDistributionMixin):
    """A flow's distribution for `pyro.sample`; made by `to_pyro`."""

    @classmethod
    def of(cls, distribution: FlowDistribution) -> PyroFlow:
        """Return a flow's distribution as a Pyro distribution."""
        return distribution.rebuilt(cls, distribution.context, distribution.batch_shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> PyroFlow:
        return PyroFlow.of(FlowDistribution.expand(self, batch_shape))

    def __call__(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.rsample(sample_shape)
