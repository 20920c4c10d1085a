from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Cauchy, Laplace, Normal

from invflow.flows import FlowMixture
from invflow.vi import Flat, Settings, fit
from invflow.vi.fitting.heavy import Start, start
from invflow.vi.fitting.normal import Normal as Gaussian
from invflow.vi.fitting.normal import standard
from invflow.vi.targets.density import Density
from tests.helpers import assert_close, generator, randn
from tests.vi import known

LOWER = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.5, 0.0], [1.0, -1.0, 0.3]]).double()


def roughly(location: Tensor, scale: Tensor) -> Gaussian:
    """A normal distribution that is off by some, as those of real searches are."""
    dim = len(location)
    off = torch.eye(dim).double() * 1.3 + 0.05 * randn(dim, dim, seed=7).tril(-1)
    return standard(dim).placed(location + 0.05 * scale @ randn(dim, seed=8), scale @ off)


def started(target: Flat, normal: Gaussian | None = None) -> Start:
    zero, one = torch.zeros(target.dim).double(), torch.eye(target.dim).double()
    density = Density(target, generator(0))
    found = start(density, normal or roughly(zero, one), generator(0))
    assert density.evaluations < 40 * target.dim + 150
    return found


def groups(base: Any) -> dict[tuple[int, ...], Any]:
    return dict(zip(map(tuple, base["groups"]), base["bases"], strict=True))


@pytest.mark.parametrize("dim", [1, 2, 5, 20])
@pytest.mark.parametrize("df", [1.0, 2.0, 3.0, 5.0, 10.0, 30.0])
def test_student_t(dim: int, df: float) -> None:
    """The degrees of freedom, the scales, and whether the features are large together."""
    for target in [known.heavy(dim, df)] + ([known.together(dim, df)] if dim > 1 else []):
        found = started(target)
        assert isinstance(found.base, dict)
        joint = target.log_density(torch.ones(1, dim).double()) != known.heavy(dim, df).log_density(
            torch.ones(1, dim).double()
        )
        bases = groups(found.base).values() if found.base["name"] == "product" else [found.base]
        for base in bases:
            assert base["name"] == ("multivariate-student-t" if joint else "student-t")
            assert base["df"] == pytest.approx(df, rel=0.06)
        assert_close(found.scale.diagonal(), torch.ones(dim).double(), 0.35 if joint else 0.05)


@pytest.mark.parametrize(
    "target",
    [
        Flat(lambda z: Normal(0.0, 1.0).log_prob(z).sum(-1), 3),
        Flat(lambda z: Laplace(0.0, 0.7).log_prob(z).sum(-1), 3),
        Flat(lambda z: (z - torch.log1p((2 * z).exp())).sum(-1), 3),  # log half-Cauchy
        known.funnel(4),
        known.banana(),
        known.bounded(),
        known.correlated(5)[0],
        known.heavy(2, 100.0),
    ],
)
def test_light_targets_keep_their_normal_distribution(target: Flat) -> None:
    normal = standard(target.dim)
    if target.dim == 5:
        exact = known.correlated(5)[1]
        normal = normal.placed(exact.mean, exact.scale_tril)
    found = started(target, normal)
    assert found.base == "normal"
    assert torch.equal(found.scale, normal.scale)
    assert torch.equal(found.location, normal.location)


def test_heavy_tails_in_some_coordinates_only() -> None:
    def log_density(z: Tensor) -> Tensor:
        light = -0.5 * (z[:, 0].square() + z[:, 3].square())
        own = -1.5 * torch.log1p(z[:, 1].square() / 2) - 4 * torch.log1p(z[:, 2].square() / 7)
        return light + own

    found = started(Flat(log_density, 4))
    assert groups(found.base) == {
        (1,): {"name": "student-t", "df": 2.0},
        (2,): {"name": "student-t", "df": 7.0},
        (0, 3): "normal",
    }


def test_some_coordinates_that_are_large_together() -> None:
    def log_density(z: Tensor) -> Tensor:
        return -0.5 * z[:, 0].square() - 2.5 * torch.log1p(z[:, 1:].square().sum(-1) / 3)

    found = started(Flat(log_density, 3))
    assert groups(found.base) == {
        (1, 2): {"name": "multivariate-student-t", "df": 3.0},
        (0,): "normal",
    }


def test_columns_run_along_ridges() -> None:
    """Of independent tails that a linear map has turned, and the light rest follows them."""
    inverse = torch.linalg.inv(LOWER)
    location = torch.tensor([5.0, 0.0, -3.0]).double()

    def heavy(z: Tensor) -> Tensor:
        return -2 * torch.log1p(((z - location) @ inverse.mT).square() / 3).sum(-1)

    found = started(Flat(heavy, 3), roughly(location, LOWER))
    assert found.base == {"name": "student-t", "df": 3.0}
    assert_close(found.scale, LOWER, 0.03)

    def some(z: Tensor) -> Tensor:
        u = (z - location) @ inverse.mT
        return -2 * torch.log1p(u[:, :2].square() / 3).sum(-1) - 0.5 * u[:, 2].square()

    found = started(Flat(some, 3), roughly(location, LOWER))
    assert groups(found.base) == {(0, 1): {"name": "student-t", "df": 3.0}, (2,): "normal"}
    assert_close(found.scale[:, :2], LOWER[:, :2], 0.03)


