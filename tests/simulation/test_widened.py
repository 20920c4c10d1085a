"""The width of densities, judged by simulations that were held out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy import optimize
from torch.distributions import Independent, Normal

import invflow
from invflow.flows import Tempered
from invflow.simulation import NPE, Settings, fit
from invflow.simulation.fit import _held  # pyright: ignore[reportPrivateUsage]
from invflow.simulation.network import Conditional
from invflow.simulation.widened import ALLOWED, widen
from tests.helpers import randn
from tests.simulation import known


def networks(count: int, features: int = 2) -> list[Conditional]:
    """Flows from random, perturbed weights."""
    found = [
        Conditional(torch.nn.Identity(), invflow.NSF(features, context=3, transforms=2))
        for _ in range(count)
    ]
    with torch.no_grad():
        for k, each in enumerate(found):
            for j, parameter in enumerate(each.parameters()):
                parameter += 0.1 * randn(*parameter.shape, seed=10 * k + j).float()
    return found


@pytest.mark.parametrize("members", [1, 3])
def test_the_scale_is_the_smallest_that_is_not_contradicted(members: int) -> None:
    parts, value, given = networks(members), 0.8 * randn(60, 2), randn(60, 3, seed=1)
    held = randn(members, 60, seed=2) > 0.3

    def missing(t: float) -> float:
        """Minus the log likelihood, from the definition."""
        total = 0.0
        for each, out in zip(parts, held, strict=True):
            normal = Independent(Normal(torch.zeros(2), t), 1)
            with torch.no_grad():
                z, ladj = each.flow.transform.inverse(value[out].float(), given[out].float())
            total += float((normal.log_prob(z) + ladj).double().sum())
        return -total

    best = optimize.minimize_scalar(missing, bounds=(0.5, 2), method="bounded")
    assert 1 < best.x < 1.8
    expected = optimize.brentq(lambda t: missing(t) - best.fun - ALLOWED, 0.8, best.x)
    assert expected > 1.01
    found = widen(parts, value, given, held)
    assert expected <= found < expected + 0.0101
    with torch.no_grad():
        total = sum(
            float(each(value[out].float(), given[out].float()).sum())
            for each, out in zip(parts, held, strict=True)
        )
    assert total == pytest.approx(-missing(found), rel=1e-4)


def test_what_is_too_wide_stays() -> None:
    parts, given = networks(1), randn(40, 3, seed=1)
    with torch.no_grad():
        value, _ = parts[0].flow.transform(0.5 * randn(40, 2).float(), given.float())
    assert widen(parts, value, given, torch.ones(1, 40, dtype=torch.bool)) == 1.0


def test_noise_without_a_centre_stays() -> None:
    """Uniform noise that was multiplied would leave the interval that the flow is made for."""
    flow = invflow.NSF(2, context=3, base="uniform")
    part, base = Conditional(torch.nn.Identity(), flow), flow.base
    held = torch.ones(1, 9, dtype=torch.bool)
    assert widen([part], randn(9, 2), randn(9, 3, seed=1), held) == 1.0
    assert part.flow.base is base


@pytest.mark.parametrize(("members", "fraction"), [(1, 0.1), (3, 0.2), (5, 0.3), (2, 0.99)])
def test_each_flow_holds_out_others(members: int, fraction: float) -> None:
    held = _held(members, 21, fraction, seed=0)
    number = round(fraction * 21) if fraction < 0.9 else 20
    assert (held.sum(1) == number).all()
    assert int(held.any(0).sum()) == min(21, members * number)


def test_the_scale_is_saved(tmp_path: Path) -> None:
    settings = Settings("maf", steps=20, ensemble=2, hidden_features=(32,))
    estimator = fit(known.gaussian(30, 0), known.gaussian_prior(), settings=settings)
    assert isinstance(estimator, NPE)
    for each in estimator.learned.networks:
        assert isinstance(each.flow.base, Tempered)
        each.flow.base = Tempered(each.flow.base.base, 1.3)
    estimator.save(tmp_path / "model")
    loaded = NPE.load(tmp_path / "model", known.gaussian_prior())
    assert loaded.learned.scale == 1.3
    theta, x = randn(7, 2), randn(7, 3, seed=1)
    assert torch.equal(loaded.log_prob(theta, x), estimator.log_prob(theta, x))
    first, again = (each.posterior(x[0]).sample(5) for each in (estimator, loaded))
    assert torch.equal(first, again)
