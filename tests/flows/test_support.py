"""A flow's support is the codomain of its transform.

Validation is asked for by name: torch turns its default off once something has been compiled.
"""

from __future__ import annotations

import pytest
import torch
from torch.distributions import (
    Independent,
    LogNormal,
    SigmoidTransform,
    TransformedDistribution,
    biject_to,
    constraints,
)

from invflow import IAF, Flow
from invflow.flows import to_pyro
from invflow.transforms import (
    Compose,
    Elementwise,
    Inverse,
    Permutation,
    Sigmoid,
    Softplus,
    Transform,
)
from tests.helpers import TRANSFORMS, assert_close, context_for, perturbed, randn

INSIDE = {
    "sigmoid": (Sigmoid(3, -1.0, 2.0), [-0.999, 1.0, 1.999], [0.0, 0.0, 2.001]),
    "softplus": (Softplus(3, 0.5), [0.51, 1.0, 1e6], [0.4999, 1.0, 2.0]),
}
cases = pytest.mark.parametrize(("last", "inside", "outside"), INSIDE.values(), ids=INSIDE)


def flow_onto(last: Transform) -> Flow:
    iaf = IAF(3, 2, 2, (8,), generator=torch.Generator().manual_seed(2))
    return Flow(Compose([perturbed(iaf, scale=0.3).transform, last])).double()


def _is_independent(found: object, name: str) -> bool:
    return isinstance(found, constraints.independent) and name in str(found)


def test_of_a_transform() -> None:
    for name, build in TRANSFORMS.items():
        transform = build()
        bounded = any(word in name for word in ("sigmoid", "softplus", "bounded"))
        if not bounded:
            assert transform.domain is transform.codomain is constraints.real_vector, name
        swapped = Inverse(transform)
        assert str(swapped.domain) == str(transform.codomain)
        assert str(swapped.codomain) == str(transform.domain)


def test_of_a_composition() -> None:
    sigmoid, affine = Sigmoid(3, -1.0, 2.0), Elementwise(3)
    onto = Compose([affine, sigmoid])
    assert onto.domain is constraints.real_vector
    assert _is_independent(onto.codomain, "Interval(lower_bound=-1.0, upper_bound=2.0)")
    assert Compose([sigmoid, affine]).codomain is constraints.real_vector
    assert Compose([sigmoid, Inverse(sigmoid)]).codomain is constraints.real_vector
    back = Compose([Inverse(sigmoid), affine])
    assert _is_independent(back.domain, "Interval")
    assert _is_independent(Inverse(back).codomain, "Interval")
    assert _is_independent(Compose([onto]).codomain, "Interval")


@cases
def test_of_a_flow(last: Transform, inside: list[float], outside: list[float]) -> None:
    flow = flow_onto(last)
    q = flow(randn(5, 2), validate_args=True)
    assert str(q.support) == str(last.codomain)
    assert str(q.expand((2, 5)).support) == str(last.codomain)
    x, log_q = q.rsample_and_log_prob((200,))
    assert q.support.check(x).all()
    assert q.support.check(x).shape == (200, 5)
    assert_close(q.log_prob(x), log_q, 1e-6)
    good, bad = (torch.tensor(x, dtype=torch.float64) for x in (inside, outside))
    assert torch.isfinite(q.log_prob(good)).all()
    assert flow_onto(Permutation([2, 0, 1]))(randn(5, 2)).support is constraints.real_vector
    values = torch.stack([good, bad, good, bad]).unsqueeze(1).expand(4, 5, 3)
    kind = type(last.codomain.base_constraint).__name__.strip("_")
    with pytest.raises(ValueError, match=rf"value must lie in the support, .*{kind}.* 10 .* 20"):
        q.log_prob(values)
    unchecked = flow(randn(5, 2), validate_args=False).log_prob(values)
    assert torch.isfinite(unchecked[[0, 2]]).all()
    assert not torch.isfinite(unchecked[[1, 3]]).any()


@cases
def test_values_that_are_not_finite_are_still_named_so(
    last: Transform, inside: list[float], outside: list[float]
) -> None:
    x = torch.tensor(inside, dtype=torch.float64)
    x[1] = float("nan")
    with pytest.raises(ValueError, match="value must be finite, got 1 "):
        flow_onto(last)(randn(2), validate_args=True).log_prob(x)


