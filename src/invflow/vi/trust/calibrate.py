r"""Simulation-based calibration (Talts et al. 2018, arXiv 1804.06788).

Parameters are drawn from the prior, data from the model at them, and a posterior is fitted to the
data. If it is exact, the rank of each parameter among L draws of its posterior is uniform on
0, ..., L, over many simulations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from invflow import _checks
from invflow.vi.targets.vectors import tensor

if TYPE_CHECKING:
    from pandas import DataFrame


class Draws(Protocol):
    """What a fit returns: a `Posterior`, or anything else that returns named draws."""

    def draws(self, n: int, /) -> Mapping[str, Any]:
        """Return n draws of each parameter, (n, *shape): tensors or arrays."""
        ...


@dataclass(frozen=True)
class Calibration:
    """The result of a calibration. `str()` returns it as text.

    Args:
        ranks: a column for each parameter, a row for each simulation.
        draws: L, the largest possible rank.
        p_values: of uniform ranks, by a chi-square test for each parameter.
        level: probability of rejecting an exact posterior, over all parameters.
    """

    ranks: DataFrame
    draws: int
    p_values: dict[str, float]
    level: float = 0.01

    @property
    def rejected(self) -> list[str]:
        """The parameters whose ranks are not uniform (Bonferroni's correction)."""
        limit = self.level / len(self.p_values)
        return [name for name, p in self.p_values.items() if p < limit]

    def __str__(self) -> str:
        smallest = min(self.p_values.values())
        if not self.rejected:
            return (
                f"calibrated, judging by {len(self.ranks)} simulations: the ranks of all "
                f"{len(self.p_values)} parameters look uniform (smallest p-value {smallest:.2g})"
            )
        found = [
            f"{name} ({self._how(name)}, p {self.p_values[name]:.1g})" for name in self.rejected
        ]
        return (
            f"not calibrated: the ranks of {', '.join(found)} are not uniform in "
            f"{len(self.ranks)} simulations"
        )

    def _how(self, name: str) -> str:
        """Describe the distribution of ranks by its location and width, in standard errors."""
        share = (self.ranks[name].to_numpy() + 0.5) / (self.draws + 1) - 0.5
        root = math.sqrt(len(share))
        shift = share.mean() * math.sqrt(12) * root
        # The square of a uniform variable on [-1/2, 1/2] has mean 1/12 and variance 1/180.
        spread = (np.square(share).mean() - 1 / 12) * math.sqrt(180) * root
        if abs(shift) > abs(spread):
            return "posterior too low" if shift > 0 else "posterior too high"
        return "posterior too narrow" if spread > 0 else "posterior too wide"


def calibrate(
    simulate: Callable[[torch.Generator], tuple[Mapping[str, Any], Any]],
    fit: Callable[[Any], Draws],
    *,
    simulations: int = 200,
    draws: int = 99,
    seed: int = 0,
) -> Calibration:
    """Return whether posteriors are right on average over data that the model simulates.

    Args:
        simulate: takes a generator, and returns parameters drawn from the prior, by name, as
            numbers, tensors or arrays, and data drawn from the model at these parameters.
        fit: takes data, and returns their posterior.
        simulations: number of simulated data sets.
        draws: L, the number of draws of each posterior among which the parameters are ranked.
        seed: random seed of the simulations.

    Raises:
        TypeError: if parameters or draws are not real numbers.
        ValueError: if there are too few simulations or draws, or a posterior lacks a parameter, has
            it in another shape, or returns another number of draws than asked for.
        ImportError: if pandas or SciPy is not installed.

    Example:
        >>> from invflow.flows import Gaussian
        >>> from invflow.vi import Flat, Posterior
        >>> def simulate(generator):
        ...     mean = torch.randn(1, generator=generator, dtype=torch.float64)
        ...     return {"z": mean}, None
        >>> def fit(data):  # without data, the posterior is the prior
        ...     target = Flat(lambda z: -0.5 * z.square().sum(-1), dim=1)
        ...     return Posterior(target, Gaussian(1).double())
        >>> calibrate(simulate, fit, simulations=50).rejected
        []
    """
    simulations = _checks.positive_integer("simulations", simulations, minimum=20)
    draws = _checks.positive_integer("draws", draws, minimum=9)
    try:
        from pandas import DataFrame
        from scipy import stats
    except ImportError as error:
        raise ImportError('calibrate needs pandas and SciPy: pip install "invflow[vi]"') from error
    generator = torch.Generator().manual_seed(_checks.positive_integer("seed", seed, minimum=0))
    rows: list[dict[str, int]] = []
    for _ in range(simulations):
        parameters, data = simulate(generator)
        rows.append(_ranks(parameters, fit(data).draws(draws), draws, generator))
    ranks = DataFrame(rows)
    expected = _expected(draws, simulations)
    p_values = {
        str(name): float(stats.chisquare(_counts(column, draws, len(expected)), expected).pvalue)
        for name, column in ranks.items()
    }
    return Calibration(ranks, draws, p_values)


def _ranks(
    parameters: Mapping[str, Any],
    draws: Mapping[str, Any],
    count: int,
    generator: torch.Generator,
) -> dict[str, int]:
    """Return how many of `count` draws lie below each parameter; ties are broken at random."""
    ranks: dict[str, int] = {}
    for name, value in parameters.items():
        truth = tensor(name, value)
        if name not in draws:
            raise ValueError(
                f"fit must return draws of {name!r}, got {', '.join(map(repr, draws))}"
            )
        among = tensor(name, draws[name])
        if among.shape[1:] != truth.shape:
            raise ValueError(
                f"fit must return draws of {name!r} of shape {tuple(truth.shape)}, "
                f"got {tuple(among.shape[1:])}"
            )
        if len(among) != count:
            raise ValueError(
                f"fit must return {count} draws, the number it is asked for, got {len(among)}"
            )
        below = (among < truth).sum(0)
        ties = (among == truth).sum(0)
        luck = torch.rand(truth.shape, generator=generator, dtype=torch.float64).to(ties.device)
        rank = below + (luck * (ties + 1)).long()
        for place in np.ndindex(*truth.shape):
            index = f"[{', '.join(map(str, place))}]" if place else ""
            ranks[f"{name}{index}"] = int(rank[place])
    return ranks


def _bins(draws: int, simulations: int) -> int:
    """Return how many bins: at most 20, and five simulations or more in each."""
    return max(2, min(20, simulations // 5, draws + 1))


def _counts(ranks: Any, draws: int, bins: int) -> np.ndarray[Any, Any]:
    return np.bincount(np.asarray(ranks) * bins // (draws + 1), minlength=bins)


def _expected(draws: int, simulations: int) -> np.ndarray[Any, Any]:
    """Return how many simulations fall in each bin on average; bins differ by a rank at most."""
    bins = _bins(draws, simulations)
    return _counts(np.arange(draws + 1), draws, bins) * (simulations / (draws + 1))
