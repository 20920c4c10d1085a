"""What a conditioner reads of features far out."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from invflow import IAF, MAF, flows, kernels
from invflow.conditioners import Conditioner
from invflow.conditioners.soft_clip import soft_clip, soft_clip_slope
from invflow.transforms import Autoregressive, Compose
from invflow.univariate import Additive, Affine, Gated
from tests.helpers import INVERSES, assert_close, generator, gradients, made, perturbed, randn

BOUNDS = [0.3, 1.0, 10.0]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
each_bound = pytest.mark.parametrize("bound", BOUNDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_inverse = pytest.mark.parametrize("inverse", INVERSES)


def _around(bound: float) -> Tensor:
    """Return numbers up to twelve bounds, and those where the formula changes."""
    knee = torch.tensor([bound / 2, -bound / 2, 0.0], dtype=torch.float64)
    return torch.cat([randn(50) * 4 * bound, knee])


@each_bound
def test_what_is_read(bound: float) -> None:
    z, knee = _around(bound), bound / 2
    beyond = torch.sign(z) * (knee + knee * torch.tanh(z.abs() / knee - 1))
    assert_close(soft_clip(z, bound), torch.where(z.abs() > knee, beyond, z), 1e-14)
    assert (soft_clip(z, bound).abs() <= bound).all()
    ordered = soft_clip(z.sort().values, bound)
    assert (ordered.diff() >= 0).all()


@each_bound
@each_dtype
def test_near_zero_nothing_changes(bound: float, dtype: torch.dtype) -> None:
    z = (torch.linspace(-0.5, 0.5, 1001) * bound).to(dtype)
    z = z[z.abs() <= bound / 2]
    assert torch.equal(soft_clip(z, bound), z)
    assert torch.equal(soft_clip_slope(z, bound), torch.ones_like(z))


@each_dtype
def test_nothing_overflows(dtype: torch.dtype) -> None:
    most = torch.finfo(dtype).max
    z = torch.tensor([most, -most, math.inf, -math.inf, 20.0, -20.0], dtype=dtype)
    z.requires_grad_()
    read = soft_clip(z, 10.0)
    assert_close(read[:4].detach(), torch.tensor([10.0, -10.0] * 2, dtype=dtype))
    (gradient,) = torch.autograd.grad(read.sum(), z)
    assert torch.equal(gradient[:4], torch.zeros(4, dtype=dtype))
    assert torch.isfinite(gradient).all()
    assert_close(gradient, soft_clip_slope(z.detach(), 10.0), 10 * torch.finfo(dtype).eps)


def test_what_is_no_number_stays_so() -> None:
    nan = torch.tensor([math.nan])
    assert soft_clip(nan, 10.0).isnan().all()
    assert soft_clip_slope(nan, 10.0).isnan().all()


@each_bound
def test_derivatives(bound: float) -> None:
    """The first is continuous, so that it may be compared with differences everywhere."""
    z = _around(bound).requires_grad_()
    assert torch.autograd.gradcheck(soft_clip, (z, bound))
    (slope,) = torch.autograd.grad(soft_clip(z, bound).sum(), z)
    assert_close(slope, soft_clip_slope(z.detach(), bound), 1e-12)
    inner = z.detach()[:-3].requires_grad_()
    assert torch.autograd.gradgradcheck(soft_clip, (inner, bound))
    mapped = torch.func.vmap(torch.func.grad(lambda each: soft_clip(each, bound)))(z.detach())
    assert_close(mapped, slope, 1e-12)
    _, tangent = torch.func.jvp(lambda z: soft_clip(z, bound), (inner.detach(),), (randn(50),))
    assert_close(tangent, slope[:-3] * randn(50), 1e-12)


def _transforms(inverse: str, bound: float | None, count: int = 3) -> Compose:
    parts = [
        Autoregressive(
            made(7, (20, 20), activation="relu")((0.0, 0.0)),
            Affine(bound=1.0),
            order=torch.randperm(7, generator=generator(k)),
            inverse=inverse,
            input_bound=bound,
        )
        for k in range(count)
    ]
    return perturbed(Compose(parts))


@each_inverse
def test_far_out_both_directions_agree_with_each_other(inverse: str) -> None:
    transform = _transforms(inverse, 10.0)
    z = randn(9, 7) * torch.tensor([1.0, 10.0, 100.0]).double().repeat(3).unsqueeze(1)
    x, ladj = transform(z)
    back, negative = transform.inverse(x)
    assert_close(back, z, 1e-9)
    assert_close(negative, -ladj, 1e-9)


@each_inverse
def test_log_determinants_far_out(inverse: str) -> None:
    transform = _transforms(inverse, 10.0)
    z = randn(7) * 20
    x, ladj = transform(z)
    jacobian = torch.autograd.functional.jacobian(lambda z: transform(z)[0], z)
    assert_close(ladj, torch.linalg.slogdet(jacobian).logabsdet)
    back = torch.autograd.functional.jacobian(lambda x: transform.inverse(x)[0], x)
    assert_close(-ladj, torch.linalg.slogdet(back).logabsdet)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_all_inverses_have_the_same_gradients_far_out(direction: str) -> None:
    found: list[list[Tensor]] = []
    for inverse in INVERSES:
        transform = _transforms(inverse, 3.0)
        value = (randn(70, 7) * 5).requires_grad_()
        result = (transform if direction == "forward" else transform.inverse)(value)
        found.append([*result, *gradients(*result, [value, *transform.parameters()])])
    for each in found[1:]:
        assert_close(each, found[0], 1e-9)


@pytest.mark.parametrize("map", [Affine(bound=1.0), Gated(), Additive()], ids=repr)
@pytest.mark.parametrize("inverse", [False, True])
def test_kernels_in_single_precision(map: Affine | Gated | Additive, inverse: bool) -> None:
    parts = [
        Autoregressive(made(7, (20, 20))(map.start), map, inverse="compiled", input_bound=2.0)
        for _ in range(2)
    ]
    exact = perturbed(Compose(parts), scale=0.3)
    rough = copy.deepcopy(exact).float()
    value = randn(150, 7) * 2
    results: list[list[Tensor]] = []
    for transform, given in ((rough, value.float()), (exact, value)):
        given.requires_grad_()
        result = (transform.inverse if inverse else transform)(given)
        results.append([*result, *gradients(*result, [given, *transform.parameters()])])
    for found, wanted in zip(*results, strict=True):
        assert (found - wanted).norm() <= 1e-4 * wanted.norm()


@each_inverse
@pytest.mark.parametrize("far", [1e3, 1e15, 3e38])
def test_no_feature_drives_the_next_ones_outwards(inverse: str, far: float) -> None:
    """Without a bound, weights that double what they read double it from feature to feature."""
    size = 12
    network = made(size, (), activation="relu")((0.0, 0.0)).float()

    def inverted(bound: float | None) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            for matrix in network.weights:
                matrix.zero_()
                for d in range(1, size):
                    matrix[2 * d, d - 1] = 2.0
        transform = Autoregressive(network, Affine(), inverse=inverse, input_bound=bound)
        x = torch.zeros(1, size)
        x[0, 0] = far
        return transform.inverse(x)

    z, ladj = inverted(10.0)
    assert torch.equal(z[0, 0], torch.tensor(far))
    assert (z[0, 1:].abs() <= 20).all()
    assert torch.equal(ladj, torch.zeros(1))
    if far == 1e3:
        assert inverted(None)[0].abs().max() == 1e3 * 2 ** (size - 1)


def test_a_density_far_out_is_that_of_a_normal() -> None:
    """All parameters are bounded there, whatever the weights: log q falls as a square."""
    flow = perturbed(IAF(6, 0, 4, (20, 20), activation="relu", generator=generator(0)), scale=1.0)
    direction = torch.nn.functional.normalize(randn(50, 6), dim=-1)
    falls = [flow().log_prob(direction * size).min() for size in (1e4, 1e6)]
    assert all(map(torch.isfinite, falls))
    assert falls[1] / falls[0] < 1.1e4
    unbounded = perturbed(
        IAF(6, 0, 4, (20, 20), activation="relu", input_bound=None, generator=generator(0)),
        scale=1.0,
    )
    assert unbounded().log_prob(direction * 1e4).min() < 1e3 * falls[0]


class Sums(Conditioner):
    """One of a user's own: sums of earlier features."""

    def __init__(self, features: int) -> None:
        super().__init__(features, 2, 0)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        shift = z.cumsum(-1) - z
        return torch.stack([shift, torch.zeros_like(shift)], -1)


