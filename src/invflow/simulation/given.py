"""A conditional flow at one context, as a flow without context."""

from __future__ import annotations

from torch import Tensor

from invflow.flows import Flow, FlowMixture
from invflow.transforms import Transform


class Given(Transform):
    """A transform at a fixed context.

    Args:
        transform: with a context.
        given: the context, shape (context,).

    Example:
        >>> import torch
        >>> import invflow
        >>> flow = invflow.MAF(features=2, context=3)
        >>> at(flow, torch.zeros(3))().sample((5,)).shape
        torch.Size([5, 2])
    """

    given: Tensor

    def __init__(self, transform: Transform, given: Tensor) -> None:
        super().__init__(transform.features)
        self.transform = transform
        self.register_buffer("given", given)

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.transform(z, self.given)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.transform.inverse(x, self.given)


def at(flow: Flow, given: Tensor) -> Flow:
    """Return a conditional flow at a context, shape (context,)."""
    return Flow(Given(flow.transform, given), flow.base)


def detached(flow: Flow | FlowMixture) -> Flow | FlowMixture:
    """Return the same flow without the gradient of its context, which cannot be copied."""
    if isinstance(flow, Flow) and isinstance(flow.transform, Given):
        return Flow(Given(flow.transform.transform, flow.transform.given.detach()), flow.base)
    return flow
