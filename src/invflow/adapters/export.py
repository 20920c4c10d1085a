"""Flows as programs that run without this library: `torch.export`, and ONNX by way of it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow.flows import Flow, FlowMixture

#: What a program computes.
COMPUTES = ("log_prob", "sample")


def exported(flow: Flow | FlowMixture, what: str = "log_prob") -> torch.export.ExportedProgram:
    r"""Return a program that scores, or draws from given noise, with the weights of a flow.

    $$\text{log\_prob:}\ (x, c) \mapsto \log q(x|c), \qquad \text{sample:}\ (z, c) \mapsto f(z; c)$$

    It has only PyTorch's own operations: after `torch.export.save` and `torch.export.load` it runs
    without this library. The direction that takes one group of features after another is written
    down step by step, so the program, and the time to export it, grow with their number.

    Args:
        flow: a flow, exported as it is in evaluation mode.
        what: "log_prob", or "sample", for which the caller draws the noise z.

    Returns:
        A program of x or z, (batch, features), and the context, (batch, context), if the flow has
        one, in the flow's dtype. It returns log densities in nats, (batch,), or samples, (batch,
        features). The batch can have any size. Its weights are a copy, and constant: they have no
        gradients. It checks nothing.

    Raises:
        NotImplementedError: if the inverse of a univariate map in this direction is a search
            (`NAF`, `UMNN`).
        TypeError: if `flow` is not a flow, or a mixture, which cannot be sampled from noise.
        ValueError: if `what` is unknown.

    References:
        https://docs.pytorch.org/docs/stable/export.html

    Example:
        >>> import invflow
        >>> program = exported(invflow.flows.Gaussian(2))
        >>> program.module()(torch.zeros(5, 2)).shape
        torch.Size([5])
    """
    _checks.choice("what", what, COMPUTES)
    if isinstance(flow, FlowMixture) and what == "sample":
        raise TypeError(
            'what="sample" maps noise by one flow, and a mixture has several: export those in '
            "flow.flows, and choose among them with the probabilities flow.logits.softmax(0)"
        )
    if not isinstance(flow, Flow | FlowMixture):
        raise TypeError(f"flow must be an invflow Flow or FlowMixture, got {type(flow).__name__}")
    constant = deepcopy(flow).eval().requires_grad_(False)
    module = _LogProb(constant) if what == "log_prob" else _Sample(constant)
    like = flow.like if isinstance(flow, Flow) else flow.logits
    sizes = [flow.features, flow.context] if flow.context else [flow.features]
    # Of sizes 0 and 1 torch.export makes programs for these sizes alone.
    inputs = tuple(torch.full((3, size), 0.5).to(like) for size in sizes)
    batch = torch.export.Dim("batch")
    with torch.no_grad():
        program = torch.export.export(module, inputs, dynamic_shapes=[{0: batch} for _ in sizes])
        return program.run_decompositions({})  # nothing in place, which converters cannot read


class _LogProb(nn.Module):
    def __init__(self, flow: Flow | FlowMixture) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.flow(context, validate_args=False).log_prob(x)


class _Sample(nn.Module):
    def __init__(self, flow: Any) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.flow.transform(z, context)[0]