@pytest.mark.parametrize("inverse", ["fixed_point", "passes"])
def test_conditioners_of_ones_own_read_the_same(inverse: str) -> None:
    transform = Autoregressive(Sums(3), inverse=inverse, input_bound=2.0)
    z = torch.tensor([[0.5, 100.0, -100.0], [-1e6, 1e6, 0.0]], dtype=torch.float64)
    x, _ = transform(z)
    expected = torch.tensor([[0.5, 100.5, -97.5], [-1e6, 1e6 - 2, 0.0]], dtype=torch.float64)
    assert_close(x, expected, 1e-12)
    assert_close(transform.inverse(x)[0], z, 1e-12)


def test_samples_of_a_normal_base_are_what_they_were() -> None:
    """Noise of less than five standard deviations is read as it is, bit for bit."""
    bounded, free = (IAF(5, 0, 1, generator=generator(1), input_bound=b) for b in (10.0, None))
    z = randn(1000, 5).float().clamp(-5, 5)
    for found, expected in zip(bounded.transform(z), free.transform(z), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("kind", "given", "bound"),
    [
        ("iaf", {}, 10.0),
        ("iaf", {"input_bound": None}, math.inf),
        ("iaf", {"input_bound": 3}, 3.0),
        ("iaf", {"conditioner": "lstm"}, 10.0),
        ("maf", {}, math.inf),
        ("nsf", {}, math.inf),
        ("maf", {"input_bound": 7.5}, 7.5),
    ],
)
def test_a_saved_flow_keeps_its_bound(
    kind: str, given: dict[str, Any], bound: float, tmp_path: Path
) -> None:
    flow = flows.build(kind, features=2, **given)
    flow.save_pretrained(tmp_path)
    for each in (flow, flows.Flow.from_pretrained(tmp_path)):
        parts = [part for part in each.modules() if isinstance(part, Autoregressive)]
        assert parts
        assert all(part.input_bound == bound for part in parts)


