from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from invflow.vi import Settings, Target, fit, from_pymc
from invflow.vi.targets import graphs
from tests.helpers import assert_close, randn
from tests.vi.targets.test_pyro import SIGMA, Y, flat

pymc = pytest.importorskip("pymc", reason="needs PyMC")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def schools() -> object:
    with pymc.Model() as model:
        mu = pymc.Normal("mu", 0.0, 5.0)
        tau = pymc.HalfCauchy("tau", 5.0)
        t = pymc.Normal("t", 0.0, 1.0, shape=8)
        theta = pymc.Deterministic("theta", mu + tau * t)
        pymc.Normal("y", theta, SIGMA.numpy(), observed=Y.numpy())
    return from_pymc(model)


def test_is_the_density_of_the_other_ways_to_bring_it(schools: object) -> None:
    z = randn(6, 10).requires_grad_()
    values = [each.log_density(z) for each in (flat(), schools)]
    slopes = [torch.autograd.grad(value.sum(), z)[0] for value in values]
    # torch's distributions take the logarithms of their scales in single precision.
    assert_close(values[1], values[0], 1e-7)
    assert_close(slopes[1], slopes[0], 1e-7)


def test_variables_by_name(schools: object) -> None:
    z = randn(2, 3, 10)
    values = schools.constrain(z)
    assert {name: tuple(value.shape) for name, value in values.items()} == {
        "mu": (2, 3),
        "tau": (2, 3),
        "t": (2, 3, 8),
        "theta": (2, 3, 8),
    }
    assert_close(values["tau"], z[..., 1].exp(), 1e-12)
    expected = values["mu"].unsqueeze(-1) + values["tau"].unsqueeze(-1) * values["t"]
    assert_close(values["theta"], expected, 1e-12)


def test_posterior_of_a_conjugate_model() -> None:
    data = 1.0 + randn(20)
    with pymc.Model() as model:
        mean = pymc.Normal("mean", 0.0, 2.0)
        pymc.Normal("y", mean, 1.0, observed=data.numpy())
    settings = Settings(
        batch_size=64, steps_per_round=20, evaluation_draws=512, learning_rate_drops=0, max_steps=60
    )
    posterior = fit(from_pymc(model), settings=settings)
    precision = 20 + 0.25
    draws = posterior.draws(4000)["mean"]
    assert abs(float(draws.mean() - data.sum() / precision)) < 0.02
    assert abs(float(draws.std()) * math.sqrt(precision) - 1) < 0.05
    exact = Normal(0.0, math.sqrt(4 + 1 / 20)).log_prob(data.mean())
    spread = Normal(0.0, 1.0).log_prob(data - data.mean()).sum() + 0.5 * math.log(2 * math.pi / 20)
    assert abs(posterior.diagnose().log_evidence - float(exact + spread)) < 0.02


def test_refused_models() -> None:
    with pymc.Model() as discrete:
        pymc.Bernoulli("k", 0.5)
    with pymc.Model() as empty:
        pymc.Normal("y", 0.0, 1.0, observed=np.zeros(3))
    with pytest.raises(ValueError, match="got k, which is discrete"):
        from_pymc(discrete)
    with pytest.raises(ValueError, match="must have a free variable"):
        from_pymc(empty)
    with pytest.raises(TypeError, match="model must be a PyMC model, got int"):
        from_pymc(3)


def _model(build: Callable[[], object]) -> Any:
    with pymc.Model() as model:
        build()
    return model


def _log_evidence(target: Target, half: float = 40.0, points: int = 801) -> float:
    """Return the log of the integral of a density of one or two numbers, by a grid."""
    grid = torch.linspace(-half, half, points, dtype=torch.float64)
    z = torch.cartesian_prod(*[grid] * target.dim).reshape(-1, target.dim)
    value = target.log_density(z)
    whole = torch.where(torch.isfinite(value), value, -torch.inf).logsumexp(0)
    return float(whole) + target.dim * math.log(2 * half / (points - 1))


def _ordered() -> object:
    return pymc.distributions.transforms.ordered


def _partly_observed() -> object:
    mu = pymc.Normal("mu", 0.0, 1.0)
    return pymc.Normal("y", mu, 1.0, observed=np.array([1.0, np.nan]))