@cases
@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)], ids=str)
def test_nothing_lies_nowhere_else(
    last: Transform, inside: list[float], outside: list[float], shape: tuple[int, ...]
) -> None:
    empty = torch.zeros(shape, dtype=torch.float64)
    assert flow_onto(last)(randn(2), validate_args=True).log_prob(empty).shape == shape[:-1]


def test_bounded_data_in_the_fast_direction_of_maf() -> None:
    """A transform that takes bounded data to noise, turned round."""
    flow = Flow(Inverse(Compose([Inverse(Sigmoid(3)), perturbed(Elementwise(3))])))
    q = flow(validate_args=True)
    assert _is_independent(q.support, "Interval")
    x, log_q = q.rsample_and_log_prob((20,))
    assert_close(q.log_prob(x), log_q)
    with pytest.raises(ValueError, match="value must lie in the support"):
        q.log_prob(x + 1)


def test_density_integrates_to_one() -> None:
    transform = Compose([perturbed(Elementwise(1)), Sigmoid(1, -1.0, 2.0)])
    grid = torch.linspace(-1, 2, 100_001, dtype=torch.float64)
    density = Flow(transform)().log_prob(grid[:, None]).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-6)


def test_transformed_and_independent_see_the_support() -> None:
    q = flow_onto(Softplus(3))(randn(5, 2))
    joint = Independent(q, 1)
    assert str(joint.support) == str(constraints.independent(q.support, 1))
    x = q.sample((4,))
    assert joint.support.check(x).shape == (4,)
    inner = Flow(Compose([Elementwise(3), Softplus(3)])).double()()
    outer = TransformedDistribution(inner, [SigmoidTransform().inv.inv])
    y = outer.sample((4,))
    assert outer.support.check(y).all()
    x = SigmoidTransform().inv(y)
    slopes = SigmoidTransform().log_abs_det_jacobian(x, y).sum(-1)
    assert_close(outer.log_prob(y), inner.log_prob(x) - slopes, 1e-6)


def test_torchs_own_bijection_onto_the_support() -> None:
    for last in (Sigmoid(3, -1.0, 2.0), Softplus(3, 0.5)):
        q = flow_onto(last)(randn(5, 2))
        x = biject_to(q.support)(3 * randn(5, 3))
        assert q.support.check(x).all()
        assert torch.isfinite(q.log_prob(x)).all()


def test_kullback_leibler_divergence_to_a_torch_distribution_of_the_same_support() -> None:
    """The densities of both can be taken at samples of either, with validation on."""
    flow = Flow(Compose([Elementwise(3), Softplus(3)])).double()
    p = Independent(LogNormal(torch.zeros(3, dtype=torch.float64), 1.0), 1)
    assert torch.isfinite(p.log_prob(flow().sample((50,)))).all()
    assert torch.isfinite(flow(validate_args=True).log_prob(p.sample((50,)))).all()


def test_under_vmap() -> None:
    flow = flow_onto(Sigmoid(3))
    context, x = randn(4, 2), torch.sigmoid(randn(4, 3, seed=5))
    mapped = torch.func.vmap(lambda c, x: flow(c, validate_args=True).log_prob(x))(context, x)
    assert_close(mapped, flow(context).log_prob(x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:torch")
def test_compiled() -> None:
    flow = flow_onto(Sigmoid(3))
    torch._dynamo.reset()

    def run(context: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        q = flow(context, validate_args=True)
        return q.log_prob(x), q.rsample_and_log_prob()[1]

    context, x = randn(4, 2), torch.sigmoid(randn(4, 3, seed=5))
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    assert_close(compiled(context, x)[0], run(context, x)[0])
    torch._dynamo.reset()


def test_in_pyro() -> None:
    pyro = pytest.importorskip("pyro")
    flow = flow_onto(Sigmoid(3, -1.0, 2.0))
    q = to_pyro(flow(context_for(flow, 5)))
    assert str(q.support) == str(Sigmoid(3, -1.0, 2.0).codomain)

    def model() -> torch.Tensor:
        with pyro.plate("batch", 5):
            return pyro.sample("x", q)

    trace = pyro.poutine.trace(model).get_trace()
    assert trace.nodes["x"]["fn"].support.check(trace.nodes["x"]["value"]).all()
