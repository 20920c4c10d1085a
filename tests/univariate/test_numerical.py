from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from invflow.univariate import Monotonic, Numerical, Sigmoidal
from tests.helpers import assert_close, randn

DEFAULTS: list[Numerical] = [Sigmoidal(), Monotonic()]
defaults = pytest.mark.parametrize("map", DEFAULTS, ids=["sigmoidal", "monotonic"])
BUILT: list[Numerical] = [
    Sigmoidal(units=3, layers=2, floor=0.2),
    Monotonic(units=3, nodes=64, bound=1.0, steepness=1.0),
]
built = pytest.mark.parametrize("map", BUILT, ids=["sigmoidal", "monotonic"])


def test_sigmoidal_formula() -> None:
    map, z, params = Sigmoidal(units=3, layers=2, floor=0.01, bound=2.0), randn(7), randn(7, 18)
    x = z
    for layer in range(2):
        logits, raw, b = params[:, 9 * layer : 9 * layer + 9].unflatten(-1, (3, 3)).unbind(1)
        a = torch.exp(2 * torch.tanh(raw / 2))
        mixture = (logits.softmax(-1) * torch.sigmoid(a * x[:, None] + b)).sum(-1)
        x = 0.01 * x + 0.99 * torch.log(mixture / (1 - mixture))
    assert_close(map.forward(z, params)[0], x, 1e-13)


@given(z=st.floats(-1e6, 1e6), seed=st.integers(0, 99))
def test_sigmoidal_far_out(z: float, seed: int) -> None:
    """Where the mixture itself rounds to zero or one."""
    map = Sigmoidal()
    point, params = torch.tensor(z, dtype=torch.float64), 3 * randn(map.parameters, seed=seed)
    x, ladj = map.forward(point, params)
    assert torch.isfinite(x)
    assert_close(map.inverse(x, params), (point, -ladj), 1e-9)


def _by_trapezoids(map: Monotonic, z: Tensor, params: Tensor) -> Tensor:
    """Return the integral from many trapezoids; beyond the edge the slope stays."""
    points = torch.linspace(0, 1, 200_001, dtype=torch.float64) * z
    v, w, b = params[: 3 * map.units].unflatten(0, (3, -1))
    share = map.bound / map.units
    v, w = share * torch.tanh(v / share), map.steepness * torch.tanh(w / map.steepness)
    s = map.bound * torch.tanh(params[-2] / map.bound)
    inner = torch.tanh(w * points.clamp(-map.edge, map.edge)[:, None] + b)
    return params[-1] + torch.trapezoid(torch.exp(s + (v * inner).sum(-1)), points)


@pytest.mark.parametrize("z", [-9.0, -6.0, -1.5, 0.0, 0.3, 5.9, 20.0])
def test_monotonic_is_the_integral(z: float) -> None:
    map = Monotonic(units=5, nodes=64)
    point, params = torch.tensor(z, dtype=torch.float64), randn(map.parameters)
    assert_close(map.forward(point, params)[0], _by_trapezoids(map, point, params), 1e-8)


def test_monotonic_quadrature_is_as_exact_as_documented() -> None:
    """At the defaults, from parameters as wild as the bounds let them be."""
    map, fine = Monotonic(), Monotonic(nodes=300)
    z = torch.linspace(-6, 6, 61, dtype=torch.float64)[:, None]
    for scale, limit in ((1.0, 1e-8), (3.0, 1e-6), (30.0, 1e-6)):
        params = scale * randn(50, map.parameters)
        x, reference = map.forward(z, params)[0], fine.forward(z, params)[0]
        assert ((x - reference).abs() / (1 + reference.abs())).max() < limit


@defaults
def test_default_starts_near_the_identity(map: Numerical) -> None:
    z = torch.linspace(-5, 5, 21, dtype=torch.float64)
    x, ladj = map.forward(z, torch.tensor(map.start, dtype=torch.float64))
    assert (x - z).abs().max() < 0.5
    assert ladj.abs().max() < 0.2


@defaults
def test_units_differ_from_the_start(map: Any) -> None:
    """Or they would all learn the same."""
    params = torch.tensor(map.start, dtype=torch.float64).requires_grad_()
    x, ladj = map.forward(torch.tensor(0.7, dtype=torch.float64), params)
    gradient = torch.autograd.grad(x + ladj, params)[0][: map.units]
    assert len(set(gradient.tolist())) == map.units


