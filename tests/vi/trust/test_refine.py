from __future__ import annotations

import math

import arviz as az
import pytest
import torch
from torch import Tensor
from torch.distributions import constraints

from invflow.flows import IAF, FlowMixture
from invflow.vi import Flat, Named, Posterior, Refined
from tests.helpers import generator, perturbed
from tests.vi.trust.test_verdict import gaussian, modes


def _funnel(z: Tensor) -> Tensor:
    v, x = z[:, 0], z[:, 1:]
    return -0.5 * (v.square() / 2.25 + x.square().sum(-1) * torch.exp(-v) + x.shape[1] * v)


def _posterior(log_density: object, flow: object, seed: int = 0) -> Posterior:
    return Posterior(Flat(log_density, flow.features), flow, seed=seed)  # pyright: ignore


def _within(refined: Refined, column: Tensor, expected: float, errors: float = 4.0) -> bool:
    """Whether the mean of a column of draws is what it should be, by the chains' own error."""
    values = column.unflatten(0, refined.chains.shape[:2]).numpy()
    error = float(values.std()) / math.sqrt(float(az.ess(values, method="mean")))
    return abs(float(values.mean()) - expected) < errors * error


def test_neals_funnel_from_a_gaussian() -> None:
    posterior = _posterior(_funnel, gaussian(5))
    assert posterior.diagnose().level == "bad"
    refined = posterior.refine(16_000, chains=64, warmup=400)
    v = refined.sample[:, 0]
    assert _within(refined, v, 0.0)
    assert _within(refined, v.square(), 2.25)
    assert _within(refined, (v < -1.5).double(), 0.158655)
    assert float(v.std()) == pytest.approx(1.5, abs=0.15)
    assert float(refined.rhat.max()) < 1.1


def test_a_correlated_gaussian_from_a_narrow_one() -> None:
    scale = torch.tensor([[2.0, 0.0, 0.0], [1.9, 0.5, 0.0], [0.0, 3.0, 10.0]]).double()
    precision = torch.cholesky_inverse(scale)
    refined = _posterior(
        lambda z: -0.5 * torch.einsum("bi,ij,bj->b", z - 1, precision, z - 1),
        gaussian(3, scale=0.5),
    ).refine()
    assert refined.converged, str(refined)
    assert refined.sample.shape == (4000, 3)
    covariance = scale @ scale.mT
    z = refined.sample
    for i in range(3):
        assert _within(refined, z[:, i], 1.0)
        for j in range(3):
            assert _within(refined, (z[:, i] - 1) * (z[:, j] - 1), float(covariance[i, j]))
    assert 0.5 < refined.acceptance < 0.99


def test_flows_own_space_and_a_mixture_give_the_same_moments() -> None:
    target = modes(0.0, 5.0)
    iaf = perturbed(IAF(2, transforms=2, hidden_features=(8,), generator=generator(0)), scale=0.3)
    mixture = FlowMixture([gaussian(2, 0.3), gaussian(2, 4.5, 1.3)]).double()
    for flow in (iaf, mixture):
        refined = _posterior(target, flow).refine(4000, chains=16)
        z = refined.sample
        if flow is mixture:  # which reaches both modes
            assert refined.converged, str(refined)
            assert _within(refined, z[:, 0], 2.5)
            assert _within(refined, z.prod(-1), 12.5)
        else:  # within a mode
            near = z[(z.sum(-1) < 5)]
            assert near.mean(0).abs().max() < 0.15
            assert (near.var(0) - 1).abs().max() < 0.2


def test_an_exact_flow_jumps_always() -> None:
    refined = _posterior(modes(1.0), gaussian(4, 1.0)).refine(400, warmup=50)
    assert refined.jumps == pytest.approx(1.0)
    refined = _posterior(modes(1.0), gaussian(4, 3.0)).refine(400, warmup=50)
    assert refined.jumps < 0.3


def test_densities_that_are_not_finite_are_rejected() -> None:
    def half(z: Tensor) -> Tensor:  # exponential, NaN below zero
        return torch.where(z[:, 0] < 0, torch.nan, -z[:, 0])

    refined = _posterior(half, gaussian(1)).refine(8000, chains=64)
    z = refined.sample[:, 0]
    assert bool((z >= 0).all())
    assert refined.non_finite > 0
    assert _within(refined, z, 1.0)
    assert _within(refined, z.square(), 2.0)
    with pytest.raises(ValueError, match="finite at only 0 of 80 draws"):
        _posterior(lambda z: z.sum(-1) * math.nan, gaussian(1)).refine()


@pytest.mark.parametrize(("draws", "chains"), [(100, 8), (33, 8), (97, 3), (40, 8), (101, 25)])
def test_there_are_as_many_draws_as_were_asked_for(draws: int, chains: int) -> None:
    refined = _posterior(modes(0.0), gaussian(2)).refine(draws, chains=chains, warmup=20)
    assert refined.sample.shape == (draws, 2)
    assert refined.draws()["z"].shape == (draws, 2)
    assert refined.draws(draws - 1)["z"].shape == (draws - 1, 2)
    with pytest.raises(ValueError, match=f"n must be at most {draws}"):
        refined.draws(draws + 1)
    steps = -(-draws // chains)
    assert refined.chains.shape == (chains, steps, 2)
    # Chain by chain, the last ones a draw shorter.
    short = draws - chains * (steps - 1)
    parts = [chain if i < short else chain[:-1] for i, chain in enumerate(refined.chains)]
    assert torch.equal(refined.sample, torch.cat(parts))


def test_same_seed_same_chains() -> None:
    posterior = _posterior(modes(0.0), gaussian(2, 0.5))
    one, two, other = (posterior.refine(200, warmup=20, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.chains, two.chains)
    assert not torch.equal(one.chains, other.chains)


def test_inference_data_has_chains_and_names() -> None:
    target = Named(
        lambda mu, tau: -0.5 * mu.square() - tau,
        {"mu": constraints.real, "tau": constraints.positive},
    )
    refined = Posterior(target, gaussian(2)).refine(400, chains=20, warmup=50)
    data = refined.to_arviz()
    assert dict(data.posterior.sizes) == {"chain": 20, "draw": 20}
    assert float(data.posterior["tau"].min()) > 0
    assert data.sample_stats["lp"].shape == (20, 20)
    assert refined.draws()["tau"].shape == (400,)
    assert refined.draws(7)["tau"].shape == (7,)