def test_a_regression_with_cauchy_noise() -> None:
    """With n data in D dimensions the density falls like r^-2n in every direction."""
    x = randn(5, 2, seed=1)
    y = x @ torch.tensor([1.0, -2.0]).double() + 0.1 * randn(5, seed=2)
    target = Flat(lambda z: Cauchy(z @ x.mT, 0.3).log_prob(y).sum(-1), 2)
    least = torch.linalg.lstsq(x, y.unsqueeze(-1)).solution.squeeze(-1)
    factor = torch.linalg.cholesky(0.05 * torch.linalg.inv(x.mT @ x))
    found = started(target, standard(2).placed(least, factor))
    assert isinstance(found.base, dict)
    assert found.base["name"] == "multivariate-student-t"
    assert 5 < found.base["df"] < 9  # 8 in the limit


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("df", [1.0, 3.0])
def test_the_evidence_of_heavy_tails_is_that_of_the_closed_form(dim: int, df: float) -> None:
    for target in (known.heavy(dim, df), known.together(dim, df)):
        verdict = fit(target).diagnose()
        assert verdict.level == "good"
        assert verdict.log_evidence_error < 0.02
        assert abs(verdict.log_evidence) < 3 * verdict.log_evidence_error + 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("df", [1.0, 3.0, 5.0])
@pytest.mark.parametrize("make", [known.heavy, known.together])
def test_the_stated_error_of_the_evidence_is_true(make: Any, df: float) -> None:
    off: list[float] = []
    for seed in range(20):
        verdict = fit(make(20, df), seed=seed).diagnose()
        if verdict.level == "good":
            off.append(abs(verdict.log_evidence) / verdict.log_evidence_error)
    assert sum(each > 3 for each in off) <= 1
    assert len(off) > 15


def test_modes_have_the_noise_that_their_tails_ask_for() -> None:
    def log_density(z: Tensor) -> Tensor:
        left = known.heavy(2, 3.0).log_density(z + 8)
        return torch.logaddexp(left, known.heavy(2, 3.0).log_density(z - 8)) - math.log(2)

    posterior = fit(Flat(log_density, 2))
    assert isinstance(posterior.flow, FlowMixture)
    described = [flow["flow"]["base"] for flow in posterior.flow.config["flows"]]
    assert described == 2 * [{"name": "student-t", "df": 3.0}]
    verdict = posterior.diagnose()
    assert verdict.level == "good"
    assert abs(verdict.log_evidence) < 3 * verdict.log_evidence_error + 1e-4


def test_a_flow_is_trained_on_heavy_noise() -> None:
    """A bent Student's t, for which no start is right."""

    def log_density(z: Tensor) -> Tensor:
        bent = torch.stack([z[:, 0], z[:, 1] - 2 * torch.sin(z[:, 0])], -1)
        return known.heavy(2, 3.0).log_density(bent)

    posterior = fit(Flat(log_density, 2), settings=Settings(max_steps=400))
    assert posterior.record is not None
    assert posterior.record.steps > 0
    verdict = posterior.diagnose()
    assert verdict.level != "bad"
    assert abs(verdict.log_evidence) < 0.03
    assert "student-t" in str(posterior.flow.config)


@pytest.mark.parametrize("error", [RuntimeError, ValueError, KeyError])
def test_a_model_may_fail_far_out(error: type[Exception]) -> None:
    """Then its tails count as light; and points so far out are not counted as rejected."""

    def log_density(z: Tensor) -> Tensor:
        if bool((z.abs() > 400).any() & (z.abs() < 2000).all()):
            raise error("too far out")
        return -0.5 * z.square().sum(-1)

    posterior = fit(Flat(log_density, 2))
    assert posterior.record is not None
    assert posterior.record.non_finite == 0
    assert posterior.flow.config["flow"]["base"] == {"name": "normal"}


def test_a_flow_that_the_user_describes_keeps_its_base() -> None:
    config = {"name": "iaf", "transforms": 1, "hidden_features": (8,)}
    settings = Settings(batch_size=64, max_steps=20, steps_per_round=20, evaluation_draws=256)
    posterior = fit(known.heavy(2, 3.0), flow=config, settings=settings)
    assert posterior.flow.config["flow"]["base"] == {"name": "normal"}
    verdict = posterior.diagnose()
    assert verdict.level != "good"
    assert "the target falls like r^-4 far out" in str(verdict)
