"""Whether densities are right on average, judged by simulations that were not learned from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from invflow import _checks
from invflow._extra import required
from invflow._uniformity import INTERVALS
from invflow.vi.trust.calibrate import Calibration, judged

#: Simulations that a judgement needs.
ENOUGH = 20
#: Simulations whose posteriors are drawn at once.
AT_ONCE = 100
#: The rank of the density among those of the draws, as a column of the ranks.
DENSITY = "(density)"


@dataclass(frozen=True)
class Assessment:
    """What simulations say about posteriors. `str()` returns it as text.

    Args:
        calibration: ranks of the parameters (for "nle", of the data) among draws given the data (or
            the parameters), uniform if densities are right on average; and the rank of their
            density among those of the draws.
        coverage: for each nominal probability, the fraction of highest-density regions that contain
            them: the expected coverage.
        log_prob: mean log density in nats.
        log_prob_error: its standard error.
        simulations: number of simulations.

    References:
        Talts et al. 2018, arXiv 1804.06788; Hermans et al. 2022, arXiv 2110.06581.
    """

    calibration: Calibration
    coverage: dict[float, float]
    log_prob: float
    log_prob_error: float
    simulations: int

    @property
    def coverage_error(self) -> dict[float, float]:
        """Binomial standard error of each coverage of exact posteriors."""
        return {p: math.sqrt(p * (1 - p) / self.simulations) for p in self.coverage}

    def __str__(self) -> str:
        errors = self.coverage_error
        covered = ", ".join(
            f"{found:.1%} ± {errors[p]:.1%} for {p:.0%}" for p, found in self.coverage.items()
        )
        return (
            f"{self.calibration}\nhighest-density regions contain what was simulated in {covered}\n"
            f"mean log density {self.log_prob:.3f} ± {self.log_prob_error:.3f}"
        )


@torch.no_grad()
def assess(
    names: Sequence[str],
    values: Tensor,
    given: Tensor,
    sample: Callable[[Tensor, int, int], Tensor],
    log_prob: Callable[[Tensor, Tensor], Tensor],
    draws: int,
    seed: int,
) -> Assessment:
    """Return how well conditional densities hold for simulations.

    Args:
        names: of the numbers.
        values: whose densities are judged, shape (simulations, numbers).
        given: what they are conditional on, shape (simulations, *shape).
        sample: takes some of what is given, a number of draws and a seed, and returns draws,
            (draws, rows, numbers).
        log_prob: takes values, (*batch, rows, numbers), and what is given, (rows, *shape).
        draws: number of draws for each simulation.
        seed: random seed.

    Raises:
        ValueError: if there are too few simulations.
        ImportError: if pandas or SciPy is not installed.
    """
    draws = _checks.positive_integer("draws", draws, minimum=9)
    if len(values) < ENOUGH:
        raise ValueError(
            f"simulations must be at least {ENOUGH} to assess posteriors, got {len(values)}"
        )
    ranks: list[Tensor] = []
    densities: list[Tensor] = []
    parts = zip(values.split(AT_ONCE), given.split(AT_ONCE), strict=True)
    for number, (value, known) in enumerate(parts):
        drawn = sample(known, draws, seed + number)
        log_q, others = log_prob(value, known), log_prob(drawn, known)
        ranks.append(torch.cat([(drawn < value).sum(0), (others < log_q).sum(0)[:, None]], -1))
        densities.append(log_q)
    frame = required("pandas", "vi").DataFrame(torch.cat(ranks).numpy(), columns=[*names, DENSITY])
    log_q = torch.cat(densities)
    # The region with a probability p has the p of the draws with the highest density.
    denser = 1 - (frame[DENSITY].to_numpy() + 0.5) / (draws + 1)
    return Assessment(
        calibration=judged(frame, draws, seed),
        coverage={p: float(np.mean(denser <= p)) for p in INTERVALS},
        log_prob=float(log_q.mean()),
        log_prob_error=float(log_q.std()) / math.sqrt(len(log_q)),
        simulations=len(log_q),
    )
