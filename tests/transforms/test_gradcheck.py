from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from tests.helpers import AUTOREGRESSIVE, Both, context_for, inverses, over, randn

CONDITIONERS = [
    "made-1",
    "made-1-context-no-hidden",
    "made-2-narrow-two-layers-context",
    "made-3-context",
    "lstm-3",
    "lstm-1-context",
    "attention-1-context",
    "attention-3",
    "convolution-2x2",
    "convolution-1x2-context-no-hidden",
]


@pytest.mark.parametrize(
    ("name", "inverse"),
    [(over(name), inverse) for name in CONDITIONERS for inverse in inverses(over(name))],
)
def test_gradcheck_through_the_inverse(name: str, inverse: str) -> None:
    module = Both(AUTOREGRESSIVE[name](inverse))
    transform = module.transform
    names = [key for key, _ in module.named_parameters()]
    context = context_for(transform, 2)
    optional = [] if context is None else [context]
    inputs = [randn(2, transform.features), *optional, *module.parameters()]

    def run(x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        contexts, state = tensors[: len(optional)], tensors[len(optional) :]
        named = dict(zip(names, state, strict=True))
        return functional_call(module, named, ("inverse", x, *contexts))

    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    # Of many numbers, random combinations: one by one they take minutes.
    many = sum(tensor.numel() for tensor in inputs) > 300
    assert torch.autograd.gradcheck(run, inputs, fast_mode=many)
