"""The KL divergence of Gaussian posteriors, in closed form."""

from __future__ import annotations

from torch import Tensor

from invflow.flows import FlowDistribution


def kl_from_normal(q: FlowDistribution) -> Tensor | None:
    r"""Return the KL divergence of a Gaussian posterior from N(0, I), or None for other posteriors.

    For $z = A \epsilon + b$, where A is the posterior's matrix:

    $$\mathrm{KL}(q \| N(0, I)) = \tfrac12 \big(\|A\|_F^2 + \|b\|^2 - D\big) - \log|\det A|$$

    Args:
        q: the posterior.

    Returns:
        Divergences in nats, with the posterior's batch shape; None if `q` is not known to be
        Gaussian.

    Example:
        >>> import torch
        >>> from invflow.flows import Flow
        >>> from invflow.transforms import Elementwise
        >>> flow = Flow(Elementwise(features=3, context=2))
        >>> kl_from_normal(flow(torch.randn(5, 2))).shape
        torch.Size([5])
    """
    found = q.affine_map()
    if found is None:
        return None
    squares = found.squares.sum(-1) + found.shift.square().sum(-1)
    return 0.5 * (squares - q.event_shape[0]) - found.ladj
