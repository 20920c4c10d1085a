from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, constraints

from invflow.flows import FlowMixture, Gaussian
from invflow.vi import Flat, Named, Parameter, Posterior, Record, Verdict
from invflow.vi.targets.guarded import Guarded
from invflow.vi.trust import probe
from tests.helpers import randn


def gaussian(dim: int, location: float = 0.0, scale: float = 1.0) -> Gaussian:
    """Return N(location, scale^2) in each of `dim` dimensions."""
    flow = Gaussian(dim, kind="diagonal").double()
    target = scale * torch.eye(dim).double()
    with torch.no_grad():
        zero, one = torch.zeros(dim).double(), torch.ones(dim).double()
        bias = flow.transform.given.bias  # pyright: ignore
        shift, wide = bias.view(dim, 2).unbind(1)
        shift.fill_(location)
        # The scale is softly bounded: solve for the parameter by bisection.
        low, high = -6.0, 6.0
        for _ in range(80):
            wide.fill_((low + high) / 2)
            found = float((flow.transform(one)[0] - flow.transform(zero)[0])[0])
            low, high = (low, (low + high) / 2) if found > scale else ((low + high) / 2, high)
    torch.testing.assert_close(
        flow.transform(torch.eye(dim).double())[0].detach(), target + location
    )
    return flow


def modes(*locations: float) -> Callable[[Tensor], Tensor]:
    def log_density(z: Tensor) -> Tensor:
        each = [-0.5 * (z - a).square().sum(-1) for a in locations]
        return torch.stack(each).logsumexp(0)

    return log_density


def verdict(log_density: Callable[[Tensor], Tensor], flow: Gaussian | FlowMixture) -> Verdict:
    return Posterior(Flat(log_density, flow.features), flow).diagnose()


@pytest.mark.parametrize("dim", [1, 3, 40])
def test_an_exact_fit_is_good(dim: int) -> None:
    found = verdict(modes(2.0), gaussian(dim, 2.0))
    assert found.level == "good"
    assert found.khat < 0.7
    assert found.ess == pytest.approx(found.draws)
    assert found.elbo == pytest.approx(0.5 * dim * math.log(2 * math.pi), abs=1e-6)
    assert "near exact" in str(found)


@pytest.mark.parametrize("dim", [1, 2, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-6, 1e-3])
def test_a_fit_that_is_exact_but_for_little_is_good(
    dim: int, dtype: torch.dtype, size: float
) -> None:
    """Whatever the shape of what is left: here k-hat is up to six."""

    def log_density(z: Tensor) -> Tensor:
        z = z.to(dtype)
        left = (z[:, 0] ** 4 - 6 * z[:, 0] ** 2) / (1 + (z[:, 0] / 5) ** 4)
        return 1e3 - 0.5 * z.square().sum(-1) + size * left

    for seed in range(4):
        found = Posterior(Flat(log_density, dim), gaussian(dim), seed=seed).diagnose()
        assert found.level == "good", str(found)
        assert "near exact" in str(found)
        assert found.tail < 0.005


@pytest.mark.parametrize(("df", "scale"), [(2.0, 1.0), (3.0, 1.5), (4.0, 1.5), (6.0, 1.2)])
def test_heavy_tails_are_not_near_exact(df: float, scale: float) -> None:
    """Those of Student-t beside a normal's: its weights have no variance."""

    def log_density(z: Tensor) -> Tensor:
        return -(df + 1) / 2 * torch.log1p(z.square() / df).sum(-1)

    true = 0.5 * math.log(df * math.pi) + math.lgamma(df / 2) - math.lgamma((df + 1) / 2)
    found = verdict(log_density, gaussian(1, scale=scale))
    assert found.level != "good"
    assert abs(found.log_evidence - true) < 3 * found.log_evidence_error


def test_an_evidence_that_may_be_off_by_more_than_monte_carlo_noise() -> None:
    found = verdict(lambda z: -2 * torch.log1p(z.square() / 3).sum(-1), gaussian(1, scale=1.2))
    error = math.log(math.pi * math.sqrt(3) / 2) - found.log_evidence
    assert 0.5 < found.khat < 0.7
    monte_carlo = math.sqrt((found.draws / found.ess - 1) / found.draws)
    assert 3 * monte_carlo < error < found.log_evidence_error
    parts = (monte_carlo, found.tail, found.outside)
    assert found.log_evidence_error == pytest.approx(math.hypot(*parts))
    share = found.tail + found.outside
    assert f"may be off by up to about {share:.2g}, the mass in the tail" in str(found)
    assert f"its Monte Carlo error is only {monte_carlo:.2g}." in str(found)
    assert "may be off" not in str(verdict(modes(0.0), gaussian(3)))


