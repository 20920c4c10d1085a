"""Whether posteriors are right on average, judged by simulations that were not learned from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from invflow import _checks
from invflow._extra import required
from invflow._uniformity import INTERVALS
from invflow.simulation.simulations import Simulations
from invflow.vi.trust.calibrate import Calibration, judged

if TYPE_CHECKING:
    from invflow.simulation.npe import NPE

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
        calibration: ranks of the parameters among draws of their posterior, uniform if it is right
            on average; and the rank of their density among those of the draws.
        coverage: for each nominal probability, the fraction of highest-density regions that contain
            the parameters: the expected coverage.
        log_prob: mean log density of the parameters in nats.
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
            f"{self.calibration}\nhighest-density regions contain the parameters in {covered}\n"
            f"mean log density {self.log_prob:.3f} ± {self.log_prob_error:.3f}"
        )


@torch.no_grad()
def assess(estimator: NPE, simulations: Simulations, draws: int, seed: int) -> Assessment:
    """Return how well posteriors hold for simulations.

    Args:
        estimator: gives the posteriors.
        simulations: from the prior, which it has not learned from.
        draws: number of draws of the posterior of each.
        seed: random seed.

    Raises:
        ValueError: if there are too few simulations.
        ImportError: if pandas or SciPy is not installed.
    """
    draws = _checks.positive_integer("draws", draws, minimum=9)
    if len(simulations) < ENOUGH:
        raise ValueError(
            f"simulations must be at least {ENOUGH} to assess posteriors, got {len(simulations)}"
        )
    names = estimator.prior.names
    ranks: list[torch.Tensor] = []
    densities: list[torch.Tensor] = []
    for first in range(0, len(simulations), AT_ONCE):
        rows = slice(first, first + AT_ONCE)
        theta, x = simulations.parameters[rows], simulations.data[rows]
        drawn = estimator.sample(x, draws, seed=seed + first)
        log_q = estimator.log_prob(theta, x)
        others = estimator.log_prob(drawn, x)
        below = (drawn < theta).sum(0)
        ranks.append(torch.cat([below, (others < log_q).sum(0)[:, None]], -1))
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
