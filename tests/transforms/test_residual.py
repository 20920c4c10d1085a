"""Planar, radial, Householder and Sylvester transforms against what defines them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, jacrev

from invflow.transforms import (
    ORTHONORMAL,
    Basis,
    Householder,
    Orthogonal,
    Permuted,
    Planar,
    Radial,
    Reflected,
    Sylvester,
    Transform,
)
from invflow.transforms.householder import reflect
from invflow.transforms.positive import positive, ratio
from tests.helpers import (
    DIRECTIONS,
    TRANSFORMS,
    Both,
    assert_close,
    context_for,
    directed,
    generator,
    gradients,
    randn,
)

NAMES = [
    name for name in TRANSFORMS if name.startswith(("planar", "radial", "householder", "sylvester"))
]
names = pytest.mark.parametrize("name", NAMES)
directions = pytest.mark.parametrize("direction", DIRECTIONS)

FRESH: dict[str, Callable[..., Transform]] = {
    "planar": Planar,
    "radial": Radial,
    "householder": Householder,
    **{f"sylvester-{name}": lambda d, n=name, **o: Sylvester(d, d, n, **o) for name in ORTHONORMAL},
}
fresh = pytest.mark.parametrize("build", FRESH.values(), ids=FRESH)


def given(transform: Transform, *tensors: Tensor) -> Transform:
    """Return the transform, in float64, with these for its learned tensors."""
    transform = transform.double()
    with torch.no_grad():
        transform.given.bias.copy_(torch.cat([tensor.flatten() for tensor in tensors]))
    return transform


def scalar(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


# What all of them promise beyond the tests of every transform.


@fresh
@pytest.mark.parametrize("features", [1, 3, 8])
def test_starts_at_the_identity(build: Callable[..., Transform], features: int) -> None:
    z = randn(5, features, dtype=torch.float32)
    x, ladj = build(features, generator=generator(1))(z)
    assert_close(x, z, 1e-5)
    assert_close(ladj, torch.zeros(5), 1e-5)
    x, ladj = build(features, context=2, generator=generator(1))(z, randn(5, 2).float())
    assert (x - z).abs().max() < 0.3
    assert ladj.abs().max() < 0.3


@fresh
def test_the_generator_decides_the_start(build: Callable[..., Transform]) -> None:
    first, same, other = (build(3, context=2, generator=generator(seed)) for seed in (1, 1, 2))
    for a, b in zip(first.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(
        not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True)
    )


@fresh
def test_every_learned_number_gets_a_gradient_once_off_the_start(
    build: Callable[..., Transform],
) -> None:
    transform = build(3, context=2, generator=generator(1)).double()
    with torch.no_grad():
        for parameter in transform.parameters():
            parameter.add_(0.5 * randn(*parameter.shape, seed=4))
    found = gradients(*transform(randn(5, 3), randn(5, 2)), transform.parameters())
    assert all(gradient.abs().min() > 0 for gradient in found)


@names
@directions
def test_gradcheck(name: str, direction: str) -> None:
    module = Both(TRANSFORMS[name]())
    context = context_for(module.transform, 2)
    optional = [] if context is None else [context]
    keys = [key for key, _ in module.named_parameters()]

    def run(value: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        contexts, state = tensors[: len(optional)], tensors[len(optional) :]
        named = dict(zip(keys, state, strict=True))
        return functional_call(module, named, (direction, value, *contexts))

    inputs = [randn(2, module.transform.features), *optional, *module.parameters()]
    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


@names
def test_second_derivatives_of_the_ladj(name: str) -> None:
    """By torch.func, of the ladj's gradient, against differences of it; and backwards too."""
    transform = TRANSFORMS[name]()
    context = context_for(transform)
    value = randn(transform.features, seed=3)
    for direction in DIRECTIONS:
        run = directed(transform, direction)
        slope = jacrev(lambda value, run=run: run(value, context)[1])
        hessian = jacrev(slope)(value)
        step = 1e-5 * torch.eye(transform.features, dtype=torch.float64)
        differences = torch.stack([slope(value + d) - slope(value - d) for d in step], -1) / 2e-5
        assert_close(hessian, differences, 1e-6)
        assert_close(hessian, hessian.t())


@names
def test_autocast_changes_nothing_for_float32(name: str) -> None:
    transform = TRANSFORMS[name]().float()
    z, context = randn(5, transform.features).float(), context_for(transform, 5)
    context = None if context is None else context.float()
    expected = transform(z, context)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x, ladj = transform(z, context)
        back, back_ladj = transform.inverse(x, context)
    assert_close((x, ladj), expected, 1e-6)
    assert_close((back, back_ladj), (z, -ladj), 1e-4)


