"""The prior where a posterior has mass (Deistler et al. 2022, arXiv 2210.04815).

A posterior learned from simulations of a truncated prior is that of the whole prior, as long as the
truncation leaves out none of it: no importance weights are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invflow.simulation.prior import Prior
from invflow.simulation.simulations import Simulations

#: Draws of the prior that are tried at once, and in all for each that is wanted.
TRIED_AT_ONCE, MOST_TRIED = 20_000, 100_000


class Truncated:
    """A prior where a log density exceeds a threshold. Made by `Posterior.truncated`.

    Args:
        prior: of the parameters.
        log_density: of vectors, (batch, numbers) to (batch,).
        threshold: its smallest value.
        within: another one, of which this is a part.
    """

    def __init__(
        self,
        prior: Prior,
        log_density: Callable[[Tensor], Tensor],
        threshold: float,
        within: Truncated | None = None,
    ) -> None:
        self.prior, self.log_density, self.threshold = prior, log_density, threshold
        self.within = within

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the prior's numbers."""
        return self.prior.names

    @torch.no_grad()
    def contains(self, theta: Any) -> Tensor:
        """Return which vectors, (batch, numbers), are kept, shape (batch,)."""
        inside = self.log_density(self.prior.vectors(theta)) >= self.threshold
        return inside if self.within is None else inside & self.within.contains(theta)

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Return draws by rejection from the prior, shape (n, numbers).

        Raises:
            ValueError: if the prior hardly ever falls where the posterior has mass.
        """
        found: list[Tensor] = []
        seeds = np.random.SeedSequence([seed, 2]).generate_state(
            max(MOST_TRIED * n // TRIED_AT_ONCE, 1)
        )
        for each in seeds.tolist():
            theta = self.prior.sample(TRIED_AT_ONCE, seed=each)
            found.append(theta[self.contains(theta)])
            if sum(map(len, found)) >= n:
                return torch.cat(found)[:n]
        raise ValueError(
            f"only {sum(map(len, found))} of {TRIED_AT_ONCE * len(seeds)} draws of the prior lie "
            "where the posterior has mass"
        )

    def split(self, theta: Tensor) -> dict[str, Tensor]:
        """Return the parameters of vectors, as `Prior.split`."""
        return self.prior.split(theta)

    def kept(self, simulations: Simulations) -> Simulations:
        """Return the simulations whose parameters are kept."""
        return simulations[self.contains(simulations.parameters)]
