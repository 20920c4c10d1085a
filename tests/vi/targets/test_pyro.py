from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import HalfCauchy, Normal, constraints

from invflow.vi import Flat, Named, Parameter, Settings, fit, from_pyro
from tests.helpers import assert_close, randn

pyro = pytest.importorskip("pyro", reason="needs Pyro")
dist = pyro.distributions
reparam = pytest.importorskip("pyro.infer.reparam")

Y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0], dtype=torch.float64)
SIGMA = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0], dtype=torch.float64)


def schools(y: Tensor, sigma: Tensor) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("schools", len(y)):
        t = pyro.sample("t", dist.Normal(0.0, 1.0))
        theta = pyro.deterministic("theta", mu + tau * t)
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def named() -> Named:
    def log_density(mu: Tensor, tau: Tensor, t: Tensor) -> Tensor:
        theta = mu.unsqueeze(-1) + tau.unsqueeze(-1) * t
        prior = Normal(0.0, 5.0).log_prob(mu) + HalfCauchy(5.0).log_prob(tau)
        return (
            prior + Normal(0.0, 1.0).log_prob(t).sum(-1) + Normal(theta, SIGMA).log_prob(Y).sum(-1)
        )

    parameters = {
        "mu": constraints.real,
        "tau": constraints.positive,
        "t": Parameter(constraints.real, (8,)),
    }
    return Named(log_density, parameters)


def flat() -> Flat:
    def log_density(z: Tensor) -> Tensor:
        mu, log_tau, t = z[:, 0], z[:, 1], z[:, 2:]
        theta = mu.unsqueeze(-1) + log_tau.exp().unsqueeze(-1) * t
        prior = Normal(0.0, 5.0).log_prob(mu) + HalfCauchy(5.0).log_prob(log_tau.exp()) + log_tau
        return (
            prior + Normal(0.0, 1.0).log_prob(t).sum(-1) + Normal(theta, SIGMA).log_prob(Y).sum(-1)
        )

    return Flat(log_density, 10)


def test_three_ways_to_bring_a_model_are_one_density() -> None:
    z = randn(6, 10).requires_grad_()
    values = [each.log_density(z) for each in (flat(), named(), from_pyro(schools, Y, SIGMA))]
    slopes = [torch.autograd.grad(value.sum(), z)[0] for value in values]
    for value, slope in zip(values[1:], slopes[1:], strict=True):
        assert_close(value, values[0], 1e-10)
        assert_close(slope, slopes[0], 1e-10)


def test_sites_by_name() -> None:
    target = from_pyro(schools, Y, SIGMA)
    z = randn(4, 10)
    values = target.constrain(z)
    assert {name: tuple(value.shape) for name, value in values.items()} == {
        "mu": (4,),
        "tau": (4,),
        "t": (4, 8),
        "theta": (4, 8),
    }
    expected = values["mu"][:, None] + values["tau"][:, None] * values["t"]
    assert_close(values["theta"], expected, 1e-12)
    assert target.constrain(z[0])["theta"].shape == (8,)


def test_posterior_of_a_conjugate_model() -> None:
    data = 1.0 + randn(20)

    def model() -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
        pyro.sample("data", dist.Normal(mean, 1.0).expand([20]).to_event(1), obs=data)

    settings = Settings(
        batch_size=64, steps_per_round=20, evaluation_draws=512, learning_rate_drops=0, max_steps=60
    )
    posterior = fit(from_pyro(model), settings=settings)
    precision = 20 + 0.25
    draws = posterior.draws(4000)["mean"]
    assert abs(float(draws.mean() - data.sum() / precision)) < 0.02
    assert abs(float(draws.std()) * precision**0.5 - 1) < 0.05


def test_a_model_that_decides_by_values() -> None:
    def model() -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        scale = 1.0 if z > 0 else 2.0
        pyro.sample("y", dist.Normal(z, scale), obs=torch.tensor(0.3))

    z = torch.tensor([[0.5], [-0.5]], dtype=torch.float64)
    scale = torch.tensor([1.0, 2.0], dtype=torch.float64)
    expected = Normal(0.0, 1.0).log_prob(z[:, 0])
    expected = expected + Normal(z[:, 0], scale).log_prob(torch.tensor(0.3))
    with pytest.warns(UserWarning, match="run draw by draw, .*vmap cannot handle it"):
        target = from_pyro(model)
    assert_close(target.log_density(z), expected, 1e-7)


def test_random_numbers_are_left_alone() -> None:
    before = torch.get_rng_state()
    from_pyro(schools, Y, SIGMA).log_density(randn(3, 10))
    assert torch.equal(torch.get_rng_state(), before)
    assert pyro.distributions.Normal(0.0, 1.0)._validate_args is not False


def _discrete() -> None:
    pyro.sample("k", dist.Bernoulli(0.5))


