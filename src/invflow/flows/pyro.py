"""Flows as Pyro distributions."""

from __future__ import annotations

from typing import Any

from invflow.flows.distribution import FlowDistribution


def to_pyro(distribution: FlowDistribution) -> Any:
    """Return a flow's distribution as a Pyro distribution, for `pyro.sample`.

    Args:
        distribution: the result of calling a flow.

    Raises:
        TypeError: if `distribution` is something else.
        ImportError: if Pyro is not installed.

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
        from invflow.flows._pyro import PyroFlow
    except ImportError as error:
        raise ImportError('to_pyro needs Pyro: pip install "invflow[pyro]"') from error
    return PyroFlow.of(distribution)
