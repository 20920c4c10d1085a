"""Every support by every route: integrals over it are right, and draws lie in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Dirichlet, VonMises, Wishart, constraints

from invflow.flows import Gaussian, Wrapped
from invflow.vi import Named, Parameter, Posterior, Target, angle, from_pymc, from_pyro
from tests.helpers import assert_close, randn

pyro = pytest.importorskip("pyro", reason="needs Pyro")
dist, more = pyro.distributions, pyro.distributions.constraints
FULL = 0.5 * math.log(2 * math.pi)


def bell(x: Tensor) -> Tensor:
    """Of all entries of one value: exp of it has the integral (2 pi)^(n/2) over n free entries."""
    return -0.5 * x.square().sum()


@dataclass(frozen=True)
class Support:
    """A support, a log density of one value on it, and the log of that density's integral."""

    constraint: Any
    shape: tuple[int, ...]
    log_integral: float
    log_density: Callable[[Tensor], Tensor] = bell


def _matrix(scale: float = 1.0) -> Tensor:
    return scale * torch.eye(2).double()


def _area(of: Tensor) -> Tensor:
    return of.new_zeros(())


def _normal_between(low: float, high: float) -> float:
    """The log of the integral of exp(-x^2 / 2) between two numbers."""
    both = math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))
    return FULL + math.log(both / 2)


SUPPORTS: dict[str, Support] = {
    "half line": Support(constraints.positive, (), FULL - math.log(2)),
    "half line, closed": Support(constraints.nonnegative, (), FULL - math.log(2)),
    "half line above": Support(constraints.greater_than(1.0), (), _normal_between(1, math.inf)),
    "half line below": Support(constraints.less_than(1.0), (), _normal_between(-math.inf, 1)),
    "half line, softplus": Support(more.softplus_positive, (), FULL - math.log(2)),
    "unit interval": Support(constraints.unit_interval, (), _normal_between(0, 1)),
    "interval": Support(constraints.interval(-1.0, 3.0), (), _normal_between(-1, 3)),
    "half-open interval": Support(
        constraints.half_open_interval(-1.0, 3.0), (), _normal_between(-1, 3)
    ),
    "vector of intervals": Support(
        constraints.independent(constraints.interval(-1.0, 3.0), 1),
        (2,),
        2 * _normal_between(-1, 3),
    ),
    "simplex": Support(
        constraints.simplex, (3,), 0.0, Dirichlet(torch.tensor([2.0, 3.0, 1.5])).log_prob
    ),
    "ordered": Support(more.ordered_vector, (2,), 2 * FULL - math.log(2)),
    "positive and ordered": Support(more.positive_ordered_vector, (2,), 2 * FULL - math.log(8)),
    "circle": Support(more.sphere, (2,), math.log(2 * math.pi), _area),
    "sphere": Support(more.sphere, (3,), math.log(4 * math.pi), _area),
    "correlation": Support(
        more.corr_matrix,
        (2, 2),
        0.0,
        dist.LKJ(2, torch.tensor(1.5).double(), validate_args=False).log_prob,
    ),
    "correlation, Cholesky": Support(
        constraints.corr_cholesky, (2, 2), 0.0, lambda x: dist.LKJCholesky(2, 1.5).log_prob(x)
    ),
    "covariance": Support(
        constraints.positive_definite,
        (2, 2),
        0.0,
        Wishart(torch.tensor(6.0).double(), _matrix(), validate_args=False).log_prob,
    ),
    "lower Cholesky": Support(constraints.lower_cholesky, (2, 2), 3 * FULL - math.log(4)),
    "lower Cholesky, softplus": Support(
        more.softplus_lower_cholesky, (2, 2), 3 * FULL - math.log(4)
    ),
    "lower Cholesky, ones on its diagonal": Support(more.unit_lower_cholesky, (2, 2), FULL - 1),
    "lower triangle": Support(constraints.lower_triangular, (2, 2), 3 * FULL),
}