def _observed() -> None:
    pyro.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0))


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (_discrete, ValueError, "'k', which is discrete"),
        (_observed, ValueError, "must have a latent site"),
        (3, TypeError, "model must be a Pyro model, got int"),
    ],
)
def test_models_that_are_refused(model: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        from_pyro(model)


def test_sites_that_come_and_go_are_refused() -> None:
    def model(y: Tensor) -> None:
        n = pyro.sample("n", dist.Normal(0.0, 1.0))
        if n > 0:
            pyro.sample("e", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(n, 1.0), obs=y)

    with pytest.raises(ValueError, match="the same latent sites in every run, got 'e'"):
        from_pyro(model, torch.tensor(0.3))


def test_plates_that_subsample_are_refused() -> None:
    def model(y: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", len(y), subsample_size=2) as i:
            pyro.sample("y", dist.Normal(mu, 1.0), obs=y[i])

    with pytest.raises(ValueError, match="plate 'rows' with a subsample"):
        from_pyro(model, torch.zeros(5))


def _moments(
    target: Any, edge: float = 12.0, points: int = 1201
) -> tuple[float, dict[str, Tensor]]:
    """Return log evidence and means of the named quantities, by quadrature."""
    axis = torch.linspace(-edge, edge, points, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * target.dim).reshape(-1, target.dim)
    with torch.no_grad():
        log_p = target.log_density(grid)
        values = target.constrain(grid)
    step = target.dim * math.log(2 * edge / (points - 1))
    weights = log_p.softmax(0)
    means = {name: torch.tensordot(weights, v.double(), 1) for name, v in values.items() if v.ndim}
    return float(log_p.logsumexp(0)) + step, means


def _below(observed: bool) -> None:
    a = pyro.sample("a", dist.Exponential(1.0))
    b = pyro.sample("b", dist.Uniform(0.0, a))
    if observed:
        pyro.sample("y", dist.Normal(b, 0.5), obs=torch.tensor(1.5))


def test_supports_that_depend_on_other_sites() -> None:
    log_z, means = _moments(from_pyro(_below, True), 14.0, 701)
    assert abs(log_z + 1.940) < 1e-3
    assert abs(float(means["a"]) - 1.749) < 1e-3
    log_z, means = _moments(from_pyro(_below, False), 14.0, 701)
    assert abs(log_z) < 1e-4
    assert abs(float(means["a"]) - 1.0) < 1e-4


@pytest.mark.parametrize("seed", [0, 1])
def test_the_global_seed_has_no_say(seed: int) -> None:
    z = randn(3, 2)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found = from_pyro(_below, True).log_density(z)
    assert torch.equal(found, from_pyro(_below, True).log_density(z))


def _nested() -> None:
    a = pyro.sample("a", dist.HalfNormal(1.0))
    with pyro.plate("rows", 2):
        low = pyro.sample("low", dist.Uniform(-a, a))
        pyro.sample("far", dist.Pareto(a.expand(2), 3.0 + low.exp()))
    last = dist.TransformedDistribution(
        dist.Exponential(1.0), [dist.transforms.AffineTransform(a, 2.0)]
    )
    pyro.sample("last", last)


def _named_density(values: dict[str, Tensor]) -> Tensor:
    a, low, far, last = (values[name] for name in ("a", "low", "far", "last"))
    wide = a.unsqueeze(-1)
    total = dist.HalfNormal(1.0).log_prob(a)
    total = total + dist.Uniform(-wide, wide).log_prob(low).sum(-1)
    total = total + dist.Pareto(wide, 3.0 + low.exp()).log_prob(far).sum(-1)
    return total + dist.Exponential(1.0).log_prob((last - a) / 2) - math.log(2)


def test_density_is_that_of_the_values_and_the_jacobian_of_all_sites() -> None:
    target = from_pyro(_nested)
    z = 0.5 * randn(3, 6)
    values = target.constrain(z)
    assert (values["low"].abs() < values["a"].unsqueeze(-1)).all()
    assert (values["far"] > values["a"].unsqueeze(-1)).all()
    assert (values["last"] > values["a"]).all()
    assert_close(target.unconstrain(values), z, 1e-9)
    arrays = {name: value.numpy() for name, value in values.items()}
    assert_close(target.unconstrain(arrays), z, 1e-9)
    with pytest.raises(ValueError, match="values must include 'a'"):
        target.unconstrain({})

    def flat(row: Tensor) -> Tensor:
        found = target.constrain(row)
        return torch.cat([found[name].reshape(-1) for name in ("a", "low", "far", "last")])

    ladj = torch.stack(
        [torch.autograd.functional.jacobian(flat, row).slogdet()[1] for row in z]  # type: ignore[no-untyped-call]
    )
    assert_close(target.log_density(z), _named_density(values) + ladj, 1e-7)


def test_reparametrised_sites_are_among_the_draws() -> None:
    def model() -> None:
        tau = pyro.sample("tau", dist.HalfNormal(1.0))
        with pyro.plate("rows", 2):
            pyro.sample("theta", dist.Normal(3.0, tau))

    config = {"theta": reparam.LocScaleReparam(0.0)}
    values = from_pyro(pyro.poutine.reparam(model, config)).constrain(randn(4, 3))
    assert list(values) == ["tau", "theta_decentered", "theta"]
    expected = 3 + values["tau"].unsqueeze(-1) * values["theta_decentered"]
    assert_close(values["theta"], expected, 1e-12)


def test_a_site_whose_size_changes_is_refused() -> None:
    def model() -> None:
        n = pyro.sample("n", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(torch.zeros(2 if n > -1 else 3), 1.0).to_event(1))

    with pytest.warns(UserWarning, match="run draw by draw"):
        target = from_pyro(model)
    with pytest.raises(ValueError, match=r"of constant size, got site 'x' with \(2,\)"):
        target.log_density(torch.full((1, 3), -2.0, dtype=torch.float64))


LAW: dict[str, Any] = {
    "exponential, shifted": lambda: dist.TransformedDistribution(
        dist.Exponential(1.0), [dist.transforms.AffineTransform(1.0, 2.0)]
    ),
    "inverse gamma": lambda: dist.InverseGamma(3.0, 2.0),
    "mixture": lambda: dist.MixtureSameFamily(
        dist.Categorical(logits=torch.zeros(2)), dist.Gamma(torch.tensor([2.0, 5.0]), 1.0)
    ),
    "masked mixture": lambda: dist.MaskedMixture(
        torch.tensor(True), dist.Normal(0.0, 1.0), dist.Normal(3.0, 2.0)
    ),
    "Wishart, D = 1": lambda: dist.Wishart(
        torch.tensor(4.0).double(), covariance_matrix=torch.eye(1).double()
    ),
    "LKJ": lambda: dist.LKJ(2, torch.tensor(1.5)),
    "LKJ, Cholesky": lambda: dist.LKJCholesky(2, torch.tensor(1.5)),
    "Dirichlet": lambda: dist.Dirichlet(torch.tensor([2.0, 3.0, 1.5])),
    "ordered": lambda: dist.TransformedDistribution(
        dist.Normal(0.0, 1.0).expand([2]).to_event(1), [dist.transforms.OrderedTransform()]
    ),
}


@pytest.mark.parametrize("name", list(LAW))
def test_a_normalised_prior_has_evidence_one(name: str) -> None:
    target = from_pyro(lambda: pyro.sample("x", LAW[name]()))
    edge, points = (30.0, 3001) if target.dim == 1 else (25.0, 801)
    assert abs(_moments(target, edge, points)[0]) < 1e-3


def test_wishart_by_bartlett() -> None:
    """E of the matrix is df times the scale matrix."""
    scale = torch.tensor([[1.0, 0.3], [0.3, 0.5]], dtype=torch.float64)
    target = from_pyro(
        lambda: pyro.sample("x", dist.Wishart(torch.tensor(6.0).double(), covariance_matrix=scale))
    )
    assert target.dim == 3
    log_z, means = _moments(target, 7.0, 71)
    assert abs(log_z) < 1e-3
    assert_close(means["x"], 6 * scale, 1e-2)


MATRICES = {"lower_cholesky", "positive_definite", "corr_matrix", "corr_cholesky", "symmetric"}
MATRICES |= {"unit_lower_cholesky", "softplus_lower_cholesky", "lower_triangular", "square"}
MATRICES |= {"positive_semidefinite"}
VECTORS = {"simplex", "sphere", "ordered_vector", "positive_ordered_vector", "real_vector"}


@pytest.mark.parametrize("name", sorted(MATRICES | VECTORS | {"positive", "softplus_positive"}))
def test_every_constraint_has_values(name: str) -> None:
    constraint = getattr(dist.constraints, name)
    event = (3, 3) if name in MATRICES else (3,) if name in VECTORS else ()

    def model() -> None:
        x = pyro.sample("x", dist.ImproperUniform(constraint, (2,), event))
        noise = dist.Normal(x, 1.0).to_event(len(event) + 1)
        pyro.sample("y", noise, obs=torch.zeros(2, *event))

    target = from_pyro(model)
    z = randn(4, target.dim)
    values = target.constrain(z)
    assert values["x"].shape == (4, 2, *event)
    assert constraint.check(values["x"]).all()
    assert_close(target.unconstrain(values), z, 1e-8)
    assert torch.isfinite(target.log_density(z)).all()


def test_improper_prior_with_a_likelihood() -> None:
    """Of a scale, by the gamma integral."""
    y = torch.tensor([1.0, -2.0, 0.5])

    def model() -> None:
        s = pyro.sample("s", dist.ImproperUniform(dist.constraints.positive, (), ()))
        pyro.sample("y", dist.Normal(torch.zeros(3), s).to_event(1), obs=y)

    exact = -1.5 * math.log(2 * math.pi) + math.log(0.5) - math.log(float(y.square().sum()) / 2)
    assert abs(_moments(from_pyro(model), 12.0, 4001)[0] - exact) < 1e-6


def test_delta_sites_have_their_value() -> None:
    def model() -> None:
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Delta(2 * a))
        pyro.sample("c", dist.Delta(torch.ones(2)).to_event(1))
        pyro.sample("y", dist.Normal(b, 1.0), obs=torch.tensor(1.0))

    target = from_pyro(model)
    assert target.dim == 1
    exact = Normal(0.0, math.sqrt(5)).log_prob(torch.tensor(1.0))
    assert abs(_moments(target)[0] - float(exact)) < 1e-6
    assert_close(target.constrain(randn(3, 1))["b"], 2 * randn(3, 1)[:, 0], 1e-12)


@pytest.mark.parametrize("mask", [[True, False, True], [True] * 3, [False] * 3])
def test_missing_entries(mask: list[bool]) -> None:
    seen = torch.tensor(mask)
    data = torch.tensor([1.0, -0.5, 2.0])

    def model() -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", 3):
            pyro.sample("x", dist.Normal(mu, 1.0), obs=data, obs_mask=seen)

    target = from_pyro(model)
    missing = int((~seen).sum())
    assert target.dim == 1 + missing
    values = target.constrain(randn(5, target.dim))
    assert set(values) == {"mu", "x"}
    assert (values["x"][:, seen] == data[seen]).all()
    assert_close(target.unconstrain(values), randn(5, target.dim), 1e-12)
    if missing < 3:
        n = 3 - missing
        covariance = torch.eye(n) + torch.ones(n, n)
        exact = torch.distributions.MultivariateNormal(torch.zeros(n), covariance)
        log_z = _moments(target, 9.0, 181)[0]
        assert abs(log_z - float(exact.log_prob(data[seen]))) < 1e-5


def test_multinomial_sites_go_all_at_once() -> None:
    counts = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 1.0]])

    def model() -> None:
        p = pyro.sample("p", dist.Dirichlet(torch.ones(3)))
        with pyro.plate("rows", 2):
            pyro.sample(
                "y", dist.Multinomial(total_count=3, probs=p, validate_args=False), obs=counts
            )

    target = from_pyro(model)  # a warning would be an error
    z = randn(4, 2)
    p = target.constrain(z)["p"]
    expected = torch.stack(
        [
            torch.distributions.Multinomial(1, row, validate_args=False).log_prob(counts).sum()
            for row in p
        ]
    )
    prior = from_pyro(lambda: pyro.sample("p", dist.Dirichlet(torch.ones(3)))).log_density(z)
    assert_close(target.log_density(z), expected + prior, 1e-5)
    empty = torch.zeros(0, 2, dtype=torch.float64)
    assert target.log_density(empty).shape == (0,)
    assert target.constrain(empty)["p"].shape == (0, 3)