def test_what_was_saved_before_there_were_bounds_has_none(tmp_path: Path) -> None:
    flow = perturbed(IAF(3, 0, 2, (6,), input_bound=None, generator=generator(0)))
    flows.FlowMixture([flow, MAF(3).double()]).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    assert content["config"]["flows"][0].pop("input_bound", 0) is None
    path.write_text(json.dumps(content))
    loaded = flows.FlowMixture.from_pretrained(tmp_path).flows[0]
    x = randn(9, 3) * 100
    assert torch.equal(loaded().log_prob(x), flow().log_prob(x))


def test_what_was_pickled_before_there_were_bounds_has_none() -> None:
    transform = perturbed(Autoregressive(made(3, (6,))((0.0, 0.0))))
    x = randn(9, 3) * 100
    expected = transform.inverse(x)
    del vars(transform)["input_bound"]
    assert_close(transform.inverse(x), expected, 0.0)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_bounds_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"input_bound must be positive and finite, or None"):
        IAF(2, input_bound=bad)
    with pytest.raises(TypeError, match=r"input_bound must be a number"):
        MAF(2, input_bound="10")  # type: ignore[arg-type]


def test_a_bound_is_fixed() -> None:
    transform = Autoregressive(made(2, (4,))((0.0, 0.0)), input_bound=3.0)
    with pytest.raises(AttributeError, match="build another one with input_bound"):
        transform.input_bound = 4.0
    assert transform.input_bound == 3.0


def test_transforms_with_other_bounds_are_no_chain() -> None:
    """One call of the kernels has one bound."""
    parts = [
        perturbed(Autoregressive(made(4, (6,))((0.0, 0.0)), input_bound=b)) for b in (1.0, None)
    ]
    z = randn(9, 4) * 3
    expected = parts[1](parts[0](z)[0])[0]
    assert_close(Compose(parts)(z)[0], expected, 1e-12)
    assert parts[0].joins != parts[1].joins
    assert kernels.serves(parts[0].conditioner, parts[0].univariate)