def by_name(each: Support) -> Target:
    def log_density(x: Tensor) -> Tensor:
        return torch.func.vmap(each.log_density)(x)

    return Named(log_density, {"x": Parameter(each.constraint, each.shape)})


def by_pyro(each: Support) -> Target:
    def model() -> None:
        x = pyro.sample("x", dist.ImproperUniform(each.constraint, (), each.shape))
        pyro.factor("density", each.log_density(x))

    return from_pyro(model)


def log_integral(target: Target) -> float:
    """Return the log of the integral of the density, by a grid: of one turn for angles."""
    edge, points = {1: (25.0, 1001), 2: (25.0, 401), 3: (9.0, 71)}[target.dim]
    line = torch.linspace(-edge, edge, points, dtype=torch.float64)
    turn = torch.linspace(-math.pi, math.pi, points, dtype=torch.float64)[1:]
    axes = [turn if i in target.angles else line for i in range(target.dim)]
    z = torch.cartesian_prod(*axes).reshape(-1, target.dim)
    with torch.no_grad():
        value = target.log_density(z).nan_to_num(-torch.inf)
    return float(value.logsumexp(0)) + sum(math.log(float(axis[1] - axis[0])) for axis in axes)


@pytest.mark.parametrize("route", [by_name, by_pyro])
@pytest.mark.parametrize("name", SUPPORTS)
def test_integrals_over_supports(name: str, route: Callable[[Support], Target]) -> None:
    each = SUPPORTS[name]
    target = route(each)
    x = target.constrain(randn(5, target.dim))["x"]
    assert x.shape == (5, *each.shape)
    assert each.constraint.check(x).all()
    assert log_integral(target) == pytest.approx(each.log_integral, abs=2e-3)


@pytest.mark.parametrize("name", SUPPORTS)
def test_routes_have_one_density(name: str) -> None:
    one, other = by_name(SUPPORTS[name]), by_pyro(SUPPORTS[name])
    z = randn(5, one.dim)
    assert_close(one.log_density(z), other.log_density(z), 1e-6)
    assert_close(one.constrain(z)["x"], other.constrain(z)["x"], 1e-12)
    assert (one.angles, one.angular) == (other.angles, other.angular)


#: PyMC's distributions over each kind of support, without normalising constants left out.
OF_PYMC: dict[str, Callable[[Any], Any]] = {
    "half line": lambda pymc: pymc.Gamma("x", 2.0, 3.0),
    "half line above": lambda pymc: pymc.Pareto("x", 3.0, 2.0),
    "half line below": lambda pymc: pymc.TruncatedNormal("x", 0.0, 1.0, upper=0.5),
    "interval": lambda pymc: pymc.Uniform("x", -1.0, 3.0),
    "unit interval": lambda pymc: pymc.Beta("x", 2.0, 3.0),
    "simplex": lambda pymc: pymc.Dirichlet("x", np.array([2.0, 3.0])),
    "angle": lambda pymc: pymc.Uniform(
        "x", -np.pi, np.pi, default_transform=pymc.distributions.transforms.circular
    ),
}


@pytest.mark.parametrize("name", OF_PYMC)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_integrals_over_supports_of_pymc(name: str) -> None:
    pymc = pytest.importorskip("pymc", reason="needs PyMC")
    with pymc.Model() as model:
        OF_PYMC[name](pymc)
    target = from_pymc(model)
    assert log_integral(target) == pytest.approx(0, abs=2e-3)
    assert target.angular == ({"x"} if name == "angle" else set())


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
def test_a_covariance_of_pymc_has_its_parts_by_name() -> None:
    """PyMC's packed Cholesky factor, its density, and what PyMC computes from it."""
    pymc = pytest.importorskip("pymc", reason="needs PyMC")
    with pymc.Model() as model:
        pymc.LKJCholeskyCov("c", n=3, eta=2.0, sd_dist=pymc.HalfNormal.dist(1.0, shape=3))
    target = from_pymc(model)
    z = randn(4, target.dim)
    (variable,) = model.value_vars
    own = model.compile_logp(mode="FAST_COMPILE")
    expected = torch.tensor([float(own({variable.name: row.numpy()})) for row in z])
    assert_close(target.log_density(z), expected.double(), 1e-6)
    found = target.constrain(z)
    factor = torch.zeros(4, 3, 3, dtype=torch.float64)
    factor[:, *torch.tril_indices(3, 3)] = found["c"]
    covariance = factor @ factor.mT
    sd = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    assert_close(found["c_stds"], sd, 1e-9)
    assert_close(found["c_corr"], covariance / (sd[:, :, None] * sd[:, None, :]), 1e-9)


