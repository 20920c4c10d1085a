"""Flows as Zuko flows, for tools that ask for one: pocoMC, lampe, sbi."""

from __future__ import annotations

from typing import Any

from invflow._extra import required
from invflow.flows import Flow


def to_zuko(flow: Flow) -> Any:
    r"""Return a flow as a `zuko.flows.Flow`, with the same parameters.

    In Zuko `flow(c).transform` maps data to noise: it is $f^{-1}$ for an $f$ of this library. The
    density is the same:

    $$\log q(x|c) = \log p(z) + \log|\det dz/dx|, \qquad z = f^{-1}(x; c)$$

    Args:
        flow: a flow with one transform, of `features` D and a `context` C.

    Returns:
        A module that gives a `zuko.distributions.NormalizingFlow` at a context, (*batch, C), or at
        none; samples have shape (*sample, *batch, D).

    Raises:
        TypeError: if `flow` is not a `Flow`.
        ImportError: if Zuko is not installed.

    References:
        Rozet et al., Zuko: https://zuko.readthedocs.io

    Example:
        >>> import torch, invflow
        >>> flow = to_zuko(invflow.MAF(features=3, context=2))
        >>> x, log_q = flow(torch.randn(5, 2)).rsample_and_log_prob((10,))
        >>> x.shape, log_q.shape
        (torch.Size([10, 5, 3]), torch.Size([10, 5]))
    """
    if not isinstance(flow, Flow):
        raise TypeError(f"flow must be an invflow Flow, got {type(flow).__name__}")
    required("zuko", "zuko")
    from invflow.adapters._zuko import ZukoFlow

    return ZukoFlow(flow)