@built
def test_gradients_of_the_inverse(map: Numerical) -> None:
    """First and second derivatives, against finite differences."""
    x, params = randn(3).requires_grad_(), randn(3, map.parameters, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(map.inverse, (x, params))
    assert torch.autograd.gradgradcheck(map.inverse, (x, params))


@built
def test_gradients_are_implicit(map: Numerical) -> None:
    """dz/dp = -(du/dp) / (du/dz), dz/dx = 1 / (du/dz) at the solution."""
    x, params = randn(4).requires_grad_(), randn(4, map.parameters, seed=1).requires_grad_()
    z, _ = map.inverse(x, params)
    by_x, by_params = torch.autograd.grad(z.sum(), (x, params))
    slope, by_p = map.slopes(z.detach(), params)
    assert_close(by_x, 1 / slope, 1e-9)
    assert_close(by_params, -by_p / slope.unsqueeze(-1), 1e-9)


@built
@pytest.mark.parametrize("x_dim", [0, 1, 2, None])
@pytest.mark.parametrize("params_dim", [0, 2, None])
@pytest.mark.parametrize("bare", [False, True])
def test_vmap_over_any_dimension(
    map: Numerical, x_dim: int | None, params_dim: int | None, bare: bool
) -> None:
    """Mapped over in one, the other or both, and with parameters that have less batch."""
    if x_dim is None and params_dim is None:
        return
    shape = (2, 3) if not bare else (3,)
    x, params = randn(4, 2, 3), randn(4, *shape, map.parameters, seed=1)
    xs = x.movedim(0, x_dim) if x_dim is not None else x[0]
    dim = min(params_dim, len(shape)) if params_dim is not None else None
    ps = params.movedim(0, dim) if dim is not None else params[0]
    found, ladj = torch.func.vmap(map.inverse, (x_dim, dim))(xs, ps)
    for i in range(4):
        one = map.inverse(
            x[i] if x_dim is not None else x[0], params[i] if dim is not None else params[0]
        )
        assert_close((found[i], ladj[i]), one, 1e-12)


@defaults
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision(map: Numerical, dtype: torch.dtype) -> None:
    """The inverse is that of the double-precision map, to the digits that the dtype has."""
    z, params = randn(200) * 2, randn(200, map.parameters, seed=1)
    x, _ = map.forward(z, params)
    back, ladj = map.inverse(x.to(dtype), params.to(dtype))
    assert back.dtype == ladj.dtype == dtype
    again = map.forward(back.double(), params.to(dtype).double())[0]
    assert_close(again, x.to(dtype).double(), 100 * torch.finfo(dtype).eps)


@defaults
@pytest.mark.parametrize("scale", [10.0, 1e3, 1e6])
def test_wild_parameters_keep_the_round_trip(map: Numerical, scale: float) -> None:
    z, params = randn(500) * 3, randn(500, map.parameters, seed=1) * scale
    params[..., -1] = 0
    x, ladj = map.forward(z, params)
    assert torch.isfinite(x).all()
    assert torch.isfinite(ladj).all()
    again = map.forward(map.inverse(x, params)[0], params)[0]
    assert_close(again, x, 1e-9)


@defaults
def test_nan_gives_nan(map: Numerical) -> None:
    x = torch.tensor([math.nan, 0.5], dtype=torch.float64)
    z, _ = map.inverse(x, torch.tensor(map.start, dtype=torch.float64).expand(2, -1))
    assert z.isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Sigmoidal, {"units": 0}, r"units must be .* got 0"),
        (Sigmoidal, {"layers": 0}, r"layers must be .* got 0"),
        (Sigmoidal, {"floor": 0.0}, r"floor must be between 0 and 1, got 0.0"),
        (Sigmoidal, {"floor": 1}, r"floor must be between 0 and 1, got 1"),
        (Sigmoidal, {"bound": math.inf}, r"bound must be positive and finite, got inf"),
        (Monotonic, {"units": 0}, r"units must be .* got 0"),
        (Monotonic, {"nodes": 0}, r"nodes must be .* got 0"),
        (Monotonic, {"edge": -1.0}, r"edge must be positive and finite, got -1.0"),
        (Monotonic, {"bound": 0}, r"bound must be positive and finite, got 0"),
        (Monotonic, {"steepness": math.nan}, r"steepness must be positive and finite, got nan"),
    ],
)
def test_bad_arguments(kind: type[Numerical], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**options)


@pytest.mark.parametrize(
    ("kind", "name"), [(Sigmoidal, "units"), (Sigmoidal, "floor"), (Monotonic, "edge")]
)
def test_bad_types(kind: type[Numerical], name: str) -> None:
    with pytest.raises(TypeError, match=name):
        kind(**{name: "four"})


def test_sigmoidal_keeps_the_digits_of_its_slope_far_out() -> None:
    each = Sigmoidal()
    params = torch.tensor(each.start).double() + randn(200, each.parameters)
    for far in (1e3, 1e6, 1e8, -1e8):
        z = torch.full((200,), far).double()
        exact = each.forward(z, params)[1]
        assert_close(each.forward(z.float(), params.float())[1].double(), exact, 1e-4)


def test_monotonic_slope_is_that_of_its_value() -> None:
    each = Monotonic()
    for size, tolerance in ((1, 1e-9), (5, 1e-7)):
        params = torch.tensor(each.start).double() + size * randn(500, each.parameters)
        z = (4 * randn(500, seed=1)).requires_grad_()
        x, ladj = each.forward(z, params)
        (slope,) = torch.autograd.grad(x.sum(), z)
        assert_close(slope.log(), ladj, tolerance)