@pytest.mark.parametrize(("share", "level"), [(0.003, "good"), (0.012, "usable"), (0.05, "bad")])
def test_what_the_flow_misses_is_said(share: float, level: str) -> None:
    """A mode in which the flow does not draw, so that its weights are equal."""

    def log_density(z: Tensor) -> Tensor:
        small = math.log(share) - 0.5 * (z - 12).square().sum(-1)
        return torch.logaddexp(-0.5 * z.square().sum(-1), small)

    found = verdict(log_density, gaussian(1))
    assert found.level == level
    assert 0.7 * share < found.outside < 1.3 * share
    assert found.log_evidence_error == pytest.approx(found.outside, rel=1e-3)
    text = str(found)
    if level == "bad":
        assert "finds mass that the flow does not reach" in text
    else:
        assert f"finds about {found.outside:.1%} of the posterior that the flow misses" in text
        assert f"by up to about {found.outside:.2g}, the mass that the wider search finds;" in text


def test_a_funnel_under_a_normal_is_bad() -> None:
    def log_density(z: Tensor) -> Tensor:
        rest = Normal(0.0, torch.exp(z[:, :1] / 2), validate_args=False).log_prob(z[:, 1:]).sum(-1)
        return Normal(0.0, 1.0).log_prob(z[:, 0]) + rest

    assert verdict(log_density, gaussian(3)).level == "bad"


def test_where_hardly_any_draw_counts_weights_repair_nothing() -> None:
    found = verdict(lambda z: torch.where(z[:, 0] < 0.5, torch.nan, -z[:, 0]), gaussian(1))
    assert found.level == "bad"
    assert "NaN or infinite at" in str(found)
    assert "repair" not in str(found)


def test_an_exact_mixture_is_good() -> None:
    flow = FlowMixture([gaussian(2), gaussian(2, 9.0)]).double()
    assert verdict(modes(0.0, 9.0), flow).level == "good"


def test_a_wide_fit_is_usable_by_its_weights() -> None:
    found = verdict(modes(0.0), gaussian(3, scale=3.0))
    assert found.level == "usable"
    assert "resample()" in str(found)


def test_a_narrow_fit_is_bad() -> None:
    found = verdict(modes(0.0), gaussian(3, scale=0.3))
    assert found.level == "bad"
    assert "refine()" in str(found)


def test_a_fit_to_heavy_tails_is_bad() -> None:
    found = verdict(lambda z: -torch.log1p(z.square()).sum(-1), gaussian(2))
    assert found.level == "bad"
    assert found.outside > 0.05


@pytest.mark.parametrize(("dim", "away"), [(1, 12.0), (2, 12.0), (2, 6.0), (5, 4.0)])
def test_a_flow_on_one_of_two_modes_is_bad(dim: int, away: float) -> None:
    found = verdict(modes(0.0, away), gaussian(dim))
    assert found.ess > 0.5 * found.draws  # so that its weights see nothing
    assert found.level == "bad"
    assert "does not reach" in str(found)


def test_tails_only_are_told_from_a_poor_fit() -> None:
    found = verdict(lambda z: -3.5 * torch.log1p(z.square() / 6).sum(-1), gaussian(1, scale=1.2))
    assert found.khat > 0.7
    assert found.ess > 0.5 * found.draws
    assert found.level == "usable"
    assert "tails are not" in str(found)


def test_ignored_parameters_are_named() -> None:
    target = Named(
        lambda mu, tau, theta: -0.5 * (mu.square() + theta[:, 0].square() + tau),
        {"mu": constraints.real, "tau": constraints.positive, "theta": Parameter(shape=(2,))},
    )
    found = Posterior(target, gaussian(4)).diagnose()
    assert found.level == "bad"
    assert "gradient of the log density in theta[1] is zero" in found.sentences[0]


def test_improper_directions_are_named() -> None:
    target = Named(
        lambda a, b, c: -0.5 * ((a + b).square() + c.square()),
        dict.fromkeys("abc", constraints.real),
    )
    found = Posterior(target, gaussian(3)).diagnose()
    assert found.level == "bad"
    assert "along a, b: the posterior is improper" in found.sentences[0]


def test_proper_targets_are_not_called_improper() -> None:
    target = Named(
        lambda mu, tau, share: -torch.log1p(mu.square()) - torch.log1p(tau.square()) + 0 * share,
        {"mu": constraints.real, "tau": constraints.positive, "share": constraints.unit_interval},
    )
    text = str(Posterior(target, gaussian(3)).diagnose())
    assert "improper" not in text
    assert "gradient" not in text