# The parameters that are constrained.


def test_positive_and_ratio_are_what_they_say() -> None:
    k = torch.cat([randn(100), 10.0 ** torch.arange(-8, 9), -(10.0 ** torch.arange(-8, 9))])
    rise, shrunk = positive(k), ratio(k)
    root = torch.sqrt(1 + k.square())
    # One of the two forms is without cancellation.
    expected = torch.where(k > 0, k + root, 1 / (root - k))
    torch.testing.assert_close(rise, expected, rtol=1e-13, atol=0)
    assert (rise > 0).all()
    assert_close(k * shrunk, rise - 1, 1e-12)
    expected = torch.where(k > 0, 1 + k / (1 + root), (1 + rise) / (1 + root))
    torch.testing.assert_close(shrunk, expected, rtol=1e-13, atol=0)


# At the limit of what is invertible before the reparametrisation, and beyond it.
BEYOND = [-0.5, -1.0, -1.0 - 1e-12, -3.0, -50.0, -1e4]


@pytest.mark.parametrize("k", BEYOND)
@pytest.mark.parametrize("features", [1, 3])
def test_planar_at_and_beyond_the_limit(k: float, features: int) -> None:
    w = randn(features, seed=1)
    # One with w.u = k, and parts along and across w.
    across = randn(features, seed=2)
    u = across + w * (k - across @ w) / (w @ w)
    transform = given(Planar(features), w, u, scalar(0.0))
    # Along w through the middle, where the slope is least.
    z = torch.linspace(-3, 3, 401, dtype=torch.float64).unsqueeze(-1) * w
    x, _ = transform(z)
    assert (torch.diff(x @ w) > 0).all()
    if k <= -3:
        assert (torch.diff((z + u * torch.tanh(z @ w).unsqueeze(-1)) @ w) <= 0).any()
    assert_close(transform.inverse(x)[0], z, 1e-8)
    middle = torch.zeros(features, dtype=torch.float64)
    jacobian = jacrev(lambda z: transform(z)[0])(middle)
    rise = k + (1 + k * k) ** 0.5
    assert_close(torch.linalg.det(jacobian).item(), rise, 1e-8 * abs(k))
    assert_close(transform(middle)[1].exp(), positive(scalar(k))[0], 1e-12)


def test_planar_reaches_every_invertible_step() -> None:
    """For a given vector with w.u above -1 there is a u that is used as that."""
    w = randn(3, seed=1)
    for s in (-0.999, -0.2, 0.0, 4.0):
        wanted = randn(3, seed=2)
        wanted = wanted + w * (s - wanted @ w) / (w @ w)
        k = ((1 + s) ** 2 - 1) / (2 * (1 + s))
        u = wanted + w * (k - s) / (w @ w)
        z = randn(5, 3)
        x, ladj = given(Planar(3), w, u, scalar(0.3))(z)
        a = z @ w + 0.3
        assert_close(x, z + wanted * torch.tanh(a).unsqueeze(-1))
        assert_close(ladj, torch.log(1 + s * (1 - torch.tanh(a) ** 2)))


def test_planar_with_no_direction_is_a_shift() -> None:
    u = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    transform = given(Planar(3), torch.zeros(3), u, scalar(0.7))
    z = randn(5, 3)
    x, ladj = transform(z)
    assert_close(x, z + u * torch.tanh(scalar(0.7)))
    assert_close(ladj, torch.zeros(5).double())
    assert_close(transform.inverse(x)[0], z)
    assert all(torch.isfinite(g).all() for g in gradients(x, ladj, transform.parameters()))
    near = given(Planar(3), 1e-9 * randn(3), u, scalar(0.7))
    assert_close(near(z)[0], x, 1e-8)


@pytest.mark.parametrize("raw", [*BEYOND, 0.0, 2.0, 1e4])
@pytest.mark.parametrize("features", [1, 3])
def test_radial_against_the_paper(raw: float, features: int) -> None:
    centre, spread = randn(features, seed=1), -0.4
    transform = given(Radial(features), centre, scalar(spread), scalar(raw))
    alpha, kappa = positive(scalar(spread)), positive(scalar(raw))
    beta = alpha * (kappa - 1)
    assert beta > -alpha
    z = randn(50, features)
    x, ladj = transform(z)
    offset = z - centre
    r = offset.norm(dim=-1, keepdim=True)
    assert_close(x, z + beta / (alpha + r) * offset, 1e-10)
    slopes = -1 / (alpha + r) ** 2
    one = 1 + beta / (alpha + r)
    expected = one ** (features - 1) * (one + beta * slopes * r)
    assert_close(ladj, expected.squeeze(-1).log(), 1e-6)
    assert_close(transform.inverse(x)[0], z, 1e-8)


