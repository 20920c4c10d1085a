from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from invflow.vi import Calibration, Flat, Posterior, calibrate
from tests.vi.trust.test_verdict import gaussian


class Exact:
    """N(location, sd^2) posteriors of mu[0], mu[1], as wide as told, with draws of their own."""

    def __init__(self, location: Tensor, sd: float, seed: int) -> None:
        self.location, self.sd, self.seed = location, sd, seed

    def draws(self, n: int) -> dict[str, Tensor]:
        source = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(n, 2, generator=source, dtype=torch.float64)
        return {"mu": self.location + self.sd * noise}


def _simulate(generator: torch.Generator) -> tuple[dict[str, Tensor], Any]:
    """mu ~ N(0, 1), three observations ~ N(mu, 1): the posterior is N(sum / 4, 1 / 4)."""
    mu = torch.randn(2, generator=generator, dtype=torch.float64)
    noise = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    seed = int(torch.randint(2**31, (), generator=generator))
    return {"mu": mu}, (mu + noise, seed)


def _run(scale: float = 1.0, shift: float = 0.0, **options: int) -> Calibration:
    def fit(data: tuple[Tensor, int]) -> Exact:
        y, seed = data
        return Exact(y.sum(0) / 4 + shift, 0.5 * scale, seed)

    return calibrate(_simulate, fit, **options)


def test_an_exact_posterior_is_calibrated() -> None:
    found = _run(simulations=400)
    assert found.rejected == []
    assert found.ranks.shape == (400, 2)
    assert list(found.ranks.columns) == ["mu[0]", "mu[1]"]
    assert int(found.ranks.to_numpy().min()) >= 0
    assert int(found.ranks.to_numpy().max()) <= 99
    assert str(found).startswith("calibrated")


def test_exact_posteriors_are_rejected_as_rarely_as_p_values_say() -> None:
    p_values = [found.p_value for seed in range(60) for found in _run(seed=seed).tests]
    # The smaller of two p-values, doubled: 1 - (1 - 0.2 / 2)^2 if they were independent.
    found = np.mean(np.array(p_values) < 0.2)
    assert found == pytest.approx(0.19, abs=4 * math.sqrt(0.16 / len(p_values)))
    assert min(p_values) > 1e-4


@pytest.mark.parametrize(
    ("scale", "shift", "word"),
    [(0.6, 0.0, "narrow"), (1.8, 0.0, "wide"), (1.0, 0.3, "high"), (1.0, -0.3, "low")],
)
def test_a_wrong_posterior_is_rejected(scale: float, shift: float, word: str) -> None:
    found = _run(scale, shift)
    assert found.rejected == ["mu[0]", "mu[1]"]
    assert str(found).count(f"too {word}") == 2


def test_few_draws_do_not_make_an_exact_posterior_wrong() -> None:
    assert _run(simulations=1000, draws=9).rejected == []


def test_ties_are_broken_at_random() -> None:
    class Fixed:
        def draws(self, n: int) -> dict[str, Tensor]:
            return {"k": torch.zeros(n)}

    found = calibrate(lambda source: ({"k": torch.tensor(0.0)}, None), lambda data: Fixed())
    assert found.rejected == []


def test_posteriors_of_flows_are_calibrated_by_their_weights() -> None:
    def simulate(generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
        mu = torch.randn(1, generator=generator, dtype=torch.float64)
        return {"z": mu}, mu + torch.randn(1, generator=generator, dtype=torch.float64)

    def fit(y: Tensor) -> Posterior:
        def log_density(z: Tensor) -> Tensor:
            return -0.5 * (z.square() + (y - z).square()).sum(-1)

        # Wider than the posterior and off its centre, which weights put right.
        seed = int(y.abs().item() * 1e6)
        return Posterior(Flat(log_density, 1), gaussian(1, 0.2), seed=seed)

    found = calibrate(simulate, fit, simulations=100)
    assert found.rejected == []


def test_numbers_and_arrays_are_ranked_like_tensors() -> None:
    class Arrays(Exact):
        def draws(self, n: int) -> dict[str, Any]:
            return {name: value.tolist() for name, value in super().draws(n).items()}

    def simulate(source: torch.Generator) -> tuple[dict[str, Any], Any]:
        parameters, data = _simulate(source)
        return {name: value.numpy() for name, value in parameters.items()}, data

    found = [
        calibrate(draw, lambda data, kind=kind: kind(data[0].sum(0) / 4, 0.5, data[1]))
        for draw, kind in ((_simulate, Exact), (simulate, Arrays))
    ]
    assert found[0].ranks.equals(found[1].ranks)


def test_a_posterior_that_gives_fewer_draws_is_refused() -> None:
    class Stingy:
        def draws(self, n: int) -> dict[str, Tensor]:
            return {"k": torch.zeros(n - 1)}

    with pytest.raises(
        ValueError, match="fit must return 99 draws, the number it is asked for, got 98"
    ):
        calibrate(lambda source: ({"k": torch.tensor(0.0)}, None), lambda data: Stingy())


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"fit must return draws of 'nu', got 'mu'"):
        calibrate(
            lambda source: ({"nu": torch.tensor(0.0)}, None),
            lambda data: Exact(torch.zeros(2), 1.0, 0),
        )
    with pytest.raises(ValueError, match="simulations must be at least 20"):
        _run(simulations=3)


@pytest.mark.parametrize(("names", "got"), [([], "none"), (["a", "b"], "b")])
def test_simulations_with_other_parameters_are_refused(names: list[str], got: str) -> None:
    class Both:
        def draws(self, n: int) -> dict[str, Tensor]:
            return {name: torch.zeros(n) for name in "ab"}

    left = iter(names)
    with pytest.raises(ValueError, match=f"parameters, the same ones every time, got {got}$"):
        calibrate(lambda source: (dict.fromkeys(next(left, ()), 0.0), None), lambda data: Both())
