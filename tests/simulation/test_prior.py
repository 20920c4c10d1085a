from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    Bernoulli,
    Beta,
    Categorical,
    Dirichlet,
    Distribution,
    Exponential,
    ExpTransform,
    Gamma,
    LKJCholesky,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    SigmoidTransform,
    TransformedDistribution,
    Uniform,
    VonMises,
    constraints,
)

from invflow import vi
from invflow.simulation import Prior, Settings, Simulations, fit
from invflow.simulation.prior import EDGE
from invflow.simulation.target import Unnormalised
from invflow.vi import Parameter

PRIOR = Prior(
    {
        "a": Uniform(-1.0, 3.0),
        "b": Gamma(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 0.5])),
        "c": Dirichlet(torch.tensor([1.0, 2.0, 3.0])),
        "d": MultivariateNormal(torch.zeros(2), torch.eye(2)),
        "e": Beta(2.0, 5.0),
    }
)


def test_names_and_sizes() -> None:
    named = ("b[0]", "b[1]", "c[0]", "c[1]", "c[2]", "d[0]", "d[1]")
    assert PRIOR.names == ("a", *named, "e")
    assert PRIOR.dim == 8  # of the three shares, two are free
    assert Prior(Normal(torch.zeros(2), 1.0)).names == ("theta[0]", "theta[1]")


def _constrained(u: Tensor) -> Tensor:
    return PRIOR.constrain(u)[0]


def test_the_bijection_and_its_determinant() -> None:
    theta = PRIOR.sample(7, seed=1)
    z = PRIOR.unconstrain(theta)
    back, ladj = PRIOR.constrain(z)
    torch.testing.assert_close(back, theta)
    free = [0, 1, 2, 3, 4, 6, 7, 8]  # the last share follows from the others
    for i in range(len(z)):
        jacobian = torch.autograd.functional.jacobian(_constrained, z[i])
        expected = torch.linalg.slogdet(torch.as_tensor(jacobian)[free]).logabsdet
        torch.testing.assert_close(ladj[i], expected)


def test_log_prob_is_that_of_the_parts_and_zero_outside() -> None:
    theta = PRIOR.sample(5, seed=2)
    parts = PRIOR.split(theta)
    expected = (
        Uniform(-1.0, 3.0).log_prob(parts["a"])
        + Gamma(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 0.5])).log_prob(parts["b"]).sum(-1)
        + Dirichlet(torch.tensor([1.0, 2.0, 3.0])).log_prob(parts["c"])
        + Normal(0.0, 1.0).log_prob(parts["d"]).sum(-1)
        + Beta(2.0, 5.0).log_prob(parts["e"])
    )
    torch.testing.assert_close(PRIOR.log_prob(theta), expected, check_dtype=False)
    outside = theta.clone()
    outside[0, 0], outside[1, 8], outside[2, 3] = 3.5, -0.1, 2.0
    found = PRIOR.log_prob(outside)
    assert found.isneginf().tolist() == [True, True, True, False, False]
    assert PRIOR.contains(outside).tolist() == [False, False, False, True, True]


def test_the_same_seed_gives_the_same_draws_and_leaves_the_global_state() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one = PRIOR.sample(4, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, PRIOR.sample(4, seed=5))
    assert not torch.equal(one, PRIOR.sample(4, seed=6))
    assert one.dtype == torch.float64


def test_a_parameter_on_its_bound_stays_finite() -> None:
    z = Prior({"a": Uniform(0.0, 1.0)}).unconstrain([[0.0], [1.0], [0.5]])
    assert z.flatten().tolist() == [-EDGE, EDGE, 0.0]


def test_the_posterior_in_the_coordinates_of_a_flow_integrates_to_the_evidence() -> None:
    prior = Prior({"p": Beta(2.0, 3.0)})
    location, scale = torch.tensor([0.3]).double(), torch.tensor([1.7]).double()
    target = Unnormalised(prior, lambda p: 4 * p[:, 0].log(), location, scale)
    u = torch.linspace(-30, 30, 20_001, dtype=torch.float64)
    found = torch.trapezoid(target.log_density(u[:, None]).exp(), u)
    fifth = math.exp(sum(map(math.lgamma, (6, 3))) - math.lgamma(9))
    exact = fifth / math.exp(math.lgamma(2) + math.lgamma(3) - math.lgamma(5))
    assert float(found) == pytest.approx(exact, rel=1e-6)
    assert target.constrain(u[:2, None])["p"].shape == (2,)


def test_only_parameters_between_bounds_are_clamped() -> None:
    theta = [[-1e12, 1e12]]
    prior = Prior({"a": constraints.less_than(0.0), "b": constraints.positive})
    z = prior.unconstrain(theta)
    assert z.abs().flatten().tolist() == pytest.approx([math.log(1e12)] * 2)
    torch.testing.assert_close(prior.constrain(z)[0], torch.tensor(theta).double())