def test_targets_that_refuse_extreme_values_are_judged() -> None:
    y = torch.tensor([0.3, -1.2, 0.8]).double()

    def log_density(mu: Tensor, tau: Tensor) -> Tensor:  # refuses a tau that underflows to zero
        likelihood = Normal(mu.unsqueeze(-1), tau.unsqueeze(-1), validate_args=True)
        return likelihood.log_prob(y).sum(-1) - 0.5 * mu.square() - tau

    target = Named(log_density, {"mu": constraints.real, "tau": constraints.positive})
    posterior = Posterior(target, gaussian(2, scale=0.6))
    z = torch.tensor([[0.0, 1.0], [0.0, -1e6], [1.0, 0.0]]).double()
    with pytest.raises(ValueError, match="scale"):
        target.log_density(z)
    guarded = Guarded(target, torch.Generator())
    value, score = guarded.scores(z)
    assert torch.isfinite(value).tolist() == [True, False, True]
    assert torch.equal(value, guarded.exact(z))
    assert (guarded.evaluations, guarded.rejected) == (6, 2)
    assert score[1].tolist() == [0, 0]
    with pytest.raises(ValueError, match="scale"):
        Guarded(target, torch.Generator()).exact(z[1:2])
    assert posterior.refine(80, warmup=20).chains.shape == (8, 10, 2)
    found = posterior.diagnose()
    assert "improper" not in str(found)
    assert math.isfinite(found.log_evidence)


def test_densities_that_are_not_finite_are_reported() -> None:
    found = verdict(lambda z: z.log().sum(-1) - z.sum(-1), gaussian(1))
    assert found.level == "bad"
    assert found.non_finite == pytest.approx(0.5, abs=0.02)
    assert "NaN or infinite at" in str(found)
    found = verdict(lambda z: z.sum(-1) * math.nan, gaussian(1))
    assert found.level == "bad"
    assert found.sentences == [
        "The log density is NaN or infinite at every draw. Evaluate it at one."
    ]


def test_what_the_fit_has_recorded_is_said() -> None:
    record = Record(
        stopped="max_steps",
        modes=[{"weight": 0.75}, {"weight": 0.25}],
    )
    found = Posterior(Flat(modes(0.0), 1), gaussian(1), record=record).diagnose()
    assert found.level == "good"
    assert "2 modes, with 75.0%, 25.0% of the posterior" in str(found)
    assert "max_steps" in str(found)


@pytest.mark.parametrize(
    ("starts", "modes_found", "level"),
    [
        (16, [{"weight": 1.0, "starts": 1}], "usable"),
        (16, [{"weight": 1.0, "starts": 2}], "good"),
        (1, [{"weight": 1.0, "starts": 1}], "good"),  # the user's only starting point
        (16, [{"weight": 0.3, "starts": 9}, {"weight": 0.7, "starts": 1}], "usable"),
        (16, [{"weight": 0.7, "starts": 9}, {"weight": 0.3, "starts": 1}], "good"),
        (16, [{"weight": 1.0}], "good"),  # recorded before starts were counted
        (0, [{"weight": 1.0}], "good"),
    ],
)
def test_a_mode_that_one_of_many_starts_led_to_is_not_good(
    starts: int, modes_found: list[dict[str, float]], level: str
) -> None:
    record = Record.from_dict({"starts": starts, "modes": modes_found})
    found = Posterior(Flat(modes(0.0), 1), gaussian(1), record=record).diagnose()
    assert found.level == level
    which = "the only mode" if len(modes_found) == 1 else "the largest mode"
    said = f"Only one of 16 starting points led to {which}"
    assert (said in str(found)) is (level == "usable")


@pytest.mark.parametrize(("power", "proper"), [(1.0, False), (1.5, False), (2.5, True)])
def test_a_density_of_vectors_has_to_fall_faster_than_one_of_numbers(
    power: float, proper: bool
) -> None:
    found = verdict(lambda z: -power * torch.log1p(z.square().sum(-1)), gaussian(3, scale=2.0))
    assert ("improper" in str(found)) is not proper


def test_a_funnel_is_proper_along_every_line() -> None:
    """Lines that hardly widen enter its mouth between the two distances looked at."""

    def log_density(z: Tensor) -> Tensor:
        rest = Normal(0.0, torch.exp(z[:, :1] / 2), validate_args=False).log_prob(z[:, 1:]).sum(-1)
        return Normal(0.0, 3.0).log_prob(z[:, 0]) + rest

    for seed in range(20):
        density = Guarded(Flat(log_density, 10), torch.Generator().manual_seed(seed))
        z = 3 * randn(500, 10, seed=seed)
        z[:, 1:] = z[:, 1:] / 3 * torch.exp(z[:, :1] / 2)
        log_p, score = density.scores(z)
        assert probe.improper(density, z, log_p, score) == []