LOCATION, CONCENTRATION = math.pi, 2.0
SEEN = -3.0


def angle_by_name() -> Target:
    def log_likelihood(t: Tensor) -> dict[str, Tensor]:
        return {"y": VonMises(t, 3.0).log_prob(torch.tensor(SEEN))}

    def log_density(t: Tensor) -> Tensor:
        return VonMises(LOCATION, CONCENTRATION).log_prob(t) + log_likelihood(t)["y"]

    return Named(log_density, {"t": angle}, log_likelihood=log_likelihood)


def angle_by_pyro() -> Target:
    def model() -> None:
        t = pyro.sample("t", dist.VonMises(LOCATION, CONCENTRATION))
        pyro.sample("y", dist.VonMises(t, 3.0), obs=torch.tensor(SEEN))

    return from_pyro(model)


def angle_by_pymc() -> Target:
    pymc = pytest.importorskip("pymc", reason="needs PyMC")
    with pymc.Model() as model:
        t = pymc.VonMises("t", LOCATION, CONCENTRATION)
        pymc.VonMises("y", t, 3.0, observed=SEEN)
    return from_pymc(model)


@pytest.mark.parametrize("make", [angle_by_name, angle_by_pyro, angle_by_pymc])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_angle_across_the_cut(make: Callable[[], Target]) -> None:
    """The product of two von Mises densities is one: its direction and length are known."""
    target = make()
    cosine = CONCENTRATION * math.cos(LOCATION) + 3 * math.cos(SEEN)
    sine = CONCENTRATION * math.sin(LOCATION) + 3 * math.sin(SEEN)
    direction, concentration = math.atan2(sine, cosine), math.hypot(sine, cosine)
    flow = Wrapped(Gaussian(1).double(), target.angles)
    flow.set(torch.tensor([direction]).double(), torch.tensor([0.8 * concentration]).double())
    posterior = Posterior(target, flow)
    row = posterior.summary().loc["t"]
    assert abs(math.remainder(row["mean"] - direction, 2 * math.pi)) < 5 * row["mcse"]
    grid = torch.linspace(-math.pi, math.pi, 4001, dtype=torch.float64)[1:]
    weights = VonMises(0.0, concentration).log_prob(grid).softmax(0)
    assert row["sd"] == pytest.approx(float(weights @ grid.square()) ** 0.5, rel=0.03)
    bessel = [torch.tensor(k).double() for k in (CONCENTRATION, 3.0, concentration)]
    first, second, both = (float(torch.special.i0(k).log()) for k in bessel)
    evidence = both - first - second - math.log(2 * math.pi)
    assert posterior.diagnose(4000).log_evidence == pytest.approx(evidence, abs=5e-3)
    data = posterior.to_arviz(500)
    drawn = data.posterior["t"].values[0]
    assert angle.check(torch.from_numpy(drawn)).all()
    assert (drawn > 2).any()
    assert (drawn < -2).any()
    expected = VonMises(torch.from_numpy(drawn), 3.0).log_prob(torch.tensor(SEEN))
    np.testing.assert_allclose(data.log_likelihood["y"][0].values.reshape(-1), expected, atol=1e-5)