#: Models of one or two numbers, and the logs of their evidences.
EVIDENCES: dict[str, tuple[Callable[[], object], float]] = {
    "a bound that is a parameter": (
        lambda: pymc.Uniform("b", 0.0, pymc.Exponential("a", 1.0)),
        0.0,
    ),
    "and data": (
        lambda: pymc.Normal(
            "y", pymc.Uniform("b", 0.0, pymc.Exponential("a", 1.0)), 0.5, observed=1.5
        ),
        -1.940,
    ),
    "a truncation that is a parameter": (
        lambda: pymc.Truncated("x", pymc.Normal.dist(0, 1), lower=pymc.Normal("l", 0, 1)),
        0.0,
    ),
    "simplex": (lambda: pymc.Dirichlet("x", np.array([2.0, 3.0, 1.0])), 0.0),
    "mixture": (
        lambda: pymc.Mixture(
            "x", [0.3, 0.7], [pymc.Normal.dist(-2.0, 1.0), pymc.Normal.dist(3.0, 0.5)]
        ),
        0.0,
    ),
    "zero sum": (lambda: pymc.ZeroSumNormal("x", sigma=1.0, shape=3), 0.0),
    "partly observed": (_partly_observed, Normal(0.0, math.sqrt(2)).log_prob(torch.tensor(1.0))),
    "censored data": (
        lambda: pymc.Censored(
            "y", pymc.Normal.dist(pymc.Normal("m", 0, 1), 1), lower=None, upper=1.0, observed=1.0
        ),
        math.log(0.5 * math.erfc(0.5)),  # P(y > 1), y of variance two
    ),
    "angle": (lambda: pymc.VonMises("t", 0.0, 2.0), 0.0),
    "angle given an angle": (
        lambda: pymc.VonMises("y", pymc.VonMises("t", 0.0, 2.0), 3.0, observed=0.8),
        -1.2787,
    ),
    "flat": (lambda: pymc.Normal("y", pymc.Flat("x"), 1.0, observed=0.0), 0.0),
    "potential": (lambda: pymc.Potential("p", -pymc.Normal("x", 0.0, 1.0)), 0.5),
    "ordered": (lambda: pymc.Normal("x", 0.0, 1.0, shape=2, transform=_ordered()), -math.log(2)),
}


@pytest.mark.parametrize("name", EVIDENCES)
def test_evidences_of_models_of_all_kinds(name: str) -> None:
    build, expected = EVIDENCES[name]
    target = from_pymc(_model(build))
    half = math.pi if target.angles else 40.0  # one turn
    assert _log_evidence(target, half) == pytest.approx(float(expected), abs=5e-4)


def test_a_bound_that_is_a_parameter() -> None:
    """E a = 1.749, by quadrature."""
    build, _ = EVIDENCES["and data"]
    target = from_pymc(_model(build))
    grid = torch.linspace(-20, 20, 801, dtype=torch.float64)
    z = torch.cartesian_prod(grid, grid)
    values = target.constrain(z)
    weights = target.log_density(z).nan_to_num(-torch.inf).softmax(0)
    assert float(weights @ values["a"]) == pytest.approx(1.749, abs=1e-3)
    assert bool((values["b"] <= values["a"]).all())


def test_angles_stay_within_a_turn() -> None:
    target = from_pymc(_model(EVIDENCES["angle"][0]))
    assert (target.angles, target.angular) == ((0,), {"t"})
    values = target.constrain(torch.tensor([[-1.0], [2.0], [4.0]]).double())["t"]
    assert_close(values, torch.tensor([-1.0, 2.0, 4 - 2 * math.pi], dtype=torch.float64), 1e-9)


def test_what_is_not_normalised_is_named() -> None:
    def build() -> None:
        x = pymc.Flat("x")
        pymc.Normal("o", 0.0, 1.0, shape=2, transform=_ordered())
        pymc.CustomDist("d", 1.0, logp=lambda value, mu: -0.5 * (value - mu) ** 2)
        pymc.Potential("p", -(x**2))

    caveat = from_pymc(_model(build)).caveat
    for term in ("x (Flat)", "o (ordered)", "d (CustomDist)", "p (Potential)"):
        assert term in caveat
    assert from_pymc(_model(EVIDENCES["mixture"][0])).caveat == ""


