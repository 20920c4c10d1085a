r"""Simulation-based calibration (Talts et al. 2018, arXiv 1804.06788).

Parameters are drawn from the prior, data from the model at them, and a posterior is fitted to the
data. If it is exact, the rank of each parameter among L draws of its posterior is uniform on
0, ..., L, over many simulations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from invflow import _checks
from invflow._extra import required
from invflow._uniformity import Uniformity, holm, uniformity
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
        tests: uniformity of the ranks of each parameter, with p-values corrected for all of them.
        level: largest probability of rejecting any parameter of an exact posterior.
    """

    ranks: DataFrame
    draws: int
    tests: tuple[Uniformity, ...]
    level: float = 0.01

    @property
    def p_values(self) -> dict[str, float]:
        """The p-value of uniform ranks for each parameter, corrected for all of them."""
        return {str(found.name): found.adjusted for found in self.tests}

    @property
    def rejected(self) -> list[str]:
        """The parameters whose ranks are not uniform."""
        return [name for name, p in self.p_values.items() if p < self.level]

    def __str__(self) -> str:
        if not self.rejected:
            return (
                f"calibrated, judging by {len(self.ranks)} simulations: all {len(self.tests)} "
                "tests of uniform ranks pass (smallest corrected p-value "
                f"{min(self.p_values.values()):.2g})"
            )
        found = [
            f"{each.name} (posterior {each.flaw}, p {each.adjusted:.1g})"
            for each in self.tests
            if each.adjusted < self.level
        ]
        return (
            f"not calibrated: the ranks of {', '.join(found)} are not uniform in "
            f"{len(self.ranks)} simulations"
        )


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
        ValueError: if there are too few simulations or draws, simulations differ in their
            parameters, or a posterior lacks a parameter, has it in another shape, or returns
            another number of draws than asked for.
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
    required("scipy.stats", "vi")  # before the simulations, not after them
    pandas = required("pandas", "vi")
    seed = _checks.positive_integer("seed", seed, minimum=0)
    generator = torch.Generator().manual_seed(seed)
    rows: list[dict[str, int]] = []
    for _ in range(simulations):
        parameters, data = simulate(generator)
        rows.append(_ranks(parameters, fit(data).draws(draws), draws, generator))
        if not rows[-1] or rows[-1].keys() != rows[0].keys():
            raise ValueError(
                "simulate must return parameters, the same ones every time, got "
                f"{', '.join(rows[-1]) or 'none'}"
            )
    return judged(pandas.DataFrame(rows), draws, seed)


def judged(ranks: DataFrame, draws: int, seed: int) -> Calibration:
    """Return what ranks of parameters among draws of their posteriors say.

    Args:
        ranks: a column for each parameter, a row for each simulation.
        draws: L, the largest possible rank.
        seed: of the random numbers that spread each rank over its part of the unit interval.

    Raises:
        ImportError: if SciPy is not installed.
    """
    # A rank of exact draws, spread over its part of the unit interval, is uniform there.
    within = np.random.default_rng(seed).random(ranks.shape)
    u = (ranks.to_numpy() + within) / (draws + 1)
    tests = [uniformity(str(name), values) for name, values in zip(ranks, u.T, strict=True)]
    adjusted = holm([found.p_value for found in tests]).tolist()
    tests = [replace(found, adjusted=p) for found, p in zip(tests, adjusted, strict=True)]
    return Calibration(ranks, draws, tuple(tests))


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
