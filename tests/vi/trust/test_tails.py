from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Beta,
    Dirichlet,
    Gamma,
    HalfCauchy,
    LKJCholesky,
    Normal,
    StudentT,
    VonMises,
    constraints,
)

from invflow.vi import Flat, Named, Parameter, Target, fit
from invflow.vi.fitting.trial import try_out
from invflow.vi.targets.guarded import Guarded
from tests.helpers import generator
from tests.vi import known
from tests.vi.targets.test_pyro import SIGMA, Y

REAL, POSITIVE = constraints.real, constraints.positive


def _schools(z: Tensor, *, mu_prior: bool, tau_prior: bool) -> Tensor:
    """Eight schools, not centred, flat in mu and in log tau unless they have priors."""
    mu, log_tau, t = z[:, 0], z[:, 1], z[:, 2:]
    theta = mu.unsqueeze(-1) + log_tau.exp().unsqueeze(-1) * t
    each = Normal(theta, SIGMA, validate_args=False).log_prob(Y) + Normal(0.0, 1.0).log_prob(t)
    total = each.sum(-1)
    if mu_prior:
        total = total + Normal(0.0, 5.0).log_prob(mu)
    if tau_prior:
        total = total + HalfCauchy(5.0, validate_args=False).log_prob(log_tau.exp()) + log_tau
    return total


def _centred(z: Tensor) -> Tensor:
    """Its density has no upper bound where tau is zero, and an integral all the same."""
    mu, log_tau, theta = z[:, :1], z[:, 1:2], z[:, 2:]
    scale = log_tau.exp()
    prior = HalfCauchy(5.0, validate_args=False).log_prob(scale) + log_tau
    each = Normal(mu, scale, validate_args=False).log_prob(theta) + Normal(theta, SIGMA).log_prob(Y)
    return (prior + Normal(0.0, 5.0).log_prob(mu)).squeeze(-1) + each.sum(-1)


def _horseshoe(z: Tensor) -> Tensor:
    log_scale, x = z[:, :3], z[:, 3:]
    scale = log_scale.exp()
    prior = HalfCauchy(1.0, validate_args=False).log_prob(scale) + log_scale
    return (prior + Normal(0.0, scale, validate_args=False).log_prob(x)).sum(-1)


def _outliers(z: Tensor) -> Tensor:
    """Each number is about z, whose prior is vague, or an outlier with a constant density."""
    likely = Normal(z, 1.0).log_prob(Y)
    return torch.logaddexp(likely, torch.tensor(-6.0)).sum(-1) + Normal(0.0, 1e6).log_prob(z[:, 0])


def _within(z: Tensor, outside: float) -> Tensor:
    value = -0.5 * z.square().sum(-1)
    return torch.where((z.abs() < 3).all(-1), value, outside)


PROPER: dict[str, Target] = {
    "Cauchy": known.heavy(3),
    "Student-t with a tenth of a degree of freedom": known.heavy(2, df=0.1),
    "a Cauchy distribution of vectors": Flat(
        lambda z: -3 * torch.log1p(z.square().sum(-1)), 5
    ),  # r to the power of -6
    "Cauchy in single precision": Flat(lambda z: -torch.log1p(z.float().square()).sum(-1), 3),
    "an exponential distribution's logarithm": Flat(lambda z: (z - z.exp()).sum(-1), 2),
    "a gamma distribution's logarithm": known.bounded(),
    "horseshoe": Flat(_horseshoe, 6),
    "funnel": known.funnel(),
    "eight schools": Flat(lambda z: _schools(z, mu_prior=True, tau_prior=True), 10),
    "eight schools, flat in mu": Flat(lambda z: _schools(z, mu_prior=False, tau_prior=True), 10),
    "eight schools, centred": Flat(_centred, 10),
    "nothing outside of a box": Flat(lambda z: _within(z, -math.inf), 2),
    "NaN outside of a box": Flat(lambda z: _within(z, math.nan), 2),
    "a plateau": Flat(lambda z: -10 * (z.abs() - 5).relu().square().sum(-1), 2),
    "uniform on a thousand": Flat(
        lambda z: torch.where((z[:, 0] > 0) & (z[:, 0] < 1000), 0 * z[:, 0], -math.inf), 1
    ),
    "vague": Flat(lambda z: Normal(0.0, 1e8).log_prob(z).sum(-1), 1),
    "outliers": Flat(_outliers, 1),
    "nearly flat": Flat(
        lambda z: -0.5 * (z.sum(-1).square() + 1e-6 * (z[:, 0] - z[:, 1]).square()), 2
    ),
    "banana": known.banana(),
    "a uniform distribution, constrained": Named(
        lambda x: 0 * x, {"x": constraints.interval(-3.0, 2.0)}
    ),
    "a sparse Dirichlet distribution": Named(  # constant where torch's simplex underflows
        lambda x: Dirichlet(torch.full((4,), 0.05)).log_prob(x),
        {"x": Parameter(constraints.simplex, (4,))},
    ),
    "constraints of all kinds": Named(
        lambda a, b, c, d: (
            Beta(2.0, 3.0).log_prob(a)
            + Gamma(1.0, 1.0).log_prob(b)
            + Dirichlet(torch.ones(4)).log_prob(c)
            + LKJCholesky(3, 1.0).log_prob(d)
        ),
        {
            "a": constraints.unit_interval,
            "b": POSITIVE,
            "c": Parameter(constraints.simplex, (4,)),
            "d": Parameter(constraints.corr_cholesky, (3, 3)),
        },
    ),
}