def test_a_constraint_alone_has_bounds_but_no_density() -> None:
    prior = Prior({"a": constraints.positive, "b": Parameter(constraints.real, (2,))})
    assert prior.names == ("a", "b[0]", "b[1]")
    assert not prior.has_density
    assert prior.contains([[1.0, 2.0, 3.0], [-1.0, 2.0, 3.0]]).tolist() == [True, False]
    with pytest.raises(ValueError, match="is only a constraint, without a density"):
        prior.log_prob([1.0, 2.0, 3.0])


def test_what_is_not_a_prior_is_refused() -> None:
    with pytest.raises(
        TypeError, match="prior must be a distribution or a mapping from names, got int"
    ):
        Prior(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="prior must have at least one parameter"):
        Prior({})
    with pytest.raises(TypeError, match=r"prior\['a'\] must be a distribution or a constraint"):
        Prior({"a": 1.0})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="constraint must be continuous"):
        Prior({"a": Bernoulli(0.5)})
    with pytest.raises(ValueError, match="theta must have shape"):
        PRIOR.log_prob([1.0])


def _mixture(components: Distribution) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(torch.ones(2)), components)


#: Distributions of a number, and the ends of their supports.
ENDS = {
    "later": (TransformedDistribution(Exponential(1.0), AffineTransform(1.0, 1.0)), 1.0, math.inf),
    "before": (
        TransformedDistribution(Gamma(2.0, 1.0), AffineTransform(3.0, -2.0)),
        -math.inf,
        3.0,
    ),
    "logit": (
        TransformedDistribution(Normal(0.0, 1.0), [SigmoidTransform(), AffineTransform(1.0, 2.0)]),
        1.0,
        3.0,
    ),
    "angle": (VonMises(3.0, 2.0), -math.pi, math.pi),
    "turned": (
        TransformedDistribution(VonMises(0.0, 2.0), AffineTransform(0.0, 0.5)),
        -math.pi / 2,
        math.pi / 2,
    ),
    "mixture": (_mixture(Normal(torch.tensor([-2.0, 2.0]), 0.5)), -math.inf, math.inf),
    "positive": (_mixture(Gamma(torch.tensor([1.0, 9.0]), 1.0)), 0.0, math.inf),
    "lognormal": (
        _mixture(TransformedDistribution(Normal(torch.zeros(2), 0.5), ExpTransform())),
        0.0,
        math.inf,
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_posteriors_end_where_the_prior_does(name: str) -> None:
    """torch says that transformed variables, and angles, may be any real numbers."""
    distribution, low, high = ENDS[name]
    prior = Prior({"a": distribution})
    just_outside = [end + sign * 1e-3 for end, sign in ((low, -1), (high, 1)) if math.isfinite(end)]
    for end in just_outside:
        assert not prior.contains([end])
        assert prior.log_prob([end]) == -math.inf
    theta = prior.sample(300)
    assert prior.contains(theta).all()
    torch.testing.assert_close(prior.constrain(prior.unconstrain(theta))[0], theta)
    simulations = Simulations(theta, theta.float(), names=prior.names)
    posterior = fit(simulations, prior, settings=Settings(steps=5)).posterior(theta[:1])
    drawn = posterior.sample(500)
    assert low <= drawn.min() <= drawn.max() <= high
    ends = [max(low, float(drawn.min()) - 400), min(high, float(drawn.max()) + 400)]
    grid = torch.linspace(ends[0], ends[1], 400_001, dtype=torch.float64)[1:-1]
    total = torch.trapezoid(posterior.log_prob(grid[:, None]).exp(), grid)
    assert float(total) == pytest.approx(1, abs=0.01)


def test_angles_that_are_parameters_end_at_half_a_turn() -> None:
    prior = Prior({"a": Parameter(vi.angle, (2,))})
    assert prior.contains([3.1, -3.1])
    assert not prior.contains([3.1, 3.2])
    assert prior.constrain(torch.tensor([50.0, -50.0]))[0].abs().max() <= math.pi


@pytest.mark.parametrize(
    "components",
    [
        Uniform(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0])),
        TransformedDistribution(Gamma(torch.ones(2), 1.0), AffineTransform(torch.zeros(2), 1.0)),
    ],
)
def test_mixtures_with_different_supports_are_refused(components: Distribution) -> None:
    with pytest.raises(ValueError, match=r"prior\['a'\] cannot be used: its components may have"):
        Prior({"a": _mixture(components)})


def test_spheres_are_refused() -> None:
    pyro = pytest.importorskip("pyro")
    with pytest.raises(ValueError, match="values lie on a sphere; take angles instead"):
        Prior({"a": pyro.distributions.ProjectedNormal(torch.zeros(3))})


def test_draws_in_single_precision_lie_inside() -> None:
    prior = Prior({"a": LKJCholesky(3, 2.0), "b": Uniform(0.1, 0.7)})
    theta = prior.sample(50)
    assert prior.contains(theta).all()
    expected = LKJCholesky(3, 2.0).log_prob(prior.split(theta)["a"].float()) - math.log(0.6)
    torch.testing.assert_close(prior.log_prob(theta).float(), expected.float())
    theta[:, -1] = 0.1
    assert prior.contains(theta).all()
    theta[:, -1] = 0.0999
    assert prior.log_prob(theta).isneginf().all()
