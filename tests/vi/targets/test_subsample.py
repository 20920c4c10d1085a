from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, constraints

from invflow.vi import Flat, Named, Settings, Subsampled, fit
from invflow.vi.targets import subsample
from tests.helpers import assert_close, generator, randn


def _prior() -> Named:
    def log_density(mu: Tensor, sigma: Tensor) -> Tensor:
        return Normal(0.0, 3.0).log_prob(mu) - sigma

    return Named(log_density, {"mu": constraints.real, "sigma": constraints.positive})


def _likelihood(x: Tensor, y: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    return Normal(mu.unsqueeze(-1) * x, sigma.unsqueeze(-1)).log_prob(y)


def _target(rows: int, batch_size: int) -> Subsampled:
    x = randn(rows, seed=1)
    return Subsampled(_prior(), _likelihood, [x, 2 * x + randn(rows, seed=2)], batch_size)


def _whole(target: Subsampled, z: Tensor) -> Tensor:
    terms = _likelihood(*target._data, **target.constrain(z))
    return _prior().log_density(z) + terms.sum(-1)


def test_all_rows_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    target, z = _target(101, 10), randn(7, 2)
    expected = _whole(target, z)
    assert_close(target.log_density(z), expected, 1e-12)
    monkeypatch.setattr(subsample, "TERMS_AT_ONCE", 60)
    assert_close(target.log_density(z), expected, 1e-12)


def test_data_may_be_arrays_or_lists() -> None:
    x, y = randn(6, seed=1), randn(6, seed=2)
    expected = Subsampled(_prior(), _likelihood, [x, y], 2)
    found = Subsampled(_prior(), _likelihood, [x.numpy(), y.tolist()], 2)
    z = randn(4, 2)
    assert torch.equal(found.log_density(z), expected.log_density(z))
    pairs = [target.estimate(z, generator(3)) for target in (found, expected)]
    assert torch.equal(*pairs)


def test_the_mean_over_all_batches_is_the_whole() -> None:
    """The batch of a step is any subset with equal probability; their estimates' mean is exact."""
    target, z = _target(5, 2), randn(3, 2)
    estimates = [
        _prior().log_density(z) + 5 / 2 * target._sum(z, torch.tensor(rows))
        for rows in combinations(range(5), 2)
    ]
    assert_close(torch.stack(estimates).mean(0), _whole(target, z), 1e-12)
    drawn = torch.stack([target.estimate(z, generator(i)) for i in range(4000)])
    near = (drawn.unsqueeze(1) - torch.stack(estimates)).abs().amax(-1).min(1).values
    assert near.max() < 1e-10
    error = drawn.std(0) / 4000**0.5
    assert ((drawn.mean(0) - _whole(target, z)).abs() < 5 * error).all()


def test_fits_the_posterior_of_all_rows() -> None:
    settings = Settings(
        batch_size=64,
        steps_per_round=25,
        evaluation_draws=256,
        learning_rate_drops=2,
        max_steps=400,
    )
    subsampled = fit(_target(600, 100), settings=settings)
    draws = subsampled.draws(2000)
    target = _target(600, 100)
    whole = fit(Flat(lambda z: _whole(target, z), 2), settings=settings).sample(2000)
    for values, exact in zip(draws.values(), (whole[:, 0], whole[:, 1].exp()), strict=True):
        assert abs(float((values.mean() - exact.mean()) / exact.std())) < 0.15
    assert subsampled.diagnose().level != "bad"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prior": 3}, TypeError, "prior must be a Target, got int"),
        ({"log_likelihood": 3}, TypeError, "log_likelihood must be a function"),
        ({"data": torch.zeros(3, 2)}, TypeError, r"got one array: pass \(data,\)"),
        ({"data": [["a", "b"]]}, TypeError, r"data\[0\] must be a tensor, an array or nested"),
        ({"data": []}, ValueError, r"arrays of one length, at least 1, got \[\]"),
        ({"data": [torch.zeros(3), torch.zeros(4)]}, ValueError, r"got \[3, 4\]"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 9}, ValueError, "batch_size must be at most 4 rows, got 9"),
    ],
)
def test_bad_arguments(change: dict[str, Any], error: type[Exception], message: str) -> None:
    good = {
        "prior": _prior(),
        "log_likelihood": _likelihood,
        "data": [torch.zeros(4), torch.zeros(4)],
        "batch_size": 2,
    }
    with pytest.raises(error, match=message):
        Subsampled(**{**good, **change})


def test_a_likelihood_of_another_shape_is_refused() -> None:
    target = Subsampled(_prior(), lambda y, mu, sigma: mu + sigma, [torch.zeros(4)], 2)
    with pytest.raises(ValueError, match=r"must return shape \(3, 4\) .* got \(3,\)"):
        target.log_density(randn(3, 2))
