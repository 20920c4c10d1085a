from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from invflow.testing import check_univariate
from invflow.univariate import Additive, Affine, Gated, Univariate
from tests.helpers import UNIVARIATES, SinhArcsinh, assert_close, fast, randn

MAPS = {**UNIVARIATES, "sinh-arcsinh": SinhArcsinh()}
ONE_OF_EACH = {type(map): name for name, map in MAPS.items()}.values()
maps = pytest.mark.parametrize("map", MAPS.values(), ids=MAPS)
numbers = st.floats(-8, 8)


def _point(map: Univariate, draw: st.DataObject) -> tuple[Tensor, Tensor]:
    z = torch.tensor(draw.draw(numbers), dtype=torch.float64)
    params = draw.draw(st.lists(numbers, min_size=map.parameters, max_size=map.parameters))
    return z, torch.tensor(params, dtype=torch.float64)


@maps
def test_keeps_the_laws(map: Univariate) -> None:
    """Those of one feature alone; more points than these are drawn below."""
    check_univariate(map)


@maps
@given(draw=st.data())
def test_inverse_undoes_forward(map: Univariate, draw: st.DataObject) -> None:
    z, params = _point(map, draw)
    x, ladj = map.forward(z, params)
    back, back_ladj = map.inverse(x, params)
    # A slope s loses log10(1 / s) digits of z.
    loss = torch.exp(-ladj).clamp(min=1) * x.abs().clamp(min=1)
    assert (back - z).abs() <= 1e-13 * loss * (1 + z.abs())
    assert_close(back_ladj, -ladj, 1e-10)


@maps
@given(draw=st.data())
def test_solver_is_the_inverse_and_leaves_its_arguments_alone(
    map: Univariate, draw: st.DataObject
) -> None:
    x, params = _point(map, draw)
    before = x.clone(), params.clone()
    assert_close(map.solver(x)(x, params), map.inverse(x, params)[0], 1e-14)
    assert torch.equal(x, before[0])
    assert torch.equal(params, before[1])


@maps
@given(draw=st.data())
def test_forward_undoes_inverse(map: Univariate, draw: st.DataObject) -> None:
    x, params = _point(map, draw)
    z, ladj = map.inverse(x, params)
    again, again_ladj = map.forward(z, params)
    assert_close(again, x, 1e-10)
    assert_close(again_ladj, -ladj, 1e-10)


@maps
@pytest.mark.parametrize("direction", ["forward", "inverse"])
@given(draw=st.data())
def test_ladj_is_the_log_slope(map: Univariate, direction: str, draw: st.DataObject) -> None:
    value, params = _point(map, draw)
    run = getattr(map, direction)
    slope = torch.func.grad(lambda value: run(value, params)[0])(value)
    assert slope > 0
    assert_close(run(value, params)[1], slope.log(), 1e-9)


@maps
@given(draw=st.data())
def test_slopes_are_the_derivatives(map: Univariate, draw: st.DataObject) -> None:
    z, params = _point(map, draw)
    by_z, by_params = torch.func.jacrev(lambda z, p: map.forward(z, p)[0], (0, 1))(z, params)
    assert_close(map.slopes(z, params), (by_z, by_params), 1e-12)


@maps
@pytest.mark.parametrize("direction", ["forward", "inverse"])
@given(draw=st.data())
def test_forward_mode_is_reverse_mode(map: Univariate, direction: str, draw: st.DataObject) -> None:
    value, params = _point(map, draw)
    both = torch.cat([value.reshape(1), params])

    def run(both: Tensor) -> Tensor:
        return torch.stack(getattr(map, direction)(both[0], both[1:]))

    expected = torch.func.jacrev(run)(both)
    assert_close(torch.func.jacfwd(run)(both), expected, 1e-9)


@maps
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_forward_mode_twice_is_reverse_mode_twice(map: Univariate, direction: str) -> None:
    both = randn(1 + map.parameters)

    def run(both: Tensor) -> Tensor:
        return torch.stack(getattr(map, direction)(both[0], both[1:]))

    forwards, backwards = torch.func.jacfwd, torch.func.jacrev
    expected = backwards(backwards(run))(both)
    assert expected.abs().max() > 0 or isinstance(map, Additive)
    for mixed in (forwards(forwards(run)), backwards(forwards(run)), forwards(backwards(run))):
        assert_close(mixed(both), expected, 1e-9)


directions = pytest.mark.parametrize("direction", ["forward", "inverse"])


@maps
@directions
def test_vmap(map: Univariate, direction: str) -> None:
    run = getattr(map, direction)
    value, params = randn(5, 3), randn(5, 3, map.parameters, seed=1)
    assert_close(torch.func.vmap(run)(value, params), run(value, params), 1e-14)
    mapped = torch.func.vmap(run, (None, 0))(value[0], params)
    assert_close(mapped, run(value[:1].expand(5, -1), params), 1e-14)
    slope = torch.func.vmap(torch.func.vmap(torch.func.grad(lambda *point: run(*point)[0])))
    assert_close(slope(value, params).log(), run(value, params)[1])


@pytest.mark.parametrize("name", fast(["tight", "spline-off-centre"], ONE_OF_EACH))
@directions
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:torch")
def test_compiled(name: str, direction: str) -> None:
    torch._dynamo.reset()
    map = MAPS[name]
    run = getattr(map, direction)
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    inputs = randn(5).requires_grad_(), randn(5, map.parameters, seed=1).requires_grad_()
    actual, expected = compiled(*inputs), run(*inputs)
    assert_close(actual, expected)
    found, wanted = (
        torch.autograd.grad(result.cos().sum() + ladj.sum(), inputs)
        for result, ladj in (actual, expected)
    )
    assert_close(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("raw", [-math.inf, -1e30, -1e3, 1e3, 1e30, math.inf])
def test_affine_log_scale_stays_in_its_bound(raw: float, dtype: torch.dtype) -> None:
    params, one = torch.tensor([0.5, raw], dtype=dtype), torch.tensor(1.0, dtype=dtype)
    for run in (Affine(bound=3.0).forward, Affine(bound=3.0).inverse):
        value, ladj = run(one, params)
        assert ladj.abs() <= 3.0
        assert 0 < value.abs() < 100


@given(raw=st.floats(-10, 10))
def test_affine_log_scale_is_strictly_inside_and_increasing(raw: float) -> None:
    params = torch.tensor([0.0, raw], dtype=torch.float64, requires_grad=True)
    _, log_scale = Affine(bound=2.0).forward(torch.tensor(1.0, dtype=torch.float64), params)
    assert log_scale.abs() < 2.0
    assert torch.autograd.grad(log_scale, params)[0][1] > 0


def test_affine_formula() -> None:
    z, params = randn(20), randn(20, 2, seed=1)
    mu, r = params.unbind(-1)
    s = 5 * torch.tanh(r / 5)
    assert_close(Affine().forward(z, params), (mu + s.exp() * z, s), 1e-14)


def test_gated_is_the_papers_update() -> None:
    z, params = randn(20), randn(20, 2, seed=1)
    m, s = params.unbind(-1)
    gate = 1 / (1 + torch.exp(-s))
    x, ladj = Gated().forward(z, params)
    assert_close(x, gate * z + (1 - gate) * m, 1e-14)
    assert_close(ladj, gate.log(), 1e-13)
    assert (ladj < 0).all()


def test_additive_formula() -> None:
    z, params = randn(20), randn(20, 1, seed=1)
    assert_close(Additive().forward(z, params), (z + params[:, 0], torch.zeros(20).double()), 0)
    assert_close(Additive().inverse(z, params), (z - params[:, 0], torch.zeros(20).double()), 0)