def _no_bijection() -> None:
    components = dist.Uniform(torch.tensor([0.0, 1.0]), 2.0)
    pyro.sample("x", dist.MixtureSameFamily(dist.Categorical(logits=torch.zeros(2)), components))


def _two_supports() -> None:
    mask = torch.tensor(True)
    pyro.sample("x", dist.MaskedMixture(mask, dist.Normal(0.0, 1.0), dist.Exponential(1.0)))


def _unbounded() -> None:
    pyro.sample("x", dist.GeneralizedPareto(0.0, 1.0, 0.5))


def _single() -> None:
    x = pyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    pyro.sample("y", dist.Normal(torch.ones(3, 2) @ x, 1.0).to_event(1), obs=torch.ones(3))


def _single_matrix() -> None:
    pyro.sample("x", dist.Wishart(torch.tensor(4.0), torch.eye(2)))


def _no_density() -> None:
    pyro.sample("x", dist.ProjectedNormal(torch.ones(5, dtype=torch.float64)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            _no_bijection,
            r"^model must .* got 'x' with MixtureSameFamily: its components may have diff.*[^\n]$",
        ),
        (_two_supports, "got 'x' with MaskedMixture: its components' supports differ, Real"),
        (_unbounded, "got 'x' with GeneralizedPareto: its bounds are not finite"),
        (
            _single,
            r"^model must accept parameters of double precision, got [^\n]* torch.float64$",
        ),
        (
            _single_matrix,
            "model must accept parameters of double precision, got the error Expected",
        ),
        (_no_density, "got 'x', whose ProjectedNormal has none"),
    ],
)
def test_sites_that_cannot_be(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_pyro(model)
