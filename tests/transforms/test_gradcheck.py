from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from tests.helpers import AUTOREGRESSIVE, INVERSES, Both, context_for, randn

NAMES = [
    "made-1-tight-random",
    "made-1-context-no-hidden-gated-random",
    "made-2-narrow-two-layers-context-tight-random",
    "made-3-context-gated-random",
]


def _name(wanted: str) -> str:
    """Return the transform over the same conditioner as `wanted`, whatever its turn was."""
    conditioner = wanted.rsplit("-", 2)[0]
    return next(k for k in AUTOREGRESSIVE if k.rsplit("-", 2)[0] == conditioner)


@pytest.mark.parametrize("name", [_name(name) for name in NAMES])
@pytest.mark.parametrize("inverse", INVERSES)
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
    assert torch.autograd.gradcheck(run, inputs)
