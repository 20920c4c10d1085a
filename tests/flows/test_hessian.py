"""Second derivatives of log densities, in forward over reverse mode as `torch.func` takes them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from invflow.flows import IAF, Flow, FlowMixture, Preconditioned, Wrapped
from invflow.transforms import Autoregressive
from tests.helpers import FLOWS, INVERSES, assert_close, context_for, fast, perturbed, randn

BUILDS = {
    **{name: build for name, build in FLOWS.items() if "65" not in name},
    "preconditioned": lambda: Preconditioned(FLOWS["iaf-2"]()),
    "wrapped": lambda: Wrapped(FLOWS["nsf-8"](), [1, 4]),
    "mixture": lambda: perturbed(FlowMixture([FLOWS["nsf-8"](), FLOWS["iaf-8-fixed-point"]()])),
}
#: One flow of each transform and conditioner.
QUICK = [
    "iaf-1-context",
    "iaf-3-gated-context",
    "iaf-3-attention",
    "nsf-3-context",
    "naf-1-context",
]
QUICK += ["umnn-3-context", "coupling-nsf-3", "planar-1-context", "radial-3-context", "sylvester-3"]
QUICK += ["gaussian-3-context", "iaf-3-student-t", "maf-8-lstm", "maf-1x3-convolution"]
QUICK += ["tarflow-1x2x2-classes", "preconditioned", "wrapped"]
by_name = pytest.mark.parametrize("name", BUILDS)


def _everywhere(name: str) -> Flow | FlowMixture:
    """Return a flow whose inverses have derivatives of every order and mode."""
    built = BUILDS[name]().eval()
    for part in built.modules():
        if isinstance(part, Autoregressive):
            part.inverse_method = "passes"
    return built


@pytest.mark.parametrize("name", fast(QUICK, BUILDS))
def test_hessian_is_the_difference_of_gradients(name: str) -> None:
    built = _everywhere(name)
    context = context_for(built)
    x = built(context).sample(generator=torch.Generator().manual_seed(3))

    def log_prob(x: Tensor) -> Tensor:
        return built(context, validate_args=False).log_prob(x)

    hessian = torch.func.hessian(log_prob)(x)
    step, unit = 1e-5, torch.eye(len(x), dtype=x.dtype)
    slopes = torch.func.vmap(torch.func.grad(log_prob))
    expected = (slopes(x + step * unit) - slopes(x - step * unit)) / (2 * step)
    assert hessian.abs().max() > 0
    scale = 1 + expected.abs().max()
    assert_close(hessian / scale, expected / scale, 1e-6)
    assert_close(hessian / scale, hessian.mT / scale, 1e-9)
    forwards, backwards = torch.func.jacfwd, torch.func.jacrev
    for other in (forwards(forwards(log_prob)), backwards(forwards(log_prob))):
        assert_close(other(x) / scale, hessian / scale, 1e-9)


@by_name
def test_jvp_is_the_vjp(name: str) -> None:
    """In the direction of samples, with respect to noise, context and weights."""
    built = _everywhere(name)
    context = context_for(built)
    x = built(context).sample(generator=torch.Generator().manual_seed(3))
    weights = dict(built.named_parameters())

    def log_prob(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(built, weights, (context,)).log_prob(x)

    directions = (
        randn(*x.shape, seed=5),
        {key: randn(*value.shape, seed=6) for key, value in weights.items()},
    )
    _, slope = torch.func.jvp(log_prob, (x, weights), directions)
    by_x, by_weights = torch.func.grad(log_prob, (0, 1))(x, weights)
    expected = (by_x * directions[0]).sum() + sum(
        (by_weights[key] * directions[1][key]).sum() for key in weights
    )
    assert_close(slope, expected, 1e-8)


@pytest.mark.parametrize(
    "name", ["iaf-2", "iaf-3-lstm-context", "iaf-3-spline-context", "iaf-8-fixed-point"]
)
def test_an_inverse_without_them_says_what_has_them(name: str) -> None:
    built = FLOWS[name]()
    context = context_for(built)
    x = randn(built.features)

    def log_prob(x: Tensor) -> Tensor:
        return built(context).log_prob(x)

    jacfwd = torch.func.jacfwd
    for derivative in (torch.func.hessian(log_prob), jacfwd(log_prob), jacfwd(jacfwd(log_prob))):
        with pytest.raises(RuntimeError, match=r'only in reverse mode.*inverse="passes"'):
            derivative(x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("inverse", fast(["auto", "passes"], ["auto", *INVERSES[1:]]))
def test_the_compiler_does_not_take_a_derivative_for_zero(inverse: str) -> None:
    flow = perturbed(IAF(3, transforms=1, inverse=inverse)).float()
    x = torch.tensor([0.5, -1.0, 2.0])

    def slope(x: Tensor) -> Tensor:
        return torch.func.jvp(flow(validate_args=False).log_prob, (x,), (x,))[1]

    compiled = torch.compile(slope, backend="eager")
    if inverse == "passes":
        torch.testing.assert_close(compiled(x), slope(x))
    else:
        with pytest.raises(RuntimeError, match=r'only in reverse mode.*inverse="passes"'):
            compiled(x)