def test_what_cannot_be_vectorised_goes_row_by_row(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The determinants of LKJCorr before PyTensor 3; and a constant, which has no rows."""
    together = graphs._together

    def refused(*arguments: Any, **options: Any) -> None:
        together(*arguments, **options)
        raise NotImplementedError

    monkeypatch.setattr(graphs, "_together", refused)

    def build() -> None:
        pymc.Deterministic("half", pymc.LKJCorr("c", n=2, eta=2.0) / 2)
        pymc.Deterministic("constant", pymc.math.constant(np.arange(2.0)))

    model = _model(build)
    with pytest.warns(UserWarning, match="draws are evaluated one by one, which is slow"):
        target = from_pymc(model)
    z = randn(4, 1).requires_grad_()
    assert capfd.readouterr().err == ""
    assert "c (LKJCorr)" in target.caveat
    value = target.log_density(z)
    assert value.shape == (4,)
    (slope,) = torch.autograd.grad(value.sum(), z)
    up, down = (target.log_density(z.detach() + step) for step in (1e-6, -1e-6))
    assert_close(slope[:, 0], (up - down) / 2e-6, 1e-6)
    values = target.constrain(z.detach())
    assert_close(values["half"], values["c"] / 2, 1e-12)
    assert values["constant"].tolist() == [[0.0, 1.0]] * 4


@pytest.mark.parametrize(
    ("select", "weights"),
    [
        (lambda a: a[a > 0], lambda z: z > 0),
        (lambda a: a[(a > 1).nonzero()], lambda z: z > 1),
        (
            lambda a: a[: (a[0] > 0).astype(int) + 1],
            lambda z: torch.stack([z[:, 0] == z[:, 0], z[:, 0] > 0], -1),
        ),
    ],
    ids=["mask", "nonzero", "slice"],
)
def test_indices_that_depend_on_variables_go_row_by_row(
    select: Callable[[Any], Any], weights: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """Each draw selects entries of its own."""

    def build() -> None:
        a = pymc.Normal("a", 0.0, 1.0, shape=5)
        pymc.Potential("selected", -3.0 * select(a).sum())

    with pytest.warns(UserWarning, match="indices that depend on the variables; use pytensor"):
        target = from_pymc(_model(build))
    z = randn(7, 5).requires_grad_()
    chosen = weights(z)
    selected = (z[:, : chosen.shape[1]] * chosen).sum(-1)
    values = target.log_density(z), Normal(0.0, 1.0).log_prob(z).sum(-1) - 3.0 * selected
    assert_close(*values, 1e-12)
    assert_close(*(torch.autograd.grad(value.sum(), z)[0] for value in values), 1e-12)


def test_a_density_that_is_constant_goes_row_by_row() -> None:
    def build() -> None:
        pymc.CustomDist("x", logp=lambda value: pymc.math.constant(2.0))

    with pytest.warns(UserWarning, match="an output that does not depend on the variables"):
        target = from_pymc(_model(build))
    assert target.log_density(randn(3, 1)).tolist() == [2.0] * 3


def test_masks_of_the_data_are_vectorised() -> None:
    def build() -> None:
        keep = pymc.Data("keep", np.array([True, False, True]))
        pymc.Potential("kept", -pymc.Normal("a", 0.0, 1.0, shape=3)[keep].sum())

    with warnings.catch_warnings():
        warnings.filterwarnings("error", "PyTensor cannot vectorise")
        target = from_pymc(_model(build))
    z = randn(4, 3)
    expected = Normal(0.0, 1.0).log_prob(z).sum(-1) - z[:, 0] - z[:, 2]
    assert_close(target.log_density(z), expected, 1e-12)


def test_quantities_whose_shape_depends_on_variables_are_named() -> None:
    def build() -> None:
        a = pymc.Normal("a", 0.0, 1.0, shape=5)
        pymc.Deterministic("above", a[a > 0])

    target = from_pymc(_model(build))
    with pytest.raises(
        ValueError, match=r"variables with fixed shapes, got above with shapes \(\d,\) and"
    ):
        target.constrain(randn(20, 5))


def test_a_constant_is_not_taken_for_draws() -> None:
    """Of the length of the batch at which the model is tried."""

    def build() -> None:
        pymc.Deterministic("constant", pymc.math.constant(np.arange(3.0)))
        pymc.Normal("x", 0.0, 1.0)

    values = from_pymc(_model(build)).constrain(randn(4, 1))
    assert values["constant"].tolist() == [[0.0, 1.0, 2.0]] * 4


def test_improper_models_are_named() -> None:
    with pytest.raises(ValueError, match=r"every entry of its vectors, .* \(x\)"):
        fit(from_pymc(_model(lambda: pymc.Flat("x"))))
    with pytest.raises(ValueError, match=r"does not along s: .* is improper"):
        fit(from_pymc(_model(lambda: pymc.HalfFlat("s"))))


def test_variables_without_a_density_or_a_gradient_are_named() -> None:
    cases: dict[str, Callable[[], object]] = {
        "got x, which has point masses at its bounds: use pymc.Truncated": lambda: pymc.Censored(
            "x", pymc.Normal.dist(0, 1), lower=-1.0, upper=1.0
        ),
        "got w, which PyMC does not keep positive definite: use pymc.LKJ": lambda: pymc.Wishart(
            "w", nu=4, V=np.eye(2)
        ),
        r"model must have a gradient, got none: (grad|pullback) not implemented": lambda: (
            pymc.PolyaGamma("g", 1.0, 0.0)
        ),
    }
    for message, build in cases.items():
        with pytest.raises(ValueError, match=message):
            from_pymc(_model(build))


def test_minibatches_are_refused() -> None:
    """PyTensor would draw one, and take it for all of the data."""

    def build() -> object:
        batch = pymc.Minibatch(np.arange(1000.0), batch_size=10)
        return pymc.Normal("y", pymc.Normal("mu", 0, 1), 1, observed=batch, total_size=1000)

    with pytest.raises(
        ValueError, match=r"use all of its data, .* pymc.Minibatch .* vi\.Subsampled"
    ):
        from_pymc(_model(build))


def test_von_mises_variables_are_angles() -> None:
    with pymc.Model() as model:
        pymc.HalfNormal("s", 1.0)
        t = pymc.VonMises("t", 0.0, 2.0, shape=2)
        pymc.VonMises("y", t[0], 3.0, observed=0.8)
    target = from_pymc(model)
    assert target.angles == (1, 2)
    assert target.angular == {"t"}
    z = randn(3, 3)
    turned = z + 2 * torch.pi * torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64)
    assert_close(target.log_density(turned), target.log_density(z), 1e-9)
