"""Flows as Pyro distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from invflow.flows.distribution import FlowDistribution


def to_pyro(distribution: FlowDistribution) -> Any:
    """Return a flow's distribution as one that `pyro.sample` takes.

    Args:
        distribution: what calling a flow gives.

    Raises:
        TypeError: `distribution` is something else.
        ImportError: Pyro is not installed.

    Example:
        >>> import invflow, pyro
        >>> z = pyro.sample("z", to_pyro(invflow.IAF(features=3)()))
        >>> z.shape
        torch.Size([3])
    """
    if not isinstance(distribution, FlowDistribution):
        raise TypeError(
            f"distribution must be a FlowDistribution, got {type(distribution).__name__}"
        )
    try:
        from pyro.distributions.torch_distribution import TorchDistributionMixin
    except ImportError as error:
        raise ImportError('to_pyro needs Pyro: pip install "invflow[pyro]"') from error

    class PyroFlow(FlowDistribution, TorchDistributionMixin):
        def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
            return to_pyro(FlowDistribution.expand(self, batch_shape))

        def __call__(self, sample_shape: Sequence[int] = ()) -> Tensor:
            return self.rsample(sample_shape)

    return distribution.rebuilt(PyroFlow, distribution.context, distribution.batch_shape)
