from __future__ import annotations

import pytest
import torch

from invflow.transforms import Autoregressive
from tests.helpers import (
    AUTOREGRESSIVE,
    DIRECTIONS,
    SMALL,
    assert_close,
    context_for,
    directed,
    inverses,
    over,
    randn,
    values,
)

NAMES = [
    "made-3-context/gated/random",
    over("lstm-3-two-layers-context"),
    over("attention-3-two-blocks-context"),
]
names = pytest.mark.parametrize("name", NAMES)
once = pytest.mark.parametrize(
    ("name", "inverse"), [(name, inverse) for name in NAMES for inverse in inverses(name)[:-1]]
)

#: What asking for more than first derivatives says.
REFUSED = {
    "cached": r'the cached inverse has first derivatives only; .*inverse="passes"',
    "compiled": r'the cached inverse has first derivatives only; .*inverse="passes"',
    "fixed_point": r'the fixed-point inverse has first derivatives only; .*inverse="passes"',
}


@once
@pytest.mark.parametrize("to", ["data", "context", "parameters"])
def test_second_derivatives_are_refused_not_zero(name: str, inverse: str, to: str) -> None:
    transform = AUTOREGRESSIVE[name](inverse)
    x, context = randn(2, 3).requires_grad_(), context_for(transform, 2)
    assert context is not None
    context.requires_grad_()
    tensors = {"data": [x], "context": [context], "parameters": list(transform.parameters())}[to]
    z, ladj = transform.inverse(x, context)
    firsts = torch.autograd.grad(z.square().sum() + ladj.sum(), tensors, create_graph=True)
    for first in firsts:
        with pytest.raises(RuntimeError, match=REFUSED[inverse]):
            torch.autograd.grad(first.sum(), tensors, retain_graph=True, allow_unused=True)


@once
def test_second_derivatives_are_refused_by_torch_func(name: str, inverse: str) -> None:
    transform = AUTOREGRESSIVE[name](inverse)
    context = context_for(transform)

    def energy(x: torch.Tensor) -> torch.Tensor:
        z, ladj = transform.inverse(x, context)
        return z.square().sum() + ladj

    with pytest.raises(RuntimeError, match="inverse has first derivatives only; for higher ones"):
        torch.func.jacrev(torch.func.jacrev(energy))(randn(3))


@once
def test_forward_mode_is_refused_with_the_way_that_has_it(name: str, inverse: str) -> None:
    transform = AUTOREGRESSIVE[name](inverse)
    x, context = randn(3), context_for(transform)
    for enabled in (True, False):
        with (
            torch.set_grad_enabled(enabled),
            pytest.raises(RuntimeError, match=r'only in reverse mode.*inverse="passes"'),
        ):
            torch.func.jvp(lambda x: transform.inverse(x, context), (x,), (torch.ones_like(x),))


@names
def test_passes_has_right_second_derivatives(name: str) -> None:
    transform = AUTOREGRESSIVE[name]("passes")
    x, context = randn(2, 3).requires_grad_(), context_for(transform, 2)
    assert context is not None
    context.requires_grad_()
    assert torch.autograd.gradgradcheck(transform.inverse, (x, context))


@names
def test_forward_has_right_second_derivatives(name: str) -> None:
    transform = AUTOREGRESSIVE[name]()
    z, context = randn(2, 3).requires_grad_(), context_for(transform, 2)
    assert context is not None
    context.requires_grad_()
    assert torch.autograd.gradgradcheck(transform, (z, context))


#: One autoregressive transform for each map, and all others.
_EACH = [name for name in SMALL if name not in AUTOREGRESSIVE or name.startswith("made-3-context/")]


@pytest.mark.parametrize("name", _EACH)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_second_derivatives_are_the_differences_of_first_ones(name: str, direction: str) -> None:
    transform = SMALL[name]()
    for part in transform.modules():
        if isinstance(part, Autoregressive):
            part.inverse_method = "passes"
    value, context = values(transform, direction), context_for(transform)

    def run(value: torch.Tensor) -> torch.Tensor:
        result, ladj = directed(transform, direction)(value, context)
        return torch.cat([result, ladj.unsqueeze(0)])

    jacobian = torch.func.jacrev(run)
    seconds = torch.func.jacfwd(jacobian)(value)
    step = 1e-5
    for i, unit in enumerate(step * torch.eye(len(value), dtype=value.dtype)):
        expected = (jacobian(value + unit) - jacobian(value - unit)) / (2 * step)
        scale = 1 + expected.abs().max()
        assert_close(seconds[..., i] / scale, expected / scale, 1e-6)