IMPROPER: dict[str, tuple[Target, str]] = {
    "an angle": (
        Named(VonMises(0.0, 2.0, validate_args=False).log_prob, {"value": REAL}),
        "value",
    ),
    "a narrow angle beside something else": (
        Named(lambda a, b: 2000 * torch.cos(a - 1) - 0.5 * b.square(), {"a": REAL, "b": REAL}),
        "a",
    ),
    "an angle in degrees": (
        Flat(lambda z: 2000 * torch.cos(z[:, 0] * math.pi / 180), 1),
        r"z\[0\]",
    ),
    "constant far out": (Flat(lambda z: 1 / (1 + z[:, 0].square()), 1), r"z\[0\]"),
    "constant far out, and low": (
        Flat(lambda z: torch.logaddexp(-z[:, 0].square(), torch.tensor(-25.0)), 1),
        r"z\[0\]",
    ),
    "rising": (Flat(lambda z: z[:, 0] - 0.5 * z[:, 1].square(), 2), r"z\[0\]"),
    "as 1 / r": (Flat(lambda z: -0.5 * torch.log1p(z[:, 0].square()), 1), r"z\[0\]"),
    "flat in log tau": (
        Flat(lambda z: _schools(z, mu_prior=False, tau_prior=False), 10),
        r"z\[1\]",
    ),
    "a positive number without a prior": (Named(lambda tau: 0 * tau, {"tau": POSITIVE}), "tau"),
    "1 / tau": (
        Named(lambda tau, mu: -tau.log() - mu.square(), {"tau": POSITIVE, "mu": REAL}),
        "tau",
    ),
    "only the sum counts": (
        Named(lambda a, b, c: -((a + b).square() + c.square()), dict.fromkeys("abc", REAL)),
        "a, b",
    ),
    "the sum counts, in other units": (
        Named(lambda a, b: -0.5 * (a / 1e3 + b * 1e3 - 1).square(), dict.fromkeys("ab", REAL)),
        "a",
    ),
    "an intercept too many": (
        Named(
            lambda a, b: -0.5 * (a[:, None] + b - Y).square().sum(-1),
            {"a": REAL, "b": Parameter(REAL, (8,))},
        ),
        r"a, b\[0\], .* b\[7\]",
    ),
}


@pytest.mark.parametrize("name", PROPER)
def test_proper_ones_pass(name: str) -> None:
    for seed in range(5):
        density = Guarded(PROPER[name], generator(seed))
        try_out(density)
        assert density.evaluations < 1500


@pytest.mark.parametrize("name", IMPROPER)
def test_improper_ones_are_named_before_anything_is_spent(name: str) -> None:
    target, called = IMPROPER[name]
    for seed in range(5):
        density = Guarded(target, generator(seed))
        with pytest.raises(ValueError, match=f"that does not along {called}: .* is improper"):
            try_out(density)
        assert density.evaluations < 3000


def test_a_model_need_not_work_far_out() -> None:
    def fails(z: Tensor) -> Tensor:
        if bool((z.detach().abs() > 1000).any()):
            raise RuntimeError("the solver has not converged")
        return -0.5 * z.square().sum(-1)

    try_out(Guarded(Flat(fails, 2), generator(0)))


def test_a_fit_says_so() -> None:
    target = Named(lambda t, x: 2 * torch.cos(t) - x.square(), {"t": REAL, "x": REAL})
    with pytest.raises(ValueError, match=r"one that does not along t: .* bound them to one turn"):
        fit(target)


def test_many_dimensions_cost_some_evaluations_each() -> None:
    density = Guarded(Flat(lambda z: StudentT(2.0).log_prob(z).sum(-1), 500), generator(0))
    try_out(density)
    assert density.evaluations < 100 * 500