def test_radial_beyond_the_limit_folds_without_the_constraint() -> None:
    r = torch.linspace(0, 2, 101, dtype=torch.float64)
    assert (torch.diff(r - 1.5 * r / (1 + r)) < 0).any()
    transform = given(Radial(1), scalar(0.0), scalar(0.0), scalar(-1.5))
    assert (torch.diff(transform(r.unsqueeze(-1))[0].squeeze(-1)) > 0).all()


@pytest.mark.parametrize("features", [1, 3])
@directions
def test_radial_at_its_centre(features: int, direction: str) -> None:
    """The distance has no derivative there, the map has one."""
    kappa = 0.5
    transform = given(Radial(features), randn(features), scalar(0.0), scalar(-0.75))
    run = directed(transform, direction)
    centre = randn(features)
    value, ladj = run(centre)
    stretch = kappa if direction == "forward" else 1 / kappa
    assert_close(value, centre)
    assert_close(ladj, features * scalar(stretch)[0].log())
    eye = torch.eye(features, dtype=torch.float64)
    assert_close(jacrev(lambda value: run(value)[0])(centre), stretch * eye)


def test_radial_where_the_branches_of_its_root_meet() -> None:
    """At a distance of alpha kappa after the map: neither branch may lose its derivative."""
    transform = given(Radial(2), torch.zeros(2), scalar(0.0), scalar(1.2))
    x = torch.cat([positive(scalar(1.2)), torch.zeros(1).double()])
    z, _ = transform.inverse(x)
    forward = jacrev(lambda z: transform(z)[0])(z)
    inverse = jacrev(lambda x: transform.inverse(x)[0])(x)
    assert_close(inverse @ forward, torch.eye(2, dtype=torch.float64))


# Orthogonal matrices.


def test_householder_against_matrices() -> None:
    vectors = randn(5, 3, seed=1)
    transform = given(Householder(3, 5), vectors)
    matrix = torch.eye(3, dtype=torch.float64)
    for v in vectors:
        matrix = (torch.eye(3).double() - 2 * torch.outer(v, v) / (v @ v)) @ matrix
    z = randn(4, 3)
    x, ladj = transform(z)
    assert_close(x, z @ matrix.t())
    assert_close(torch.linalg.det(matrix).item(), -1.0)
    assert torch.equal(ladj, torch.zeros(4).double())
    assert_close(transform.inverse(x)[0], z @ matrix.t() @ matrix)


def test_a_vector_of_length_zero_reflects_nothing() -> None:
    vectors = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    z = randn(4, 3)
    x = reflect(z, vectors)
    assert torch.equal(x, z)
    assert torch.isfinite(torch.autograd.grad(x.square().sum(), vectors)[0]).all()


EVERY = [Orthogonal(), Reflected(1), Reflected(4), Permuted(), Permuted(reverse=True)]


@pytest.mark.parametrize("basis", EVERY, ids=repr)
@pytest.mark.parametrize(("features", "columns"), [(1, 1), (3, 1), (3, 2), (8, 8)])
def test_columns_are_orthonormal(basis: Basis, features: int, columns: int) -> None:
    start = basis.start(features, columns, generator(1)).double()
    for scale in (0.0, 1.0, 1e6):
        noise = randn(2, 5, *start.shape, seed=2)
        q = basis.columns(start + scale * noise, features, columns)
        assert q.shape[-2:] == (features, columns)
        eye = torch.eye(columns, dtype=torch.float64)
        assert_close(q.mT @ q, eye.expand(*q.shape[:-2], -1, -1), 1e-13)


def test_orthogonal_columns_span_those_given_and_keep_their_sense() -> None:
    given = randn(5, 4, 3)
    q = Orthogonal().columns(given, 4, 3)
    r = q.mT @ given
    assert_close(q @ r, given)
    assert_close(r.tril(-1), torch.zeros(5, 3, 3).double(), 1e-13)
    assert (r.diagonal(dim1=-2, dim2=-1) > 0).all()


def test_orthogonal_columns_move_smoothly() -> None:
    """No sign jumps as the first entry goes through zero, on which LAPACK's signs depend."""
    first = torch.linspace(-1e-3, 1e-3, 101, dtype=torch.float64)
    given = torch.stack([first, torch.ones_like(first)], -1).unsqueeze(-1)
    q = Orthogonal().columns(given, 2, 1)
    assert torch.diff(q, dim=0).abs().max() < 1e-4


