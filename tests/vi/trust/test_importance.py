from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from invflow.vi.trust.importance import importance, resampled
from invflow.vi.trust.pareto import smoothed
from tests.helpers import assert_close, generator, randn


def _normal(sd: float, draws: int = 20_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log densities of N(0, sd), less a constant, and of N(0, 1), at draws of N(0, 1)."""
    z = randn(draws, seed=3)
    return -0.5 * (z / sd).square(), -0.5 * z.square() - 0.5 * math.log(2 * math.pi)


@pytest.mark.parametrize("sd", [0.6, 0.8, 1.1])
def test_elbo_and_evidence_are_those_in_closed_form(sd: float) -> None:
    found = importance(*_normal(sd))
    elbo = -0.5 / sd**2 + 0.5 + 0.5 * math.log(2 * math.pi)
    log_evidence = math.log(sd * math.sqrt(2 * math.pi))
    assert abs(found.elbo - elbo) < 4 * found.elbo_error
    assert abs(found.log_evidence - log_evidence) < 4 * found.log_evidence_error
    assert found.elbo_error < 0.02
    assert found.log_evidence_error < 0.02
    assert found.elbo < found.log_evidence


def test_effective_sample_size_is_that_in_closed_form() -> None:
    sd = 0.6  # E[w]^2 / E[w^2] = sd^2 sqrt(2 / sd^2 - 1) for normals
    found = importance(*_normal(sd))
    assert found.ess / found.draws == pytest.approx(sd**2 * math.sqrt(2 / sd**2 - 1), rel=0.03)


def test_errors_are_those_of_many_repetitions() -> None:
    found = []
    for seed in range(200):
        z = randn(500, seed=seed)
        found.append(importance(-0.5 * (z / 0.7).square(), -0.5 * z.square()))
    spread = torch.tensor([each.log_evidence for each in found]).std()
    claimed = torch.tensor([each.log_evidence_error for each in found]).mean()
    assert float(spread) == pytest.approx(float(claimed), rel=0.2)
    spread = torch.tensor([each.elbo for each in found]).std()
    claimed = torch.tensor([each.elbo_error for each in found]).mean()
    assert float(spread) == pytest.approx(float(claimed), rel=0.2)


def test_the_tail_is_smoothed() -> None:
    log_p, log_q = _normal(1.3, 5000)
    found = importance(log_p, log_q)
    weights, khat = smoothed(log_p - log_q)
    assert found.khat == khat
    assert_close(found.log_weights, weights.log_softmax(0), 1e-12)
    # P(w > t) falls as t^(-1 / (1 - 1 / sd^2)): shape 1 - 1 / sd^2, up to logarithms.
    assert 0.2 < found.khat < 0.7


def test_equal_weights_have_no_tail() -> None:
    log_q = randn(1000)
    found = importance(log_q + 2 + 1e-13 * randn(1000, seed=1), log_q)
    assert found.khat == 0
    assert found.ess == pytest.approx(1000)
    assert found.log_evidence == pytest.approx(2)


@pytest.mark.parametrize("sd", [0.7, 0.99, 1.1])
def test_the_tail_share_is_what_lies_beyond_a_quantile(sd: float) -> None:
    log_p, log_q = _normal(sd, 10_000)
    weights = np.sort((log_p - log_q).softmax(0).numpy())
    beyond = float((weights[-300:] - weights[-301]).sum())  # three times the root of the draws
    growth = (math.log(30_000) - 1) / (math.log(300) - 1)
    assert importance(log_p, log_q).tail == pytest.approx(beyond * growth, rel=1e-9)
    assert 1.9 < growth < 2.1


@pytest.mark.parametrize("scale", [1e-8, 1e-6, 1e-4])
def test_what_is_left_has_a_shape_and_no_tail(scale: float) -> None:
    """Cubes of normals have heavy tails, however small they are."""
    log_q = randn(10_000)
    found = importance(log_q + scale * randn(10_000, seed=1) ** 3, log_q)
    assert 0 < found.tail < scale


def test_few_draws_are_all_tail() -> None:
    assert importance(randn(20), randn(20, seed=1)).tail == 1.0


def test_densities_that_are_not_finite_get_no_weight() -> None:
    log_p, log_q = _normal(0.8, 4000)
    bad = torch.tensor([math.nan, math.inf, -math.inf, 0.0])
    ruined = torch.where(torch.arange(4000) % 4 < 3, bad.repeat(1000).double(), log_p)
    found, clean = importance(ruined, log_q), importance(log_p[3::4], log_q[3::4])
    assert found.non_finite == 0.75
    assert found.elbo == pytest.approx(clean.elbo)
    assert found.ess <= 1000
    assert found.log_evidence == pytest.approx(clean.log_evidence - math.log(4), abs=0.02)
    assert torch.equal(found.log_weights[:3], torch.full((3,), -torch.inf).double())


def test_nothing_finite_is_no_evidence() -> None:
    found = importance(torch.full((50,), torch.nan), torch.zeros(50))
    assert found.khat == math.inf
    assert found.log_evidence == -math.inf
    assert (found.ess, found.non_finite, found.tail) == (0, 1, 1)


def test_resampling_takes_each_draw_as_often_as_its_weight_asks() -> None:
    weights = torch.tensor([0.5, 0.26, 0.125, 0.1, 0.015]).double()
    counts = torch.zeros(5)
    for seed in range(4000):
        chosen = resampled(weights.log(), 4, generator(seed))
        taken = torch.bincount(chosen, minlength=5)
        assert (taken >= (4 * weights).floor()).all()
        assert (taken <= (4 * weights).ceil()).all()
        counts += taken
    assert_close(counts.double() / 16_000, weights, 0.01)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"log_p and log_q must .* got \(3,\) and \(4,\)"):
        importance(torch.zeros(3), torch.zeros(4))