# Sylvester.


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("sylvester")])
def test_sylvester_against_matrices(name: str) -> None:
    """The map from its matrices, and its determinant from the whole Jacobian of these."""
    transform = TRANSFORMS[name]()
    assert isinstance(transform, Sylvester)
    m, features = transform.columns, transform.features
    context = context_for(transform)
    bias, weight = transform.given.bias, transform.given.weight
    flat = bias if weight is None else bias + weight @ context
    square, diagonal, b, frame = (
        flat[: m * m].view(m, m),
        *flat[m * m :].split([m, m, len(flat) - m * m - 2 * m]),
    )
    start = transform.basis.start(features, m, None)
    q = transform.basis.columns(frame.view(start.shape), features, m)
    inner = square.tril(-1).t() + torch.diag(diagonal)
    k = square.diagonal() * diagonal
    outer = square.triu(1) + torch.diag((positive(k) - 1) / diagonal)
    assert (outer.diagonal() * inner.diagonal() > -1).all()
    z = randn(features, seed=5)
    a = inner @ q.t() @ z + b
    x, ladj = transform(z, context)
    assert_close(x, z + q @ outer @ torch.tanh(a))
    jacobian = torch.eye(features).double()
    jacobian = jacobian + q @ outer @ torch.diag(1 - torch.tanh(a) ** 2) @ inner @ q.t()
    assert_close(ladj, torch.linalg.slogdet(jacobian)[1])


@pytest.mark.parametrize("features", [1, 4])
@pytest.mark.parametrize("rho", [-40.0, -0.7, 0.0, 3.0])
def test_sylvester_with_one_column_is_planar(features: int, rho: float) -> None:
    """With u along w, which is what one column in common leaves of it."""
    q, inner, b = randn(features, seed=1), scalar(-1.3), scalar(0.4)
    direction = q / q.norm()
    planar = given(Planar(features), inner * direction, rho * direction, b)
    sylvester = given(Sylvester(features, 1), scalar(rho), inner, b, q)
    z = randn(5, features)
    assert_close(sylvester(z), planar(z))
    assert_close(sylvester.inverse(z), planar.inverse(z))


def test_reversed_triangular_is_triangular_between_reversals() -> None:
    tensors = [randn(3, 3, seed=1), randn(3, seed=2), randn(3, seed=3), torch.zeros(0)]
    plain = given(Sylvester(4, 3, "triangular"), *tensors)
    turned = given(Sylvester(4, 3, Permuted(reverse=True)), *tensors)
    z = randn(5, 4)
    x, ladj = plain(z.flip(-1))
    assert_close(turned(z), (x.flip(-1), ladj))


@pytest.mark.parametrize("k", BEYOND)
def test_sylvester_at_and_beyond_the_limit(k: float) -> None:
    square = randn(3, 3, seed=1)
    diagonal = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    square.diagonal().copy_(k / diagonal)
    tensors = [square, diagonal, torch.zeros(3), torch.eye(3)]
    transform = given(Sylvester(3), *tensors)
    z = torch.cat([torch.zeros(1, 3), randn(50, 3)]).double()
    x, ladj = transform(z)
    assert_close(ladj[0], 3 * positive(scalar(k))[0].log(), 1e-10)
    jacobians = torch.func.vmap(jacrev(lambda z: transform(z)[0]))(z)
    assert (torch.linalg.det(jacobians) > 0).all()
    back, back_ladj = transform.inverse(x)
    # Backwards errors grow by the off-diagonal entries over the slopes.
    assert_close(transform(back)[0], x, 1e-9 * max(1.0, abs(k)))
    assert_close(transform(back)[1], -back_ladj, 1e-6)


# Numbers of any size.


@fresh
@directions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-6, 30.0, 1e3])
@pytest.mark.parametrize("reach", [0.0, 1e-6, 1.0, 1e6])
def test_large_and_small_numbers(
    build: Callable[..., Transform], direction: str, dtype: torch.dtype, size: float, reach: float
) -> None:
    """All is finite, and each direction lands where the other one comes back from."""
    transform = build(3, generator=generator(1)).to(dtype)
    with torch.no_grad():
        for parameter in transform.parameters():
            parameter.copy_(size * randn(*parameter.shape, seed=4))
    value = (reach * randn(20, 3)).to(dtype).requires_grad_()
    result, ladj = directed(transform, direction)(value)
    found = gradients(result, ladj, [value, *transform.parameters()])
    assert all(torch.isfinite(tensor).all() for tensor in (result, ladj, *found))
    if direction == "inverse":
        back, back_ladj = transform(result)
        scale = value.abs().amax() + result.abs().amax() + size
        assert (back - value).abs().amax() < 1e3 * torch.finfo(dtype).eps * scale * max(size, 1)
        assert torch.isfinite(back_ladj).all()
